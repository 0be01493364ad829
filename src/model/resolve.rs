//! Finds a model's tensors in a checkpoint and checks each before anything is loaded.

use std::collections::HashMap;

use super::Recipe;
use super::config::ModelConfig;
use super::names::{Stacked, TensorId, expected_tensors};
use crate::formats::{
    Checkpoint, ElementType, FormatError, Naming, TensorInfo, TensorSlice, quoted,
};
use crate::kernels::Format;

/// Finds a tensor in a checkpoint: under its name there (of the hub's without the `model.` prefix
/// too, as a bare `Lfm2MoeModel` saves it), or as a piece of a tensor of all experts. `None` if it
/// is missing.
///
/// # Errors
/// [`FormatError::Tensor`] if the tensor has another shape, or elements that are not weights.
fn resolve(
    config: &ModelConfig,
    checkpoint: &Checkpoint,
    id: TensorId,
    shape: &[usize],
) -> Result<Option<TensorSlice>, FormatError> {
    let naming = checkpoint.naming();
    let alone = !(naming == Naming::Gguf && id.is_expert());
    let other = || checkpoint.find(id.other_gguf_name().filter(|_| naming == Naming::Gguf)?);
    if alone && let Some(index) = find(checkpoint, &id.name(naming)).or_else(other) {
        return whole(checkpoint, index, shape).map(Some);
    }
    match (id.stacked(naming), shape, &config.moe) {
        (Some(stacked), &[rows, cols], Some(moe)) => {
            let shape = [moe.num_experts, stacked.per_expert * rows, cols];
            resolve_stacked(checkpoint, &stacked, &shape)
        }
        _ => Ok(None),
    }
}

/// All of a tensor.
fn whole(
    checkpoint: &Checkpoint,
    index: usize,
    shape: &[usize],
) -> Result<TensorSlice, FormatError> {
    let (rows, cols) = rows_cols(shape);
    let element_type = checked(checkpoint, index, shape)?;
    Ok(TensorSlice { tensor: index, offset: 0, rows, cols, element_type })
}

fn find(checkpoint: &Checkpoint, name: &str) -> Option<usize> {
    checkpoint.find(name).or_else(|| {
        let bare = name.strip_prefix("model.")?;
        checkpoint.find(bare)
    })
}

/// A vector is one row; the taps `[hidden, 1, L]` are hidden rows of L.
fn rows_cols(shape: &[usize]) -> (usize, usize) {
    match shape {
        [cols] => (1, *cols),
        [rows, .., cols] => (*rows, *cols),
        [] => (1, 1),
    }
}

/// Checks a tensor's type and shape. Dimensions of 1 between the first and the last are ignored
/// (the taps may be squeezed).
fn checked(
    checkpoint: &Checkpoint,
    index: usize,
    shape: &[usize],
) -> Result<ElementType, FormatError> {
    let Some(tensor) = checkpoint.tensor(index) else {
        return Err(FormatError::File {
            file: checkpoint.name().to_owned(),
            problem: format!("has no tensor number {index}"),
        });
    };
    let squeezed = |shape: &[usize]| match shape {
        [first, 1, last] => vec![*first, *last],
        shape => shape.to_vec(),
    };
    if squeezed(&tensor.shape) != squeezed(shape) {
        return Err(checkpoint.error(
            tensor,
            match checkpoint.naming() {
                Naming::Hub => {
                    format!("has shape {:?}, config.json calls for {shape:?}", tensor.shape)
                }
                Naming::Gguf => {
                    format!("has shape {:?}, the metadata call for {shape:?}", tensor.shape)
                }
            },
        ));
    }
    if !tensor.element_type.is_weight() {
        return Err(checkpoint.error(
            tensor,
            format!("is {}, need F32, F16, BF16 or one of ggml's blocks", tensor.element_type),
        ));
    }
    Ok(tensor.element_type)
}

/// The tensor's `shape` is [experts, rows of all matrices of one expert, cols].
fn resolve_stacked(
    checkpoint: &Checkpoint,
    stacked: &Stacked,
    shape: &[usize; 3],
) -> Result<Option<TensorSlice>, FormatError> {
    let Some(index) = find(checkpoint, &stacked.name) else {
        return Ok(None);
    };
    let [_, expert_rows, cols] = *shape;
    let mut slice = TensorSlice {
        tensor: index,
        offset: 0,
        rows: expert_rows / stacked.per_expert,
        cols,
        element_type: checked(checkpoint, index, shape)?,
    };
    let matrices_before = stacked.expert * stacked.per_expert + stacked.position;
    slice.offset = u64::try_from(matrices_before).unwrap_or(u64::MAX).saturating_mul(slice.bytes());
    Ok(Some(slice))
}

