//! Writes a copy of a safetensors checkpoint with adapters added to its weights. The copy has the same files, names
//! and element types.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::lora::merge::{Merged, add_to_rows, encoded};
use super::package::{
    MAX_SMALL_BYTES, PIECE_BYTES, PackageError, SMALL, not_finite, pieces, row_bytes,
};
use super::{ResolvedTensors, TensorId};
use crate::formats::checkpoint::INDEX;
use crate::formats::{
    ByteSource, Checkpoint, ModelFiles, Naming, OnBytes, TensorSlice, quoted, read_small,
};
use crate::kernels::values;

/// A matrix that adapters change, at its place in a weight file.
struct Changed {
    id: TensorId,
    slice: TensorSlice,
    /// Bytes from the beginning of the file.
    start: u64,
}

/// Plan of a merged checkpoint. All possible refusals but one happen before a plan exists: an element that becomes
/// infinite is found as it is written.
pub struct MergePlan<'a> {
    checkpoint: &'a Checkpoint,
    adapters: &'a Merged,
    /// The matrices of each weight file, by their place.
    changed: Vec<Vec<Changed>>,
    small: Vec<(&'static str, Arc<dyn ByteSource>)>,
}

impl<'a> MergePlan<'a> {
    /// Plans a copy of a model whose tensors have been found, with adapters that were read for it.
    ///
    /// # Errors
    /// [`PackageError::Source`] for a GGUF file, and for quantised matrices.
    pub fn new(
        files: &ModelFiles,
        checkpoint: &'a Checkpoint,
        tensors: &ResolvedTensors,
        adapters: &'a Merged,
    ) -> Result<Self, PackageError> {
        let refuse =
            |problem: String| PackageError::Source { place: files.place().to_owned(), problem };
        if checkpoint.naming() == Naming::Gguf {
            return Err(refuse(
                "is a GGUF model, which is not written: merge into the checkpoint folder that it was made from, or \
                 write a package with --weights. A package needs the model's config.json and tokenizer.json in the \
                 same folder"
                    .to_owned(),
            ));
        }
        let mut changed: Vec<Vec<Changed>> =
            checkpoint.files().iter().map(|_| Vec::new()).collect();
        let mut ids: Vec<TensorId> =
            adapters.iter().flat_map(|(adapter, _)| adapter.factors.keys().copied()).collect();
        ids.sort_by_cached_key(TensorId::hub_name);
        ids.dedup();
        for id in ids {
            let slice = *tensors.get(id).ok_or_else(|| {
                refuse(format!("has no tensor {}: the adapter is for another model", id.hub_name()))
            })?;
            let own = slice.element_type;
            if own.block().elements > 1 {
                return Err(refuse(format!(
                    "tensor {} is {own}: these weights are quantised already. Merge into the plain checkpoint (F32, \
                     F16, BF16) that they were made from",
                    quoted(&id.hub_name())
                )));
            }
            let place = checkpoint.tensor(slice.tensor).and_then(|tensor| {
                let start = tensor.range.start.checked_add(slice.offset)?;
                Some((changed.get_mut(tensor.file)?, start))
            });
            let (file, start) = place
                .ok_or_else(|| PackageError::Internal(format!("{} has no place", id.hub_name())))?;
            file.push(Changed { id, slice, start });
        }
        changed.iter_mut().for_each(|file| file.sort_by_key(|matrix| matrix.start));
        let mut small = Vec::new();
        for name in SMALL.into_iter().chain([INDEX]) {
            if let Some(source) = files.open(name)? {
                small.push((name, source));
            }
        }
        // A single file has precedence over an index, as in `Checkpoint::open`.
        if matches!(checkpoint.files(), [one] if plain_name(&**one) == "model.safetensors") {
            small.retain(|(name, _)| *name != INDEX);
        }
        Ok(Self { checkpoint, adapters, changed, small })
    }

    /// Number of files that will be written.
    #[must_use]
    pub fn files(&self) -> usize {
        self.small.len() + self.changed.len()
    }

