//! The header of a safetensors file.
//!
//! Layout: N as 8 bytes little endian, then N bytes of JSON
//! `{"name": {"dtype": "BF16", "shape": [r, c], "data_offsets": [begin, end]}, ...}` (padded with
//! spaces), then the data. Offsets count from the beginning of the data.
//! Source: <https://github.com/huggingface/safetensors>. This reader is as strict: no overlap, no gap, no
//! trailing bytes.
//!
//! Why not the crate's reader (0.8.0): its offsets are `usize`, so wasm32 could not read files above 4 GiB;
//! of two tensors with one name it silently drops one; its JSON errors never name the tensor.
//!
//! A tensor of ggml's blocks is stored as U8 `[rows, bytes of a row]`, and `__metadata__` has its type:
//! `"<tensor>": "Q4_0"` (docs/weights.md). This reader turns it into a tensor `[rows, cols]` of that type.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::element::ElementType;
use super::source::ByteSource;
use super::{FormatError, Object, one_line, quoted};

/// Longest header that is read. The format allows 100 MB. A header of 2,302 tensors (LFM2-8B-A1B) takes
/// 0.25 MB, and with 16 MiB the table of tensors stays below 100 MB.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Maximum number of tensors of a checkpoint. LFM2-24B-A2B has about 7,500.
pub const MAX_TENSORS: usize = 100_000;
/// Maximum number of dimensions of a tensor. LFM2's tensors have at most 3.
pub const MAX_DIMENSIONS: usize = 8;

/// One tensor of a checkpoint. Its range is within the file and has exactly the bytes of its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// Type of an element.
    pub element_type: ElementType,
    /// Dimensions, the last one contiguous.
    pub shape: Vec<usize>,
    /// Byte range, from the beginning of the file.
    pub range: Range<u64>,
    /// Index of its file in the checkpoint.
    pub file: usize,
}

/// Reads the header of a safetensors file and returns its tensors, sorted by name. `file` becomes
/// [`TensorInfo::file`].
///
/// # Errors
/// If the file cannot be read, is shorter than its header says, or its header is not strictly valid. The
/// message names the file and, if there is one, the tensor.
pub async fn read_header(
    source: &dyn ByteSource,
    file: usize,
) -> Result<Vec<TensorInfo>, FormatError> {
    let problem = |problem: String| FormatError::File { file: source.name().to_owned(), problem };
    let cut_short = |need: u64| {
        problem(format!(
            "incomplete safetensors file: has {} bytes, its header needs {need}",
            source.len()
        ))
    };
    let mut prefix = [0; 8];
    if source.len() < 8 {
        return Err(cut_short(8));
    }
    source.read_at(0, &mut prefix).await?;
    if &prefix == b"version " {
        return Err(problem(
            "is a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`"
                .to_owned(),
        ));
    }
    let header_len = u64::from_le_bytes(prefix);
    if header_len > MAX_HEADER_BYTES {
        return Err(problem(format!(
            "not a safetensors file: header of {header_len} bytes, at most {MAX_HEADER_BYTES} are read"
        )));
    }
    let data_start = header_len.saturating_add(8);
    if data_start > source.len() {
        return Err(cut_short(data_start));
    }
    // Bounded by MAX_HEADER_BYTES and by the file's length.
    let mut header = vec![0; usize::try_from(header_len).unwrap_or(0)];
    source.read_at(8, &mut header).await?;
    let (mut tensors, metadata) = parse(source.name(), &header, data_start, file)?;
    tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for pair in tensors.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            return Err(FormatError::Tensor {
                file: source.name().to_owned(),
                tensor: a.name.clone(),
                problem: "is in the header twice".to_owned(),
            });
        }
    }
    check_ranges(source.name(), &tensors, data_start, source.len())?;
    declare_blocks(source.name(), &mut tensors, metadata)?;
    Ok(tensors)
}