/// The places of all tensors of a model, checked.
#[derive(Debug)]
pub struct ResolvedTensors {
    slices: HashMap<TensorId, TensorSlice>,
    size: ModelSize,
}

impl ResolvedTensors {
    /// A tensor's place in the files; `None` for one that the model does not have.
    pub fn get(&self, id: TensorId) -> Option<&TensorSlice> {
        self.slices.get(&id)
    }

    /// Whether some matrix is stored in blocks, in the files or by `recipe`.
    pub fn is_quantised(&self, recipe: Option<&Recipe>) -> bool {
        self.slices.iter().any(|(id, slice)| {
            let own = slice.element_type;
            let target = recipe.map_or(own, |r| r.target(*id, own, slice.cols));
            id.is_matrix() && Format::of(target).is_quantised()
        })
    }

    /// Whether some matrix is in plain floats, which can be quantised.
    pub fn has_plain_matrices(&self) -> bool {
        self.slices
            .iter()
            .any(|(id, slice)| id.is_matrix() && slice.element_type.block().elements == 1)
    }

    /// Every tensor that the model has.
    pub(super) fn ids(&self) -> impl Iterator<Item = TensorId> {
        self.slices.keys().copied()
    }

    /// The model's size.
    pub fn size(&self) -> ModelSize {
        self.size
    }
}

/// Size of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelSize {
    /// Parameters, as `sum(p.numel() for p in model.parameters())` counts them: a tied head
    /// once, expert biases (which are buffers) not at all.
    pub total_parameters: u64,
    /// Parameters without those of the experts that a token does not use.
    pub active_parameters: u64,
    /// Bytes of the weights in their files, expert biases included.
    pub weight_bytes: u64,
}

/// Counts a configuration's parameters; `bytes` gives a tensor's size in bytes.
fn model_size(
    config: &ModelConfig,
    expected: &[(TensorId, Vec<usize>)],
    bytes: impl Fn(TensorId) -> u64,
) -> ModelSize {
    let mut size = ModelSize::default();
    let mut expert_parameters = 0_u64;
    for (id, shape) in expected {
        let elements = shape.iter().map(|&d| u64::try_from(d).unwrap_or(u64::MAX)).product::<u64>();
        size.weight_bytes += bytes(*id);
        if id.is_expert() {
            expert_parameters += elements;
        }
        if !matches!(id, TensorId::ExpertBias(_)) {
            size.total_parameters += elements;
        }
    }
    size.active_parameters = size.total_parameters;
    if let Some(moe) = &config.moe {
        let share = |experts: usize| u64::try_from(experts).unwrap_or(u64::MAX);
        let used = expert_parameters / share(moe.num_experts) * share(moe.top_k);
        size.active_parameters = size.total_parameters - expert_parameters + used;
    }
    size
}

/// Finds and checks every tensor that a configuration requires, before anything touches the GPU.
/// One warning counts the other tensors.
///
/// A tied model may carry `lm_head.weight` too (or instead of the embedding), if both are the
/// same: transformers 4 would ignore it, transformers 5 would use it, so a different one is
/// refused.
///
/// # Errors
/// [`FormatError::MissingTensors`] (counting them), or [`FormatError::Tensor`] for the first one
/// of a wrong shape or type.
pub async fn validate(
    config: &ModelConfig,
    checkpoint: &Checkpoint,
) -> Result<ResolvedTensors, FormatError> {
    let expected = expected_tensors(config);
    let mut slices = HashMap::with_capacity(expected.len());
    let mut used = vec![false; checkpoint.tensors().len()];
    let mut first_missing = None;
    for (id, shape) in &expected {
        match resolve_tied(config, checkpoint, *id, shape)? {
            Some(slice) => {
                if let Some(used) = used.get_mut(slice.tensor) {
                    *used = true;
                }
                slices.insert(*id, slice);
            }
            None => {
                first_missing.get_or_insert(*id);
            }
        }
    }
    if let Some(first) = first_missing {
        return Err(FormatError::MissingTensors {
            file: checkpoint.name().to_owned(),
            first: first.name(checkpoint.naming()),
            missing: expected.len() - slices.len(),
            expected: expected.len(),
        });
    }
    if config.tie_word_embeddings
        && let Some(embedding) = slices.get(&TensorId::Embedding)
    {
        check_tied_head(config, checkpoint, embedding, &mut used).await?;
    }
    if checkpoint.naming() == Naming::Gguf {
        warn_other_names(checkpoint, &expected, &slices, &mut used).await?;
    }
    warn_unused(checkpoint, &used);
    let size = model_size(config, &expected, |id| slices.get(&id).map_or(0, TensorSlice::bytes));
    Ok(ResolvedTensors { slices, size })
}

