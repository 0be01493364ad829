//! Models in several GGUF files, made by `gguf-split`: `NAME-00001-of-00003.gguf` and so on. The first part has
//! the metadata, and each part has some of the tensors.

use std::sync::Arc;

use super::{Metadata, read_header};
use crate::formats::{ByteSource, FormatError, KeyError, ModelFiles, TensorInfo};

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";
/// Maximum number of parts, so that a hostile file cannot use up the process's file handles.
const MAX_PARTS: usize = 512;

/// A GGUF model: its parts, the metadata of the first, and the tensors of all, sorted by name.
pub(in crate::formats) struct Parts {
    pub(in crate::formats) files: Vec<Arc<dyn ByteSource>>,
    pub(in crate::formats) metadata: Metadata,
    pub(in crate::formats) tensors: Vec<TensorInfo>,
}

/// Reads the headers of a model. `first` is its only or first file, with the plain name `name`; the other parts
/// are in `files`.
pub(in crate::formats) async fn open_parts(
    files: &ModelFiles,
    name: &str,
    first: Arc<dyn ByteSource>,
) -> Result<Parts, FormatError> {
    let header = read_header(&*first, 0).await?;
    let metadata = header.metadata;
    let mut tensors = header.tensors;
    let mut sources = vec![first];
    let count = metadata.count(COUNT)?.unwrap_or(1);
    if count <= 1 {
        check_single(&metadata, tensors.len())?;
        return Ok(Parts { files: sources, metadata, tensors });
    }
    if count > MAX_PARTS {
        return Err(metadata.mismatch(COUNT, format_args!("at most {MAX_PARTS}")).into());
    }
    let Some(stem) = stem_of(name, 1, count) else {
        return Err(wrong_name(&metadata, name, count).into());
    };
    require(&metadata, NO, 0)?;
    let total = metadata
        .count(TENSORS)?
        .ok_or_else(|| metadata.error(TENSORS, format!("is missing beside {COUNT}")))?;
    for no in 1..count {
        let part = part_name(stem, no + 1, count);
        let Some(source) = files.open(&part)? else {
            return Err(FormatError::File {
                file: metadata.file().to_owned(),
                problem: format!("part {} of {count} is missing: {part}", no + 1),
            });
        };
        let header = read_header(&*source, sources.len()).await?;
        require(&header.metadata, NO, no)?;
        require(&header.metadata, COUNT, count)?;
        require(&header.metadata, TENSORS, total)?;
        tensors.extend(header.tensors);
        sources.push(source);
    }
    if tensors.len() != total {
        let got = tensors.len();
        return Err(metadata
            .mismatch(TENSORS, format_args!("{got}, the total of all parts"))
            .into());
    }
    tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for pair in tensors.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            return Err(FormatError::Tensor {
                file: metadata.file().to_owned(),
                tensor: a.name.clone(),
                problem: format!("is in both part {} and part {}", a.file + 1, b.file + 1),
            });
        }
    }
    Ok(Parts { files: sources, metadata, tensors })
}

/// Checks the keys of a file that is not split.
fn check_single(metadata: &Metadata, tensors: usize) -> Result<(), KeyError> {
    if metadata.count(NO)?.is_some_and(|no| no != 0) {
        return Err(metadata.mismatch(NO, format_args!("0, since there is one file ({COUNT})")));
    }
    match metadata.count(TENSORS)? {
        Some(total) if total != tensors => {
            Err(metadata.mismatch(TENSORS, format_args!("{tensors}, which the file has")))
        }
        _ => Ok(()),
    }
}

/// Makes the error about a file whose name is not that of the first of `count` parts.
fn wrong_name(metadata: &Metadata, name: &str, count: usize) -> KeyError {
    let problem = match metadata.count(NO) {
        Ok(Some(no)) if no > 0 => {
            let first =
                stem_of(name, no.saturating_add(1), count).map(|stem| part_name(stem, 1, count));
            let first = first.unwrap_or_else(|| "the one with -00001-of- in its name".to_owned());
            format!(
                "is part {} of {count} of a model, name the first: {first}",
                no.saturating_add(1)
            )
        }
        _ => format!(
            "is the first of {count} parts, but has another name: need NAME-00001-of-{count:05}.gguf"
        ),
    };
    metadata.error(COUNT, problem)
}

fn require(metadata: &Metadata, key: &str, need: usize) -> Result<(), KeyError> {
    match metadata.count(key)? {
        Some(got) if got == need => Ok(()),
        Some(_) => Err(metadata.mismatch(key, need)),
        None => Err(metadata.error(key, format!("is missing, need {need}"))),
    }
}

fn suffix(part: usize, count: usize) -> String {
    format!("-{part:05}-of-{count:05}.gguf")
}

fn part_name(stem: &str, part: usize, count: usize) -> String {
    format!("{stem}{}", suffix(part, count))
}

/// `NAME` of `NAME-00001-of-00003.gguf`.
fn stem_of(name: &str, part: usize, count: usize) -> Option<&str> {
    name.strip_suffix(suffix(part, count).as_str())
}

/// The part and the number of parts in a file name: `(1, 3)` of `NAME-00001-of-00003.gguf`.
pub(in crate::formats) fn part_of(name: &str) -> Option<(usize, usize)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (_, part) = rest.rsplit_once('-')?;
    let number = |text: &str| text.parse().ok().filter(|_| text.len() == 5);
    Some((number(part)?, number(count)?))
}
