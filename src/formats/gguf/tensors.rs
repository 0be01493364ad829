//! The tensor table of a GGUF header.

use super::metadata::{Entry, Stored};
use super::parser::{At, Fail, Parser};
use crate::formats::{ByteSource, ElementType, FormatError, TensorInfo, quoted};

/// Longest tensor name that the format allows.
const MAX_NAME_BYTES: u64 = 64;
const MAX_DIMENSIONS: u32 = 4;
/// Alignment of a file without `general.alignment`.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Largest alignment that is read. Real files have 32.
const MAX_ALIGNMENT: u64 = 1 << 20;

/// ggml's types by their numbers (`enum ggml_type`); gaps are types that were removed.
const TYPES: [(u32, &str, Option<ElementType>); 35] = [
    (0, "F32", Some(ElementType::F32)),
    (1, "F16", Some(ElementType::F16)),
    (2, "Q4_0", Some(ElementType::Q4_0)),
    (3, "Q4_1", Some(ElementType::Q4_1)),
    (6, "Q5_0", Some(ElementType::Q5_0)),
    (7, "Q5_1", Some(ElementType::Q5_1)),
    (8, "Q8_0", Some(ElementType::Q8_0)),
    (9, "Q8_1", None),
    (10, "Q2_K", None),
    (11, "Q3_K", None),
    (12, "Q4_K", Some(ElementType::Q4_K)),
    (13, "Q5_K", Some(ElementType::Q5_K)),
    (14, "Q6_K", Some(ElementType::Q6_K)),
    (15, "Q8_K", None),
    (16, "IQ2_XXS", None),
    (17, "IQ2_XS", None),
    (18, "IQ3_XXS", None),
    (19, "IQ1_S", None),
    (20, "IQ4_NL", None),
    (21, "IQ3_S", None),
    (22, "IQ2_S", None),
    (23, "IQ4_XS", None),
    (24, "I8", Some(ElementType::I8)),
    (25, "I16", Some(ElementType::I16)),
    (26, "I32", Some(ElementType::I32)),
    (27, "I64", Some(ElementType::I64)),
    (28, "F64", Some(ElementType::F64)),
    (29, "IQ1_M", None),
    (30, "BF16", Some(ElementType::BF16)),
    (34, "TQ1_0", None),
    (35, "TQ2_0", None),
    (36, "IQ4_NL_4_4", None),
    (39, "MXFP4", None),
    (40, "NVFP4", None),
    (41, "Q1_0", None),
];

const SUPPORTED: &str = "need F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K (such as a Q4_K_M file has)";

/// `general.alignment`: a power of two.
pub(super) fn alignment(p: &mut Parser<'_>, entries: &[Entry]) -> Result<u64, Fail> {
    const KEY: &str = "general.alignment";
    let is_key = |entry: &&Entry| p.bytes().get(entry.key.clone()) == Some(KEY.as_bytes());
    let Some(entry) = entries.iter().find(is_key) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    if let Stored::Integer(value) = entry.value
        && let Ok(value) = u64::try_from(value)
        && value.is_power_of_two()
        && value <= MAX_ALIGNMENT
    {
        return Ok(value);
    }
    p.what = At::Key(KEY.to_owned());
    Err(Fail::Wrong(match entry.value {
        Stored::Integer(got) => {
            format!("got {got}, need a power of two of at most {MAX_ALIGNMENT}")
        }
        _ => "is not a whole number".to_owned(),
    }))
}

/// A tensor's entry. Its offset counts from the beginning of the data, which is not known yet.
struct Listed {
    name: String,
    element_type: ElementType,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

/// Reads the tensor table. The result is sorted by name, and the ranges are within the file without overlap.
pub(super) fn read(
    p: &mut Parser<'_>,
    count: u64,
    alignment: u64,
    source: &dyn ByteSource,
    file: usize,
) -> Result<Vec<TensorInfo>, Fail> {
    let mut listed = Vec::new();
    for _ in 0..count {
        listed.push(entry(p, alignment)?);
    }
    p.what = At::File;
    let data_start = p.position().next_multiple_of(alignment);
    let mut tensors = Vec::with_capacity(listed.len());
    for Listed { name, element_type, shape, offset, bytes } in listed {
        let start = data_start.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(bytes));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= source.len())) else {
            let problem = format!(
                "its {bytes} bytes from byte {offset} of the data on go beyond the file's end at \
                 {}: the file is cut short or invalid",
                source.len()
            );
            p.what = At::Tensor(name);
            return Err(Fail::Wrong(problem));
        };
        tensors.push(TensorInfo { name, element_type, shape, range: start..end, file });
    }
    check_ranges(source, &mut tensors, alignment, data_start).map_err(Fail::Error)?;
    tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for pair in tensors.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            p.what = At::Tensor(a.name.clone());
            return Err(Fail::Wrong("is in the file twice".to_owned()));
        }
    }
    Ok(tensors)
}