/// Parses the JSON of a header. It checks ranges against shapes, but not against each other.
fn parse(
    file_name: &str,
    header: &[u8],
    data_start: u64,
    file: usize,
) -> Result<(Vec<TensorInfo>, Strings), FormatError> {
    if header.first() != Some(&b'{') {
        return Err(FormatError::File {
            file: file_name.to_owned(),
            problem: "not a safetensors file: its header does not start with '{'".to_owned(),
        });
    }
    let (tensors, metadata) = (Vec::new(), Vec::new());
    let mut state = Header { current: None, tensors, metadata, data_start, file };
    let mut json = serde_json::Deserializer::from_slice(header);
    let parsed = (&mut state).deserialize(&mut json).and_then(|()| {
        state.current = None;
        json.end()
    });
    match (parsed, state.current) {
        (Ok(()), _) => Ok((state.tensors, state.metadata)),
        (Err(error), Some(tensor)) => Err(FormatError::Tensor {
            file: file_name.to_owned(),
            tensor,
            problem: format!("wrong header entry: {}", one_line(&error)),
        }),
        (Err(error), None) => Err(FormatError::File {
            file: file_name.to_owned(),
            problem: format!("wrong header: {}", one_line(&error)),
        }),
    }
}

/// Checks that the tensors cover the data exactly: no gap, no overlap, no bytes after the last tensor.
fn check_ranges(
    file_name: &str,
    tensors: &[TensorInfo],
    data_start: u64,
    file_len: u64,
) -> Result<(), FormatError> {
    let problem = |tensor: &TensorInfo, problem: String| {
        Err(FormatError::Tensor {
            file: file_name.to_owned(),
            tensor: tensor.name.clone(),
            problem,
        })
    };
    let mut in_order: Vec<&TensorInfo> = tensors.iter().collect();
    in_order.sort_unstable_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut end = data_start;
    let mut before: Option<&TensorInfo> = None;
    for tensor in in_order {
        let Range { start, end: next } = tensor.range;
        if next > file_len {
            return problem(
                tensor,
                format!(
                    "ends at byte {next}, the file at {file_len}: it is cut short, or its header is wrong"
                ),
            );
        }
        if start < end {
            let other = before.map_or("the header".to_owned(), |t| quoted(&t.name));
            return problem(
                tensor,
                format!("starts at byte {start}, overlapping {other}, which ends at {end}"),
            );
        }
        if start > end {
            return problem(tensor, format!("starts at byte {start}, leaving a gap from {end}"));
        }
        end = next;
        before = Some(tensor);
    }
    if end < file_len {
        return Err(FormatError::File {
            file: file_name.to_owned(),
            problem: format!("{} bytes follow the last tensor, there must be none", file_len - end),
        });
    }
    Ok(())
}

/// Sets the block type and shape of the tensors for which `metadata` has a type. Other entries of `metadata`
/// are ignored: they belong to other programs.
fn declare_blocks(
    file_name: &str,
    tensors: &mut [TensorInfo],
    mut metadata: Strings,
) -> Result<(), FormatError> {
    metadata.sort_unstable();
    let mut before: Option<usize> = None;
    for (name, value) in metadata {
        let Ok(at) = tensors.binary_search_by(|tensor| tensor.name.cmp(&name)) else { continue };
        let Some(tensor) = tensors.get_mut(at) else { continue };
        let problem = if before.replace(at) == Some(at) {
            Err("is in __metadata__ twice".to_owned())
        } else {
            block_shape(tensor, &value)
        };
        match problem {
            Ok(Some((element_type, shape))) => {
                (tensor.element_type, tensor.shape) = (element_type, shape);
            }
            Ok(None) => {}
            Err(problem) => {
                let (file, tensor) = (file_name.to_owned(), name);
                return Err(FormatError::Tensor { file, tensor, problem });
            }
        }
    }
    Ok(())
}

/// The block type that `value` declares for a tensor of bytes, and the shape in elements; `None` if it declares
/// no type.
fn block_shape(
    tensor: &TensorInfo,
    value: &str,
) -> Result<Option<(ElementType, Vec<usize>)>, String> {
    let own = tensor.element_type;
    let Some(element_type) = ElementType::from_block_name(value) else {
        return match own {
            ElementType::U8 => {
                Err(format!("is {} by __metadata__, which is not a block type", quoted(value)))
            }
            _ => Ok(None),
        };
    };
    if own != ElementType::U8 {
        return Err(format!("is {element_type} by __metadata__ but has dtype {own}, need U8"));
    }
    let &[rows, bytes] = &tensor.shape[..] else {
        let n = tensor.shape.len();
        return Err(format!("is {element_type} by __metadata__ but has {n} dimensions, need 2"));
    };
    let block = element_type.block();
    let cols = u64::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_multiple_of(block.bytes))
        .and_then(|bytes| (bytes / block.bytes).checked_mul(block.elements))
        .and_then(|cols| usize::try_from(cols).ok());
    match cols {
        Some(cols) => Ok(Some((element_type, vec![rows, cols]))),
        None => Err(format!(
            "has rows of {bytes} bytes, not a whole number of {element_type} blocks ({} bytes each)",
            block.bytes
        )),
    }
}

