//! Makes a package: a model's tensors quantised and written in files of bounded size, with copies of
//! its small files and a manifest. Layout: docs/weights.md.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::config::MAX_CONFIG_BYTES;
use super::lora::merge::{Merged, add_to_rows, encoded, is_changed};
use super::{ModelConfig, Recipe, ResolvedTensors, TensorId, convert, expected_tensors};
use crate::formats::checkpoint::{INDEX, MAX_SHARDS};
use crate::formats::package::{MANIFEST, hex};
use crate::formats::{
    ByteSource, Checkpoint, ElementType, FormatError, Manifest, ModelFiles, Naming, OnBytes,
    PackageFile, PackageRecipe, TensorSlice, quoted, read_small,
};
use crate::kernels::values;

/// Longest file of a package. Browsers and phones fetch, store and resume files of this size
/// reliably.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Bytes of the source, in the file's format, that are in memory at a time.
pub(super) const PIECE_BYTES: usize = 32 << 20;
/// Least number of bytes for a thread of its own.
const THREAD_BYTES: usize = 64 << 10;
/// Longest small file that is copied.
pub(super) const MAX_SMALL_BYTES: u64 = 64 << 20;
/// Bytes of a header besides its tensors' entries.
const HEADER_BYTES: u64 = 64;
/// Bytes of a tensor's entries in a header besides its name, which occurs at most twice.
const ENTRY_BYTES: u64 = 192;

/// Files of a checkpoint besides its weights. A GGUF file contains the first two.
pub(super) const SMALL: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
];

/// Reason for a failure to make a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The source.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The source is not a model that can be packed.
    #[error("{place}: {problem}")]
    Source {
        /// The model.
        place: String,
        /// The problem and its remedy.
        problem: String,
    },
    /// A file that could not be written, e.g. because the disk is full.
    #[error("{file}: cannot write: {error}")]
    Write {
        /// The file.
        file: String,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
    /// A defect of the program.
    #[error("{0}")]
    Internal(String),
    /// The caller's callback returned `false`.
    #[error("packing was cancelled")]
    Cancelled,
}

impl From<crate::formats::SourceError> for PackageError {
    fn from(e: crate::formats::SourceError) -> Self {
        Self::Format(e.into())
    }
}

/// A tensor of the package: its source and its format.
struct Packed {
    id: TensorId,
    name: String,
    slice: TensorSlice,
    target: ElementType,
    /// Its shape on the hub.
    shape: Vec<usize>,
}

impl Packed {
    fn bytes(&self) -> u64 {
        self.target.bytes_of(self.slice.elements()).unwrap_or(u64::MAX)
    }

    fn is_blocks(&self) -> bool {
        self.target.block().elements > 1
    }

    /// Upper bound of the bytes it adds to a header.
    fn header_bytes(&self) -> u64 {
        ENTRY_BYTES + 2 * self.name.len() as u64
    }

    /// Dtype and shape in the header: blocks are rows of bytes.
    fn dtype(&self) -> (&'static str, Vec<u64>) {
        if !self.is_blocks() {
            let shape = self.shape.iter().map(|d| *d as u64).collect();
            return (self.target.name(), shape);
        }
        let row = self.target.bytes_of(self.slice.cols as u64).unwrap_or(u64::MAX);
        (ElementType::U8.name(), vec![self.slice.rows as u64, row])
    }
}

/// Plan of a package. All possible refusals happen before a plan exists.
pub struct PackagePlan<'a> {
    checkpoint: &'a Checkpoint,
    shards: Vec<Vec<Packed>>,
    small: Vec<(&'static str, Arc<dyn ByteSource>)>,
    recipe: PackageRecipe,
    source_bytes: u64,
    adapters: &'a Merged,
}

