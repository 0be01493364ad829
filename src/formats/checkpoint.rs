//! A checkpoint: the weight files of a model directory as one table of tensors.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

pub use super::files::INDEX;

use super::element::ElementType;
use super::files::SINGLE;
use super::safetensors::{MAX_TENSORS, TensorInfo, read_header};
use super::source::{ByteSource, len_u64, read_small};
use super::{
    FormatError, Metadata, ModelFiles, Object, SourceError, gguf, json_bytes, one_line, quoted,
};

/// Longest index file that is read. That of LFM2-8B-A1B has 0.2 MB.
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Maximum number of shards, so that a hostile index cannot use up the process's file handles.
pub const MAX_SHARDS: usize = 512;

/// A two-dimensional, contiguous piece of a tensor: `rows` x `cols` elements from byte `offset` of the
/// tensor on. A vector is one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorSlice {
    /// Index into [`Checkpoint::tensors`].
    pub tensor: usize,
    /// Bytes from the beginning of the tensor.
    pub offset: u64,
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Type of an element.
    pub element_type: ElementType,
}

impl TensorSlice {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        let rows = u64::try_from(self.rows).unwrap_or(u64::MAX);
        rows.saturating_mul(u64::try_from(self.cols).unwrap_or(u64::MAX))
    }

    /// Number of bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.element_type.bytes_of(self.elements()).unwrap_or(u64::MAX)
    }
}

/// Naming scheme of a checkpoint's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// transformers' names, as on the hub.
    Hub,
    /// ggml's names.
    Gguf,
}

/// The tensors of a model's weight files. Only the headers are in memory; the caller reads elements in
/// pieces of any size.
#[derive(Debug)]
pub struct Checkpoint {
    name: String,
    naming: Naming,
    files: Vec<Arc<dyn ByteSource>>,
    /// Sorted by name.
    tensors: Vec<TensorInfo>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or `model.safetensors.index.json` and its shards, and reads
    /// their headers. As in transformers, a single file has precedence over an index.
    ///
    /// # Errors
    /// [`FormatError::NoWeights`] if there is neither. Any other [`FormatError`] if a file is not strictly valid
    /// (see [`read_header`]), or if the index does not name every tensor of its shards with the right shard.
    pub async fn open(files: Arc<ModelFiles>) -> Result<Self, FormatError> {
        if let Some(source) = files.open(SINGLE)? {
            return Ok(Self {
                name: source.name().to_owned(),
                naming: Naming::Hub,
                tensors: read_header(&*source, 0).await?,
                files: vec![source],
            });
        }
        match files.open(INDEX)? {
            Some(index) => Self::open_shards(&files, &*index).await,
            None => Err(FormatError::NoWeights { place: files.place().to_owned() }),
        }
    }

    async fn open_shards(files: &ModelFiles, index: &dyn ByteSource) -> Result<Self, FormatError> {
        let name = index.name().to_owned();
        let wrong = |problem: String| FormatError::File { file: name.clone(), problem };
        let bytes = read_small(index, MAX_INDEX_BYTES).await?;
        let Object(Index { weight_map }) = serde_json::from_slice(&json_bytes(&bytes))
            .map_err(|error| wrong(format!("wrong index: {}", one_line(&error))))?;
        let mut shards: Vec<&str> = weight_map.0.iter().map(|(_, shard)| &**shard).collect();
        shards.sort_unstable();
        shards.dedup();
        if shards.is_empty() {
            return Err(wrong("weight_map: names no tensors".to_owned()));
        }
        if shards.len() > MAX_SHARDS {
            return Err(wrong(format!(
                "weight_map: names {} shards, at most {MAX_SHARDS} are read",
                shards.len()
            )));
        }
        let mut sources = Vec::new();
        let mut tensors = Vec::new();
        for shard in &shards {
            let opened = files.open(shard).map_err(|error| match error {
                SourceError::BadName { name } => {
                    wrong(format!("weight_map: shard {} is not a plain file name", quoted(&name)))
                }
                error => error.into(),
            })?;
            let Some(source) = opened else {
                return Err(wrong(format!(
                    "weight_map: shard {} is missing from the directory",
                    quoted(shard)
                )));
            };
            tensors.extend(read_header(&*source, sources.len()).await?);
            if tensors.len() > MAX_TENSORS {
                return Err(wrong(format!("more than {MAX_TENSORS} tensors")));
            }
            sources.push(source);
        }
        tensors.sort_unstable_by(|a: &TensorInfo, b| a.name.cmp(&b.name));
        check_index(&name, &weight_map.0, &shards, &tensors)?;
        Ok(Self { name, naming: Naming::Hub, files: sources, tensors })
    }

    /// Opens the GGUF file with the plain name `name`, and the other parts in `files` if it is the first of a
    /// split model. Returns the metadata too.
    ///
    /// # Errors
    /// If a file is not strictly valid (see [`gguf::read_header`]), a part is missing, or a part is not the one
    /// that its name says.
    pub async fn open_gguf(
        files: &ModelFiles,
        name: &str,
        source: Arc<dyn ByteSource>,
    ) -> Result<(Self, Metadata), FormatError> {
        let parts = gguf::open_parts(files, name, source).await?;
        let checkpoint = Self {
            name: parts.metadata.file().to_owned(),
            naming: Naming::Gguf,
            files: parts.files,
            tensors: parts.tensors,
        };
        Ok((checkpoint, parts.metadata))
    }