/// Pairs of name and value of `__metadata__`.
type Strings = Vec<(String, String)>;

/// State of the header's parser. `current` is the tensor that is being read, for errors. A derived map would
/// drop duplicate names, and would not know the tensor of an error.
struct Header {
    current: Option<String>,
    tensors: Vec<TensorInfo>,
    metadata: Strings,
    data_start: u64,
    file: usize,
}

impl<'de> DeserializeSeed<'de> for &mut Header {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Header {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut metadata_seen = false;
        while let Some(name) = map.next_key::<String>()? {
            let is_metadata = name == "__metadata__";
            self.current = Some(name);
            if is_metadata {
                if std::mem::replace(&mut metadata_seen, true) {
                    return Err(A::Error::custom("is in the header twice"));
                }
                self.metadata = map.next_value::<Metadata>()?.0;
                continue;
            }
            let Object(entry) = map.next_value::<Object<Entry>>()?;
            if self.tensors.len() >= MAX_TENSORS {
                return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
            }
            let range = entry.range(self.data_start).map_err(A::Error::custom)?;
            let name = self.current.take().unwrap_or_default();
            self.tensors.push(TensorInfo {
                name,
                element_type: entry.dtype.0,
                shape: entry.shape.0,
                range,
                file: self.file,
            });
        }
        Ok(())
    }
}

/// Longest value of `__metadata__` that is kept; longer than any type's name.
const MAX_VALUE_BYTES: usize = 64;

/// A header's `__metadata__`: strings by name. At most [`MAX_TENSORS`] entries are kept, and only the beginning
/// of long values.
struct Metadata(Strings);

impl<'de> serde::Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let mut value = map.next_value::<String>()?;
                    if entries.len() < MAX_TENSORS {
                        value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
                        value.shrink_to_fit();
                        entries.push((name, value));
                    }
                }
                Ok(Metadata(entries))
            }
        }
        json.deserialize_map(Entries)
    }
}

/// One tensor's entry in the header.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (u64, u64),
}

impl Entry {
    /// The tensor's byte range from the beginning of the file, if its offsets match its shape.
    fn range(&self, data_start: u64) -> Result<Range<u64>, String> {
        let (begin, end) = self.data_offsets;
        let offsets = format!("data_offsets [{begin}, {end}]");
        let Some(len) = end.checked_sub(begin) else {
            return Err(format!("{offsets} end before they begin"));
        };
        let shape = &self.shape.0;
        let dtype = self.dtype.0;
        let elements = shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?));
        let Some(elements) = elements else {
            return Err(format!("shape {shape:?} has too many elements"));
        };
        let Some(need) = dtype.bytes_of(elements) else {
            return Err(if elements.is_multiple_of(dtype.block().elements) {
                format!("shape {shape:?} has too many elements")
            } else {
                format!("shape {shape:?} of {dtype} is not a whole number of bytes")
            });
        };
        if need != len {
            return Err(format!(
                "{offsets} hold {len} bytes, shape {shape:?} of {dtype} needs {need}"
            ));
        }
        match (data_start.checked_add(begin), data_start.checked_add(end)) {
            (Some(begin), Some(end)) => Ok(begin..end),
            _ => Err(format!("{offsets} are out of range")),
        }
    }
}

struct Dtype(ElementType);

impl<'de> serde::Deserialize<'de> for Dtype {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Dtype;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a dtype")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Dtype, E> {
                ElementType::from_name(name)
                    .map(Dtype)
                    .ok_or_else(|| E::custom(format_args!("unknown dtype {}", quoted(name))))
            }
        }
        json.deserialize_str(Name)
    }
}

struct Shape(Vec<usize>);

impl<'de> serde::Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(dimension) = seq.next_element::<usize>()? {
                    if shape.len() >= MAX_DIMENSIONS {
                        return Err(A::Error::custom(format_args!(
                            "more than {MAX_DIMENSIONS} dimensions"
                        )));
                    }
                    shape.push(dimension);
                }
                Ok(Shape(shape))
            }
        }
        json.deserialize_seq(Dimensions)
    }
}