impl<'a> PackagePlan<'a> {
    /// Plans a package of a model whose tensors have been found, in files of at most
    /// `max_file_bytes` ([`MAX_FILE_BYTES`]); a tensor that is larger gets a file of its own.
    ///
    /// # Errors
    /// [`PackageError::Source`] for weights that are quantised already, for a GGUF file without the
    /// other files of a package beside it, and for more files than a reader accepts.
    pub async fn new(
        files: &ModelFiles,
        config: &ModelConfig,
        checkpoint: &'a Checkpoint,
        tensors: &ResolvedTensors,
        recipe: &Recipe,
        max_file_bytes: u64,
    ) -> Result<Self, PackageError> {
        let refuse =
            |problem: String| PackageError::Source { place: files.place().to_owned(), problem };
        let small = small_files(files, config, checkpoint).await?;
        let (mut shards, mut filled) = (Vec::new(), u64::MAX);
        let mut source_bytes = 0;
        for (id, shape) in expected_tensors(config) {
            let packed = packed(checkpoint, tensors, recipe, id, shape)?;
            let own = packed.slice.element_type;
            if own.block().elements > 1 {
                return Err(refuse(format!(
                    "tensor {} is {own}: these weights are quantised already. Quantise the plain checkpoint (F32, F16, BF16) that they were made from",
                    quoted(&id.name(checkpoint.naming()))
                )));
            }
            source_bytes += packed.slice.bytes();
            let more = packed.bytes().saturating_add(packed.header_bytes());
            filled = filled.saturating_add(more);
            match shards.last_mut() {
                Some(shard) if filled <= max_file_bytes => Vec::push(shard, packed),
                _ => {
                    filled = HEADER_BYTES.saturating_add(more);
                    shards.push(vec![packed]);
                }
            }
        }
        if shards.len() > MAX_SHARDS {
            return Err(refuse(format!(
                "would be {} files of {max_file_bytes} bytes, at most {MAX_SHARDS} are read",
                shards.len()
            )));
        }
        let keep = recipe.keep.iter().map(|(p, c)| (p.name().to_owned(), c.option().to_owned()));
        let recipe =
            PackageRecipe { weights: recipe.weights.option().to_owned(), keep: keep.collect() };
        Ok(Self { checkpoint, shards, small, recipe, source_bytes, adapters: &[] })
    }

    /// Adds adapters to the weights, in f32 and before they are quantised.
    #[must_use]
    pub fn merging(self, adapters: &'a Merged) -> Self {
        Self { adapters, ..self }
    }

    /// Bytes of the weights that will be read.
    #[must_use]
    pub fn source_bytes(&self) -> u64 {
        self.source_bytes
    }

    /// Upper estimate of the bytes that will be written.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        let small = self.small.iter().map(|(_, source)| source.len());
        // The index has each entry too.
        let tensors = self.shards.iter().flatten().map(|t| t.bytes() + 2 * t.header_bytes());
        small.chain(tensors).chain([1 << 20]).fold(0, u64::saturating_add)
    }

    /// Writes the package into `dir`, an empty folder, and returns its manifest. Rows are quantised
    /// on all processors, with memory for a few pieces of 32 MiB. `source` is the model's name in
    /// the manifest; `on_bytes` receives the number of finished bytes of the weights.
    ///
    /// The files are on the disk when this returns. After an error the folder holds some of them.
    ///
    /// # Errors
    /// [`PackageError::Write`], [`PackageError::Format`] if the source cannot be read any more,
    /// [`PackageError::Cancelled`].
    pub async fn write(
        &self,
        dir: &Path,
        source: &str,
        on_bytes: OnBytes<'_>,
    ) -> Result<Manifest, PackageError> {
        let mut files = Vec::new();
        for (name, source) in &self.small {
            let mut out = HashedFile::create(dir, name)?;
            out.write(&read_small(&**source, MAX_SMALL_BYTES).await?)?;
            files.push(out.finish()?);
        }
        let (mut done, mut total) = (0, 0);
        let mut weight_map = Map::new();
        for (i, shard) in self.shards.iter().enumerate() {
            let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, self.shards.len());
            let mut out = HashedFile::create(dir, &name)?;
            out.write(&header(shard)?)?;
            for tensor in shard {
                self.write_tensor(tensor, &mut out, &mut done, on_bytes).await?;
                total += tensor.bytes();
                weight_map.insert(tensor.name.clone(), Value::from(name.clone()));
            }
            files.push(out.finish()?);
        }
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        let mut out = HashedFile::create(dir, INDEX)?;
        out.write(&serde_json::to_vec_pretty(&index).map_err(internal)?)?;
        files.push(out.finish()?);
        let manifest = Manifest::new(source, self.recipe.clone(), files);
        let mut out = HashedFile::create(dir, MANIFEST)?;
        out.write(&manifest.to_json().map_err(internal)?)?;
        out.finish()?;
        Ok(manifest)
    }

    async fn write_tensor(
        &self,
        tensor: &Packed,
        out: &mut HashedFile,
        done: &mut u64,
        on_bytes: OnBytes<'_>,
    ) -> Result<(), PackageError> {
        let (slice, own) = (&tensor.slice, tensor.slice.element_type);
        let row_bytes = row_bytes(slice);
        for (row, rows) in pieces(slice) {
            let mut bytes = vec![0; rows.saturating_mul(row_bytes)];
            self.checkpoint.read(slice, (row * slice.cols) as u64, &mut bytes).await?;
            let pieces = if is_changed(self.adapters, tensor.id) {
                self.merged(tensor, row, &bytes)?
            } else {
                converted(own, tensor.target, &bytes, row_bytes)
            };
            let pieces = pieces.ok_or_else(|| {
                PackageError::Internal(format!("{own} cannot become {}", tensor.target))
            })?;
            for piece in pieces {
                out.write(&piece)?;
            }
            *done += bytes.len() as u64;
            if !on_bytes(*done) {
                return Err(PackageError::Cancelled);
            }
        }
        Ok(())
    }
}

