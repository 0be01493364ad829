//! Bytes to tensors on the CPU: byte sources, the safetensors and GGUF readers, the checkpoint, the
//! manifest of a package.
//!
//! This room knows no GPU and trusts no input: every length and offset of a file is checked
//! against the bytes that are really there before anything is allocated or read, and every
//! error names the file and, where there is one, the tensor.
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

pub mod blocks;
pub mod checkpoint;
mod element;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod files;
pub mod gguf;
mod json_bytes;
pub mod package;
mod place;
mod plain_text;
pub mod safetensors;
pub mod source;
pub mod synthetic;

pub use checkpoint::{Checkpoint, Naming, TensorSlice};
pub use element::{Block, ElementType};
#[cfg(not(target_arch = "wasm32"))]
pub use file::FileSource;
pub use files::{ModelFiles, ModelKind};
pub use gguf::{KeyError, Metadata};
pub use json_bytes::json_bytes;
pub use package::{Manifest, OnBytes, PackageFile, PackageRecipe};
pub use place::model_name;
pub(crate) use place::names_of;
pub use plain_text::{plain_text, without_mark};
pub use safetensors::TensorInfo;
pub use source::{ByteSource, BytesSource, SourceError, read_small};

/// What is wrong with a model's weight files. Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A file could not be opened or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file as a whole is not what it should be.
    #[error("{file}: {problem}")]
    File {
        /// The file, as the user knows it.
        file: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// A key of a GGUF file is not what it should be.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// One tensor of a file is not what it should be.
    #[error("{file}: tensor {}: {problem}", quoted(tensor))]
    Tensor {
        /// The file, as the user knows it.
        file: String,
        /// The tensor's name as the file spells it.
        tensor: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// The directory holds no weights in a format that is read here.
    #[error(
        "{place}: no weights found, need model.safetensors, or model.safetensors.index.json and its shards, or a GGUF file"
    )]
    NoWeights {
        /// The directory.
        place: String,
    },
    /// Tensors that the configuration calls for are not in the files.
    #[error(
        "{file}: tensor {} is missing ({missing} of {expected} are): the file is not whole, or its configuration (config.json, a GGUF's metadata) is another model's",
        quoted(first)
    )]
    MissingTensors {
        /// The weight file, or the index of a sharded checkpoint.
        file: String,
        /// Name of the first missing tensor, in the order of the forward pass.
        first: String,
        /// How many are missing.
        missing: usize,
        /// How many the configuration calls for.
        expected: usize,
    },
}

/// `T` from a JSON object only: serde's derived code would also take a list of the fields' values.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields<T>(std::marker::PhantomData<T>);
        impl<'de, T: serde::Deserialize<'de>> serde::de::Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Object<T>, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }
        json.deserialize_map(Fields(std::marker::PhantomData))
    }
}

/// Longest piece of a file's own text that is repeated in an error.
const MAX_QUOTED_CHARS: usize = 120;

/// A name from a file, in quotes, with control characters escaped and a long one cut, so that
/// whatever a file says, an error stays one readable line.
pub(crate) fn quoted(name: &str) -> String {
    let clipped: String = name.chars().take(MAX_QUOTED_CHARS).collect();
    let cut = if clipped.len() < name.len() { "..." } else { "" };
    format!("{clipped:?}{cut}")
}

/// A message of another crate (which may repeat a file's own text) as one line of bounded length.
pub(crate) fn one_line(message: &dyn std::fmt::Display) -> String {
    let message = message.to_string();
    let chars: Vec<char> = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let half = MAX_QUOTED_CHARS;
    match (chars.get(..half), chars.len().checked_sub(half)) {
        // The end is kept too: serde_json puts line and column there.
        (Some(head), Some(tail)) if chars.len() > 2 * half => {
            let head: String = head.iter().collect();
            let tail: String = chars.iter().skip(tail).collect();
            format!("{head}...{tail}")
        }
        _ => chars.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_one_short_line() {
        assert_eq!(quoted("a\nb\u{1b}[0m"), r#""a\nb\u{1b}[0m""#);
        let long = quoted(&"é".repeat(10_000));
        assert!(long.ends_with("\"...") && long.chars().count() < 130, "{long}");
    }

    #[test]
    fn a_long_message_keeps_both_ends() {
        let message = format!("unknown field `{}` at line 1 column 9", "x\n".repeat(5_000));
        let line = one_line(&message);
        assert!(line.starts_with("unknown field") && line.ends_with("column 9"));
        assert!(!line.contains('\n') && line.chars().count() < 250, "{line}");
        assert_eq!(one_line(&"short"), "short");
    }
}
