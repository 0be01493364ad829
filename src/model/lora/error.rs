//! Errors of adapters.

use crate::formats::{FormatError, SourceError, quoted};
use crate::model::ConfigError;

/// Reason for refusing an adapter. The message is one line: file, tensor or field, problem, remedy. A refused
/// adapter changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// A file that cannot be read, or is not valid in its own format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An invalid field of adapter_config.json.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A method or an option of PEFT that is not implemented.
    #[error("{file}: {field}: {feature} is not supported: {remedy}")]
    Unsupported {
        /// The file.
        file: String,
        /// The field of adapter_config.json, or the key of a GGUF file.
        field: String,
        /// The method or option.
        feature: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// The files are not an adapter.
    #[error("{place}: {problem}")]
    NotAnAdapter {
        /// The folder or file.
        place: String,
        /// The problem and its remedy.
        problem: String,
    },
    /// A tensor that is not a factor of a matrix of the model. Adapters are used completely or not at all.
    #[error("{file}: tensor {}: {problem}", quoted(tensor))]
    Tensor {
        /// The file.
        file: String,
        /// The tensor's name in the file.
        tensor: String,
        /// The problem and its remedy.
        problem: String,
    },
    /// One factor without the other.
    #[error(
        "{file}: tensor {} is missing, but {} is there: the file is incomplete, save the adapter again",
        quoted(missing),
        quoted(tensor)
    )]
    MissingFactor {
        /// The file.
        file: String,
        /// Name of the factor that is there.
        tensor: String,
        /// Name of the missing factor.
        missing: String,
    },
    /// A factor whose shape is not that of the model's matrix.
    #[error(
        "{file}: tensor {}: has shape {got:?}, need {need}: the adapter was trained on a model of other sizes",
        quoted(tensor)
    )]
    Shape {
        /// The file.
        file: String,
        /// The tensor's name in the file.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shapes that are possible.
        need: String,
    },
    /// A rank that is 0 or too high, or of which the two factors or the configuration say different things.
    #[error("{file}: tensor {}: has rank {got}, {need}", quoted(tensor))]
    Rank {
        /// The file.
        file: String,
        /// The tensor's name in the file.
        tensor: String,
        /// Its rank.
        got: usize,
        /// The requirement and its source.
        need: String,
    },
    /// A NaN or an infinity.
    #[error(
        "{file}: tensor {}: element {index} is {value}: the training has failed, use an earlier checkpoint of it",
        quoted(tensor)
    )]
    NotFinite {
        /// The file.
        file: String,
        /// The tensor's name in the file.
        tensor: String,
        /// Index of the element in the order of the file.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A target of adapter_config.json for which the file has no tensor.
    #[error(
        "{file}: {field}: {} has no tensor in {weights}: {problem}. If it was not meant, remove it from {field}",
        quoted(target)
    )]
    Target {
        /// adapter_config.json.
        file: String,
        /// `target_modules` or `target_parameters`.
        field: &'static str,
        /// The entry.
        target: String,
        /// The file with the tensors.
        weights: String,
        /// The probable reason.
        problem: String,
    },
}

impl From<SourceError> for LoraError {
    fn from(error: SourceError) -> Self {
        Self::Format(error.into())
    }
}