    /// Naming scheme of the tensors.
    pub fn naming(&self) -> Naming {
        self.naming
    }

    /// Makes a checkpoint of sources and the tensors in them.
    pub(super) fn from_parts(
        name: &str,
        files: Vec<Arc<dyn ByteSource>>,
        mut tensors: Vec<TensorInfo>,
    ) -> Self {
        tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self { name: name.to_owned(), naming: Naming::Hub, files, tensors }
    }

    /// Name of the single weight file, or of the index, for errors about the weights as a whole.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every tensor, sorted by name.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Position of the tensor with that name in [`tensors`](Self::tensors).
    pub fn find(&self, name: &str) -> Option<usize> {
        self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()
    }

    /// The tensor at that position.
    pub fn tensor(&self, index: usize) -> Option<&TensorInfo> {
        self.tensors.get(index)
    }

    /// The weight files, in the order of [`TensorInfo::file`].
    pub fn files(&self) -> &[Arc<dyn ByteSource>] {
        &self.files
    }

    /// Name of the file that holds a tensor.
    pub fn file_name(&self, tensor: &TensorInfo) -> &str {
        self.files.get(tensor.file).map_or(self.name.as_str(), |file| file.name())
    }

    /// Makes an error about one tensor of this checkpoint.
    pub fn error(&self, tensor: &TensorInfo, problem: String) -> FormatError {
        FormatError::Tensor {
            file: self.file_name(tensor).to_owned(),
            tensor: tensor.name.clone(),
            problem,
        }
    }

    /// Fills `buf` with the slice's bytes from element `element_offset` on. The length of `buf` must be a whole
    /// number of blocks.
    ///
    /// # Errors
    /// If the piece is not within the slice, the slice is not within its tensor, or the file cannot be read.
    pub async fn read(
        &self,
        slice: &TensorSlice,
        element_offset: u64,
        buf: &mut [u8],
    ) -> Result<(), FormatError> {
        let Some(tensor) = self.tensor(slice.tensor) else {
            return Err(FormatError::File {
                file: self.name.clone(),
                problem: format!("has no tensor number {}", slice.tensor),
            });
        };
        let wanted = len_u64(buf);
        let start = slice.element_type.bytes_of(element_offset);
        let end = start.and_then(|start| start.checked_add(wanted));
        let slice_end = slice.offset.checked_add(slice.bytes());
        let tensor_len = tensor.range.end.saturating_sub(tensor.range.start);
        match (start, end, slice_end) {
            (Some(start), Some(end), Some(slice_end))
                if end <= slice.bytes() && slice_end <= tensor_len =>
            {
                let at = tensor.range.start.saturating_add(slice.offset + start);
                match self.files.get(tensor.file) {
                    Some(file) => Ok(file.read_at(at, buf).await?),
                    None => Err(self.error(tensor, "its file is not open".to_owned())),
                }
            }
            _ => Err(self.error(
                tensor,
                format!(
                    "{wanted} bytes from element {element_offset} on were wanted of {} x {} {} at byte {} of {tensor_len}",
                    slice.rows, slice.cols, slice.element_type, slice.offset
                ),
            )),
        }
    }
}

/// Checks an index against the tensors of its shards, both sorted by name.
fn check_index(
    index: &str,
    weight_map: &[(String, String)],
    shards: &[&str],
    tensors: &[TensorInfo],
) -> Result<(), FormatError> {
    let problem = |tensor: &str, problem: String| {
        Err(FormatError::Tensor { file: index.to_owned(), tensor: tensor.to_owned(), problem })
    };
    let shard = |tensor: &TensorInfo| quoted(shards.get(tensor.file).copied().unwrap_or_default());
    for pair in tensors.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            return problem(&a.name, format!("is in both {} and {}", shard(a), shard(b)));
        }
    }
    for pair in weight_map.windows(2) {
        if let [(a, _), (b, _)] = pair
            && a == b
        {
            return problem(a, "is in the weight_map twice".to_owned());
        }
    }
    for (name, named) in weight_map {
        match tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)) {
            Err(_) => return problem(name, format!("is not in its shard {}", quoted(named))),
            Ok(at) => {
                if let Some(tensor) = tensors.get(at)
                    && shards.get(tensor.file) != Some(&named.as_str())
                {
                    let (named, found) = (quoted(named), shard(tensor));
                    return problem(name, format!("is not in its shard {named} but in {found}"));
                }
            }
        }
    }
    for tensor in tensors {
        if weight_map.binary_search_by(|(name, _)| name.as_str().cmp(&tensor.name)).is_err() {
            return problem(
                &tensor.name,
                format!("is in {} but not in the weight_map", shard(tensor)),
            );
        }
    }
    Ok(())
}

/// Content of `model.safetensors.index.json`. Its metadata is ignored: a total size that is often wrong.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Pairs of tensor name and shard name, sorted. Duplicate names are kept, so that they can be refused.
struct WeightMap(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of shard names by tensor name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let shard = map.next_value::<String>().map_err(|error| {
                        A::Error::custom(format_args!(
                            "weight_map: tensor {}: {error}",
                            quoted(&name)
                        ))
                    })?;
                    if entries.len() >= MAX_TENSORS {
                        return Err(A::Error::custom(format_args!(
                            "weight_map: more than {MAX_TENSORS} tensors"
                        )));
                    }
                    entries.push((name, shard));
                }
                entries.sort_unstable();
                Ok(WeightMap(entries))
            }
        }
        json.deserialize_map(Entries)
    }
}
