//! The elements and ranks of an adapter's tensors.

use super::MAX_RANK;
use super::error::LoraError;
use crate::formats::{ByteSource, TensorInfo};
use crate::kernels::values;

/// Reads a tensor's elements in f32, and refuses NaN and infinities.
///
/// # Errors
/// [`LoraError::Tensor`] for elements that are not weights, [`LoraError::NotFinite`], and errors of the file.
pub(super) async fn elements(
    source: &dyn ByteSource,
    tensor: &TensorInfo,
) -> Result<Vec<f32>, LoraError> {
    let (file, name) = (source.name().to_owned(), tensor.name.clone());
    let kind = tensor.element_type;
    if !kind.is_weight() {
        let problem = format!("has elements of type {kind}, need F32, F16 or BF16");
        return Err(LoraError::Tensor { file, tensor: name, problem });
    }
    // The range is within the file.
    let len = usize::try_from(tensor.range.end - tensor.range.start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    source.read_at(tensor.range.start, &mut bytes).await?;
    let values = values(kind, &bytes);
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        None => Ok(values),
        Some((index, value)) => {
            Err(LoraError::NotFinite { file, tensor: name, index, value: *value })
        }
    }
}

/// Checks the rank of a tensor, as its shape has it.
///
/// # Errors
/// [`LoraError::Rank`] for 0 and for more than [`MAX_RANK`].
pub(super) fn check_rank(file: &str, tensor: &str, rank: usize) -> Result<(), LoraError> {
    if (1..=MAX_RANK).contains(&rank) {
        return Ok(());
    }
    let need = format!("need 1 to {MAX_RANK}: the file is damaged, save the adapter again");
    Err(LoraError::Rank { file: file.to_owned(), tensor: tensor.to_owned(), got: rank, need })
}
