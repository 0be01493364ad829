//! GGUF files: the header of one file, and the parts of a split one.
//!
//! Versions 2 and 3, little endian. Layout: `GGUF`, the version (u32), the numbers of tensors and keys (u64
//! each), the keys with their typed values, the tensors' names, dimensions, types and offsets, padding to
//! `general.alignment`, the data.
//! Source: ggml `docs/gguf.md`, `include/gguf.h` and `src/gguf.cpp`. This reader is stricter than ggml's: it
//! also refuses content without a meaning (a `bool` of 7, a key that is read and is not UTF-8, bytes after the
//! last tensor).

mod metadata;
mod parser;
mod split;
mod tensors;

pub use super::error::KeyError;
pub use metadata::{Array, Counts, Metadata, NotUtf8, Value};
pub(super) use split::{open_parts, part_of};

use parser::{Fail, Parser};

use super::source::{ByteSource, len_u64};
use super::{FormatError, TensorInfo};

/// The first bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Longest header that is read. That of LFM2.5-8B-A1B (128,000 tokens and as many merges) has 6 MB.
pub const MAX_HEADER_BYTES: u64 = 32 << 20;
/// Maximum number of keys of a file. Real files have about 50.
const MAX_KEYS: u64 = 1 << 16;
/// Bytes of the first read; each further read doubles them.
const FIRST_BYTES: u64 = 64 << 10;

/// The header of one GGUF file.
#[derive(Debug)]
pub struct GgufHeader {
    /// The keys and their values.
    pub metadata: Metadata,
    /// The tensors, sorted by name, with checked ranges.
    pub tensors: Vec<TensorInfo>,
}

/// Reads the header of a GGUF file. `file` becomes [`TensorInfo::file`].
///
/// It never allocates more bytes than the file has, whatever the counts and lengths in the file claim, and at
/// most [`MAX_HEADER_BYTES`].
///
/// # Errors
/// If the file cannot be read, or is not strictly valid. The message names the file and, if there is one, the
/// key or the tensor.
pub async fn read_header(source: &dyn ByteSource, file: usize) -> Result<GgufHeader, FormatError> {
    let mut bytes = Vec::new();
    let mut wanted = FIRST_BYTES;
    loop {
        read_up_to(source, &mut bytes, wanted).await?;
        let mut parser = Parser::new(&bytes);
        let fail = match parse(&mut parser, source, file) {
            Ok((entries, tensors)) => {
                let metadata = Metadata::new(source.name().to_owned(), bytes, entries)?;
                return Ok(GgufHeader { metadata, tensors });
            }
            Err(fail) => fail,
        };
        match fail {
            Fail::Short { end } if end <= source.len().min(MAX_HEADER_BYTES) => {
                wanted = end.max(len_u64(&bytes).saturating_mul(2));
            }
            Fail::Short { end } => {
                let limit = if end > source.len() {
                    format!("the file ends at {}: it is cut short, or not valid", source.len())
                } else {
                    format!("at most {MAX_HEADER_BYTES} bytes of metadata are read")
                };
                return Err(parser.error(source.name(), format!("goes on to byte {end}, {limit}")));
            }
            Fail::Wrong(problem) => return Err(parser.error(source.name(), problem)),
            Fail::Error(error) => return Err(error),
        }
    }
}

/// Whether the metadata is that of a model, and not of a vision or audio projector, an adapter, an importance
/// matrix or a vocabulary alone.
pub(super) fn is_model(header: &GgufHeader) -> bool {
    let text = |key| match header.metadata.get(key) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    };
    let kind = text("general.type").unwrap_or("model");
    // The first part of a split model may have no tensors.
    let has_weights = !header.tensors.is_empty() || header.metadata.get("split.count").is_some();
    kind == "model" && text("general.architecture") != Some("clip") && has_weights
}

/// Whether a file's name is that of a projector or an importance matrix, which are stored beside a model.
/// `x-imatrix-Q4_K_M` is a model that was quantised with an importance matrix.
pub(crate) fn is_companion(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let is_quantised = || file.split(|c: char| !c.is_alphanumeric()).any(is_quant);
    file.contains("mmproj") || (file.contains("imatrix") && !is_quantised())
}

/// Whether a lower-case word of a file name is a quantisation.
pub(crate) fn is_quant(word: &str) -> bool {
    let digit_after = |prefix: &str| {
        word.strip_prefix(prefix).is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()))
    };
    ["q", "iq", "tq", "mxfp", "nvfp"].into_iter().any(digit_after)
        || matches!(word, "f16" | "f32" | "bf16")
}

/// Extends `bytes` to the first `wanted` bytes of the file, or to the longest possible header.
async fn read_up_to(
    source: &dyn ByteSource,
    bytes: &mut Vec<u8>,
    wanted: u64,
) -> Result<(), FormatError> {
    let have = bytes.len();
    let wanted = wanted.min(source.len()).min(MAX_HEADER_BYTES);
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    if wanted > have {
        bytes.reserve_exact(wanted - have);
        bytes.resize(wanted, 0);
        if let Some(rest) = bytes.get_mut(have..) {
            source.read_at(u64::try_from(have).unwrap_or(u64::MAX), rest).await?;
        }
    }
    Ok(())
}

type Parsed = (Vec<metadata::Entry>, Vec<TensorInfo>);

fn parse(p: &mut Parser<'_>, source: &dyn ByteSource, file: usize) -> Result<Parsed, Fail> {
    if p.take(4)? != MAGIC {
        return Err(Fail::Wrong("not a GGUF file: it does not start with GGUF".to_owned()));
    }
    match p.u32()? {
        2 | 3 => {}
        1 => {
            return Err(Fail::Wrong(
                "GGUF version 1 is not supported, need 2 or 3: convert the model again".to_owned(),
            ));
        }
        other if (1..=3).contains(&other.swap_bytes()) => {
            return Err(Fail::Wrong(
                "is a big-endian GGUF file, need a little-endian one".to_owned(),
            ));
        }
        other => {
            return Err(Fail::Wrong(format!("GGUF version {other} is unknown, need 2 or 3")));
        }
    }
    let n_tensors = p.u64()?;
    let n_keys = p.u64()?;
    if n_tensors > u64::try_from(super::safetensors::MAX_TENSORS).unwrap_or(u64::MAX) {
        let most = super::safetensors::MAX_TENSORS;
        return Err(Fail::Wrong(format!("claims {n_tensors} tensors, at most {most} are read")));
    }
    if n_keys > MAX_KEYS {
        return Err(Fail::Wrong(format!("claims {n_keys} keys, at most {MAX_KEYS} are read")));
    }
    let mut entries = Vec::new();
    for _ in 0..n_keys {
        entries.push(p.entry()?);
    }
    let alignment = tensors::alignment(p, &entries)?;
    let tensors = tensors::read(p, n_tensors, alignment, source, file)?;
    Ok((entries, tensors))
}