    /// Bytes of the weight files, which are read and written.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.checkpoint.files().iter().fold(0, |sum, file| sum.saturating_add(file.len()))
    }

    /// Bytes of all files that will be written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let small = self.small.iter().map(|(_, source)| source.len());
        small.fold(self.weight_bytes(), u64::saturating_add)
    }

    /// Writes the checkpoint into `dir`, an empty folder. `on_bytes` receives the number of finished bytes of the
    /// weight files. The files are on the disk when this returns. After an error the folder holds some of them.
    ///
    /// # Errors
    /// [`PackageError::Write`], [`PackageError::Format`] if the source cannot be read any more,
    /// [`PackageError::Source`] for an element that its type cannot hold, [`PackageError::Cancelled`].
    pub async fn write(&self, dir: &Path, on_bytes: OnBytes<'_>) -> Result<(), PackageError> {
        for (name, source) in &self.small {
            let mut out = Out::create(dir, name)?;
            out.write(&read_small(&**source, MAX_SMALL_BYTES).await?)?;
            out.finish()?;
        }
        let mut done = 0;
        for (source, changed) in self.checkpoint.files().iter().zip(&self.changed) {
            let mut out = Out::create(dir, plain_name(&**source))?;
            let mut progress = |bytes: usize| {
                done += bytes as u64;
                if on_bytes(done) { Ok(()) } else { Err(PackageError::Cancelled) }
            };
            let mut at = 0;
            for matrix in changed {
                copy(&**source, at..matrix.start, &mut out, &mut progress).await?;
                self.write_matrix(matrix, &mut out, &mut progress).await?;
                at = matrix.start.saturating_add(matrix.slice.bytes());
            }
            copy(&**source, at..source.len(), &mut out, &mut progress).await?;
            out.finish()?;
        }
        Ok(())
    }

    async fn write_matrix(
        &self,
        matrix: &Changed,
        out: &mut Out,
        progress: &mut impl FnMut(usize) -> Result<(), PackageError>,
    ) -> Result<(), PackageError> {
        let slice = &matrix.slice;
        let own = slice.element_type;
        for (row, rows) in pieces(slice) {
            let mut bytes = vec![0; rows.saturating_mul(row_bytes(slice))];
            self.checkpoint.read(slice, (row * slice.cols) as u64, &mut bytes).await?;
            let mut rows = values(own, &bytes);
            add_to_rows(self.adapters, matrix.id, slice.cols, row, &mut rows);
            let merged = encoded(own, &rows).ok_or_else(|| not_finite(self.checkpoint, slice))?;
            out.write(&merged)?;
            progress(bytes.len())?;
        }
        Ok(())
    }
}

/// Plain name of a weight file. The names of errors have the folder in front.
fn plain_name(source: &dyn ByteSource) -> &str {
    source.name().rsplit(['/', '\\']).next().unwrap_or_default()
}

async fn copy(
    source: &dyn ByteSource,
    range: std::ops::Range<u64>,
    out: &mut Out,
    progress: &mut impl FnMut(usize) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut bytes = vec![0; len];
        source.read_at(at, &mut bytes).await?;
        out.write(&bytes)?;
        progress(len)?;
        at += len as u64;
    }
    Ok(())
}

/// A file of the copy.
struct Out {
    file: File,
    place: String,
}

impl Out {
    fn create(dir: &Path, name: &str) -> Result<Self, PackageError> {
        let path = dir.join(name);
        let place = path.display().to_string();
        match File::create_new(&path) {
            Ok(file) => Ok(Self { file, place }),
            Err(error) => Err(PackageError::Write { file: place, error }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.file
            .write_all(bytes)
            .map_err(|error| PackageError::Write { file: self.place.clone(), error })
    }

    /// Flushes it to the disk.
    fn finish(self) -> Result<(), PackageError> {
        self.file.sync_all().map_err(|error| PackageError::Write { file: self.place, error })
    }
}
