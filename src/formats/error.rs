//! Errors about a model's files.

use super::quote::quoted;
use super::source::SourceError;

/// An error in a model's files. Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A file could not be opened or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file is invalid as a whole.
    #[error("{file}: {problem}")]
    File {
        /// The file, as the user named it.
        file: String,
        /// The problem, and the expected content.
        problem: String,
    },
    /// A key of a GGUF file is invalid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// One tensor of a file is invalid.
    #[error("{file}: tensor {}: {problem}", quoted(tensor))]
    Tensor {
        /// The file, as the user named it.
        file: String,
        /// The tensor's name in the file.
        tensor: String,
        /// The problem, and the expected content.
        problem: String,
    },
    /// The directory has no weights in a supported format.
    #[error(
        "{place}: no weights found, need model.safetensors, or model.safetensors.index.json and its shards, or a GGUF file"
    )]
    NoWeights {
        /// The directory.
        place: String,
    },
    /// Tensors required by the configuration are missing from the files.
    #[error(
        "{file}: tensor {} is missing ({missing} of {expected} are): the file is incomplete, or its configuration (config.json, a GGUF file's metadata) belongs to another model",
        quoted(first)
    )]
    MissingTensors {
        /// The weight file, or the index of a sharded checkpoint.
        file: String,
        /// Name of the first missing tensor in the order of the forward pass.
        first: String,
        /// Number of missing tensors.
        missing: usize,
        /// Number of tensors required by the configuration.
        expected: usize,
    },
}

/// An invalid key of a GGUF file. The message is one line: file, key, problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {key}: {problem}")]
pub struct KeyError {
    /// The file, as the user named it.
    pub file: String,
    /// The key, e.g. `lfm2moe.expert_used_count`.
    pub key: String,
    /// The problem, as "got X, need Y" if the key has a value.
    pub problem: String,
}