/// As [`resolve`]; a tied model's embedding may also be stored as its head.
fn resolve_tied(
    config: &ModelConfig,
    checkpoint: &Checkpoint,
    id: TensorId,
    shape: &[usize],
) -> Result<Option<TensorSlice>, FormatError> {
    match resolve(config, checkpoint, id, shape)? {
        None if id == TensorId::Embedding && config.tie_word_embeddings => {
            resolve(config, checkpoint, TensorId::LmHead, shape)
        }
        found => Ok(found),
    }
}

/// Refuses a tied model with a head of its own that differs from the embedding.
async fn check_tied_head(
    config: &ModelConfig,
    checkpoint: &Checkpoint,
    embedding: &TensorSlice,
    used: &mut [bool],
) -> Result<(), FormatError> {
    let shape = [config.vocab_size, config.hidden_size];
    let Some(head) = resolve(config, checkpoint, TensorId::LmHead, &shape)? else {
        return Ok(());
    };
    if let Some(used) = used.get_mut(head.tensor) {
        *used = true;
    }
    if head.tensor == embedding.tensor || same_bytes(checkpoint, embedding, &head).await? {
        return Ok(());
    }
    let problem = "differs from the embedding, but config.json says tie_word_embeddings; for a head of its own, set that to false".to_owned();
    Err(match checkpoint.tensor(head.tensor) {
        Some(tensor) => checkpoint.error(tensor, problem),
        None => FormatError::File { file: checkpoint.name().to_owned(), problem },
    })
}

/// Marks a tensor that the file has under both of its names as used; if the two differ, a warning
/// says which one is read.
async fn warn_other_names(
    checkpoint: &Checkpoint,
    expected: &[(TensorId, Vec<usize>)],
    slices: &HashMap<TensorId, TensorSlice>,
    used: &mut [bool],
) -> Result<(), FormatError> {
    for (id, shape) in expected {
        let other = id.other_gguf_name().and_then(|name| Some((name, checkpoint.find(name)?)));
        let (Some((other, index)), Some(taken)) = (other, slices.get(id)) else { continue };
        if index == taken.tensor {
            continue;
        }
        if let Some(used) = used.get_mut(index) {
            *used = true;
        }
        let same = match whole(checkpoint, index, shape) {
            Ok(slice) => same_bytes(checkpoint, taken, &slice).await?,
            // An invalid duplicate is ignored.
            Err(_) => false,
        };
        if !same {
            log::warn!(
                "{}: {} and {other} are both there and differ: the first is read, as llama.cpp does",
                checkpoint.name(),
                id.gguf_name()
            );
        }
    }
    Ok(())
}

async fn same_bytes(
    checkpoint: &Checkpoint,
    a: &TensorSlice,
    b: &TensorSlice,
) -> Result<bool, FormatError> {
    const PIECE: u64 = 1 << 20;
    if a.element_type != b.element_type || a.elements() != b.elements() {
        return Ok(false);
    }
    let mut at = 0;
    while at < a.elements() {
        let n = (a.elements() - at).min(PIECE);
        let len = a.element_type.bytes_of(n).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let (mut of_a, mut of_b) = (vec![0; len], vec![0; len]);
        checkpoint.read(a, at, &mut of_a).await?;
        checkpoint.read(b, at, &mut of_b).await?;
        if of_a != of_b {
            return Ok(false);
        }
        at += n;
    }
    Ok(true)
}

fn warn_unused(checkpoint: &Checkpoint, used: &[bool]) {
    let mut unused = checkpoint
        .tensors()
        .iter()
        .zip(used)
        .filter(|(_, used)| !**used)
        .map(|(tensor, _): (&TensorInfo, _)| tensor);
    if let Some(first) = unused.next() {
        log::warn!(
            "{}: {} tensors are not used by this model, {} is the first",
            checkpoint.name(),
            1 + unused.count(),
            quoted(&first.name)
        );
    }
}
