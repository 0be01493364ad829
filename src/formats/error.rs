//! Errors about a model's files.

use super::quote::quoted;
use super::source::SourceError;

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

/// Why a key's value cannot be used. One line: file, key, what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {key}: {problem}")]
pub struct KeyError {
    /// The file, as the user knows it.
    pub file: String,
    /// The key, e.g. `lfm2moe.expert_used_count`.
    pub key: String,
    /// What is wrong with it, as "got X, need Y" where there is a value.
    pub problem: String,
}