/// Bytes of a row of a tensor in its file.
pub(super) fn row_bytes(slice: &TensorSlice) -> usize {
    let bytes = slice.element_type.bytes_of(slice.cols as u64).unwrap_or(u64::MAX);
    usize::try_from(bytes).unwrap_or(usize::MAX).max(1)
}

/// The pieces of whole rows in which a tensor is read: first row and number of rows.
pub(super) fn pieces(slice: &TensorSlice) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (rows, step) = (slice.rows, (PIECE_BYTES / row_bytes(slice)).max(1));
    (0..rows).step_by(step).map(move |first| (first, step.min(rows - first)))
}

impl PackagePlan<'_> {
    /// As [`converted`], with the adapters added to rows from `first` on.
    fn merged(
        &self,
        tensor: &Packed,
        first: usize,
        bytes: &[u8],
    ) -> Result<Option<Vec<Vec<u8>>>, PackageError> {
        let (slice, target) = (&tensor.slice, tensor.target);
        let mut rows = values(slice.element_type, bytes);
        add_to_rows(self.adapters, tensor.id, slice.cols, first, &mut rows);
        if rows.iter().any(|value| !value.is_finite()) {
            return Err(not_finite(self.checkpoint, slice));
        }
        if !tensor.is_blocks() {
            let plain = encoded(target, &rows);
            return match plain {
                Some(plain) => Ok(Some(vec![plain])),
                None => Err(not_finite(self.checkpoint, slice)),
            };
        }
        let rows = rows.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        Ok(converted(ElementType::F32, target, &rows, 4 * slice.cols.max(1)))
    }
}

/// The error for a sum that is not finite.
pub(super) fn not_finite(checkpoint: &Checkpoint, slice: &TensorSlice) -> PackageError {
    let tensor = checkpoint.tensor(slice.tensor);
    let name = tensor.map_or_else(String::new, |tensor| quoted(&tensor.name));
    let place = tensor.map_or(checkpoint.name(), |tensor| checkpoint.file_name(tensor)).to_owned();
    let own = slice.element_type;
    let problem = format!(
        "tensor {name}: an element becomes infinite in {own} with the adapter: use a smaller --lora-scale"
    );
    PackageError::Source { place, problem }
}