fn entry(p: &mut Parser<'_>, alignment: u64) -> Result<Listed, Fail> {
    p.what = At::File;
    let (_, name) = p.name("tensor's name", MAX_NAME_BYTES)?;
    p.what = At::Tensor(name.to_owned());
    let wrong = |problem: String| Err(Fail::Wrong(problem));
    let n_dims = p.u32()?;
    if !(1..=MAX_DIMENSIONS).contains(&n_dims) {
        return wrong(format!("has {n_dims} dimensions, need 1 to {MAX_DIMENSIONS}"));
    }
    let mut shape = Vec::new();
    let mut elements = 1_u64;
    for _ in 0..n_dims {
        let dim = p.u64()?;
        let product = elements.checked_mul(dim).filter(|n| *n > 0);
        let (Some(product), Ok(dim)) = (product, usize::try_from(dim)) else {
            return wrong(if dim == 0 {
                "has a dimension of 0".to_owned()
            } else {
                format!("has too many elements (a dimension of {dim})")
            });
        };
        elements = product;
        shape.push(dim);
    }
    let number = p.u32()?;
    let element_type = match TYPES.iter().find(|(known, ..)| *known == number) {
        Some((_, _, Some(element_type))) => *element_type,
        Some((_, name, None)) => {
            return wrong(format!("has type {name}, which is not supported, {SUPPORTED}"));
        }
        None => return wrong(format!("has the unknown type {number}, {SUPPORTED}")),
    };
    // Blocks go along rows, and the first dimension is the length of a row.
    let row = shape.first().and_then(|row| u64::try_from(*row).ok()).unwrap_or(0);
    let block = element_type.block().elements;
    if !row.is_multiple_of(block) {
        return wrong(format!(
            "has rows of {row} elements, {element_type} needs whole blocks of {block}"
        ));
    }
    let Some(bytes) = element_type.bytes_of(elements) else {
        return wrong(format!("has too many elements ({elements})"));
    };
    let offset = p.u64()?;
    if !offset.is_multiple_of(alignment) {
        return wrong(format!(
            "begins at byte {offset} of the data, need a multiple of {alignment}"
        ));
    }
    shape.reverse();
    Ok(Listed { name: name.to_owned(), element_type, shape, offset, bytes })
}

/// Checks that the tensors fill the data without overlap and without gaps other than padding, so that a file
/// cannot hide anything.
fn check_ranges(
    source: &dyn ByteSource,
    tensors: &mut [TensorInfo],
    alignment: u64,
    data_start: u64,
) -> Result<(), FormatError> {
    tensors.sort_unstable_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut end = data_start;
    let mut before: Option<&TensorInfo> = None;
    for tensor in &*tensors {
        let start = tensor.range.start;
        let problem = if start < end {
            let other = before.map_or("the header".to_owned(), |other| quoted(&other.name));
            format!("begins at byte {start}, within {other}, which ends at {end}")
        } else if start - end >= alignment {
            format!("begins at byte {start}, leaving a gap from {end}")
        } else {
            end = tensor.range.end;
            before = Some(tensor);
            continue;
        };
        return Err(FormatError::Tensor {
            file: source.name().to_owned(),
            tensor: tensor.name.clone(),
            problem,
        });
    }
    let left = source.len().saturating_sub(end);
    if left >= alignment && !tensors.is_empty() {
        return Err(FormatError::File {
            file: source.name().to_owned(),
            problem: format!("{left} bytes follow the last tensor, only padding may follow"),
        });
    }
    Ok(())
}
