//! The library's error: one transparent variant for each room's own, and what the engine says.

use thiserror::Error;

use crate::formats::{FormatError, SourceError};
use crate::gpu::{GpuError, size};
use crate::model::{ConfigError, LoadError};
use crate::text::TextError;

/// Anything that can go wrong. The message is one line: what, where, what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The adapter, the device or a shader.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A file that cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A checkpoint that is not one, or not whole.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// config.json or generation_config.json.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer or the chat template.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The caller stopped loading.
    #[error("loading was cancelled")]
    Cancelled,
    /// An option out of its range.
    #[error("{option}: got {got}, need {need}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it was.
        got: String,
        /// What it may be.
        need: String,
    },
    /// A field of a request that is wrong, or that this engine does not support.
    #[error("{field}: {problem}")]
    Request {
        /// The field, e.g. `logit_bias`.
        field: String,
        /// What is wrong, and what it may be.
        problem: String,
    },
    /// The prompt and an answer do not fit the context.
    #[error(
        "the prompt has {prompt} tokens, the context is {context}: there is no room for an answer. \
         Try a larger --context (this model: at most {most}) or a shorter prompt"
    )]
    ContextFull {
        /// Tokens of the prompt.
        prompt: usize,
        /// Positions of the context.
        context: usize,
        /// Positions that the model was made for.
        most: usize,
    },
    /// A token id that the model does not have.
    #[error("token {index}: id {id} is out of range, the model has {vocab} ids")]
    TokenOutOfRange {
        /// Which token of the list.
        index: usize,
        /// Its id.
        id: u32,
        /// Ids of the model.
        vocab: usize,
    },
    /// An empty prompt.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// More than the device has.
    #[error(
        "the model needs {} of GPU memory ({} weights, {} keys and values at context {context}, {} \
         activations), {} are there. Try {advice}",
        size(*need), size(*weights), size(*kv), size(*other), size(*have)
    )]
    ModelTooLarge {
        /// Bytes needed.
        need: u64,
        /// Bytes of weights.
        weights: u64,
        /// Bytes of keys and values.
        kv: u64,
        /// Bytes of activations and other state.
        other: u64,
        /// Positions of the context.
        context: u32,
        /// Bytes there are.
        have: u64,
        /// What would fit.
        advice: String,
    },
    /// All sequences are taken.
    #[error(
        "all {slots} sequences of the engine are in use: drop a session, or build the engine with more"
    )]
    NoFreeSequence {
        /// Sequences of the engine.
        slots: u32,
    },
    /// A model without text.
    #[error("{place}: has no {file}, which this needs. Copy it from the model's repository")]
    NoTextFile {
        /// The model.
        place: String,
        /// `tokenizer.json`, or that it is not in a GGUF's metadata.
        file: &'static str,
    },
    /// NaN or infinity came out of the model.
    #[error(
        "the model gave logits that are NaN or infinite at position {position}: its weights are \
         broken, or the driver computes wrongly (try `lfm2 selftest`)"
    )]
    NotFinite {
        /// Position of the token.
        position: usize,
    },
}

impl From<LoadError> for Error {
    fn from(e: LoadError) -> Self {
        match e {
            LoadError::Format(e) => Self::Format(e),
            LoadError::Gpu(e) => Self::Gpu(e),
            LoadError::Cancelled => Self::Cancelled,
        }
    }
}

impl Error {
    /// Whether the user can mend it (a file, an option, a missing driver): exit code 2 of the
    /// command line, against 1 for the rest.
    #[must_use]
    pub fn is_user(&self) -> bool {
        match self {
            Self::Gpu(e) => matches!(
                e,
                GpuError::NoAdapter { .. }
                    | GpuError::AdapterNotFound { .. }
                    | GpuError::NoDevice { .. }
                    | GpuError::Limit { .. }
                    | GpuError::OutOfMemory { .. }
            ),
            Self::NotFinite { .. } | Self::Cancelled => false,
            _ => true,
        }
    }

    /// What kind of error it is, in a word that stays the same from version to version:
    ///
    /// | code | meaning |
    /// |---|---|
    /// | `no_adapter` | there is no GPU that can compute, or not the one asked for |
    /// | `out_of_memory` | the model, or a buffer of it, does not fit the GPU |
    /// | `device_lost` | the GPU went away; load the model again |
    /// | `gpu_error` | the GPU refused something, or computes wrongly |
    /// | `read_failed` | a file of the model could not be read |
    /// | `bad_model` | a file of the model is missing, broken or of another kind |
    /// | `cancelled` | the caller stopped it |
    /// | `invalid_request` | an option or a message is wrong or not supported |
    /// | `context_full` | the conversation is longer than the context |
    /// | `busy` | all sequences are in use |
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gpu(e) => match e {
                GpuError::NoAdapter { .. }
                | GpuError::AdapterNotFound { .. }
                | GpuError::NoDevice { .. } => "no_adapter",
                GpuError::Limit { .. } | GpuError::OutOfMemory { .. } => "out_of_memory",
                GpuError::DeviceLost { .. } => "device_lost",
                GpuError::Pipeline { .. } | GpuError::Validation { .. } => "gpu_error",
            },
            Self::Source(e) | Self::Format(FormatError::Source(e)) => match e {
                SourceError::Io { .. } | SourceError::Truncated { .. } => "read_failed",
                _ => "bad_model",
            },
            Self::Text(
                TextError::Conversation { .. }
                | TextError::StopString { .. }
                | TextError::TemplateRaised { .. },
            ) => "invalid_request",
            Self::Format(_) | Self::Config(_) | Self::Text(_) | Self::NoTextFile { .. } => {
                "bad_model"
            }
            Self::Cancelled => "cancelled",
            Self::Option { .. }
            | Self::Request { .. }
            | Self::TokenOutOfRange { .. }
            | Self::EmptyPrompt => "invalid_request",
            Self::ContextFull { .. } => "context_full",
            Self::ModelTooLarge { .. } => "out_of_memory",
            Self::NoFreeSequence { .. } => "busy",
            Self::NotFinite { .. } => "gpu_error",
        }
    }
}