/// The small files that exist. A GGUF file contains its configuration and tokenizer: their files
/// must be beside it too, with the same meaning.
async fn small_files(
    files: &ModelFiles,
    config: &ModelConfig,
    checkpoint: &Checkpoint,
) -> Result<Vec<(&'static str, Arc<dyn ByteSource>)>, PackageError> {
    let refuse =
        |problem: String| PackageError::Source { place: files.place().to_owned(), problem };
    let mut found = Vec::new();
    for name in SMALL {
        if let Some(source) = files.open(name)? {
            found.push((name, source));
        } else if checkpoint.naming() == Naming::Gguf && SMALL[..2].contains(&name) {
            return Err(refuse(format!(
                "is a GGUF file without a {name} beside it, which a package needs: quantise the checkpoint folder that it was made from"
            )));
        }
    }
    if checkpoint.naming() == Naming::Gguf
        && let Some(("config.json", source)) = found.first()
    {
        let bytes = read_small(&**source, MAX_CONFIG_BYTES).await?;
        let beside = ModelConfig::from_json(source.name(), &bytes);
        // The ids of special tokens may differ: generation_config.json may have them.
        let same = |beside: ModelConfig| {
            let (eos, bos) = (config.eos_token_ids.clone(), config.bos_token_id);
            let pad_token_id = config.pad_token_id;
            let beside =
                ModelConfig { eos_token_ids: eos, bos_token_id: bos, pad_token_id, ..beside };
            beside == *config
        };
        if !beside.is_ok_and(same) {
            return Err(refuse(format!(
                "{} beside it is not this GGUF model's: quantise the checkpoint folder that it was made from",
                source.name()
            )));
        }
    }
    Ok(found)
}

fn packed(
    checkpoint: &Checkpoint,
    tensors: &ResolvedTensors,
    recipe: &Recipe,
    id: TensorId,
    shape: Vec<usize>,
) -> Result<Packed, FormatError> {
    let slice = *tensors.get(id).ok_or_else(|| FormatError::File {
        file: checkpoint.name().to_owned(),
        problem: format!("tensor {} is missing", id.hub_name()),
    })?;
    let target = recipe.target(id, slice.element_type, slice.cols);
    Ok(Packed { id, name: id.hub_name(), slice, target, shape })
}

/// Whole rows in format `target`, as consecutive pieces, each converted by a thread.
fn converted(
    own: ElementType,
    target: ElementType,
    bytes: &[u8],
    row_bytes: usize,
) -> Option<Vec<Vec<u8>>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(bytes.len() / THREAD_BYTES);
    if threads <= 1 || own == target {
        return Some(vec![convert(own, target, bytes)?]);
    }
    let rows = bytes.len() / row_bytes;
    let part = rows.div_ceil(threads).max(1) * row_bytes;
    std::thread::scope(|scope| {
        let spawn = |part| scope.spawn(move || convert(own, target, part));
        let parts: Vec<_> = bytes.chunks(part).map(spawn).collect();
        parts.into_iter().map(|part| part.join().ok().flatten()).collect()
    })
}

/// The beginning of a shard: length, and JSON padded with spaces to a multiple of 8.
fn header(shard: &[Packed]) -> Result<Vec<u8>, PackageError> {
    let mut metadata = Map::new();
    metadata.insert("format".to_owned(), Value::from("pt"));
    let mut entries = Map::new();
    let mut at = 0_u64;
    for tensor in shard {
        let (dtype, shape) = tensor.dtype();
        let end = at.saturating_add(tensor.bytes());
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
        entries.insert(tensor.name.clone(), entry);
        if tensor.is_blocks() {
            metadata.insert(tensor.name.clone(), Value::from(tensor.target.name()));
        }
        at = end;
    }
    let mut all = Map::new();
    all.insert("__metadata__".to_owned(), Value::Object(metadata));
    all.extend(entries);
    let mut json = serde_json::to_vec(&all).map_err(internal)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn internal(e: serde_json::Error) -> PackageError {
    PackageError::Internal(e.to_string())
}

/// A file that counts its length and computes its hash.
struct HashedFile {
    file: File,
    name: String,
    place: String,
    bytes: u64,
    hasher: Sha256,
}

impl HashedFile {
    fn create(dir: &Path, name: &str) -> Result<Self, PackageError> {
        let path = dir.join(name);
        let place = path.display().to_string();
        let file = File::create_new(&path)
            .map_err(|error| PackageError::Write { file: place.clone(), error })?;
        Ok(Self { file, name: name.to_owned(), place, bytes: 0, hasher: Sha256::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        let wrong = |error| PackageError::Write { file: self.place.clone(), error };
        self.file.write_all(bytes).map_err(wrong)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Flushes it to the disk.
    fn finish(self) -> Result<PackageFile, PackageError> {
        let synced = self.file.sync_all();
        synced.map_err(|error| PackageError::Write { file: self.place, error })?;
        Ok(PackageFile { name: self.name, bytes: self.bytes, sha256: hex(&self.hasher.finalize()) })
    }
}
