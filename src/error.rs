//! The library's error: a transparent variant for the error of each room, and the engine's own
//! variants.

use thiserror::Error;

use crate::formats::{FormatError, SourceError};
use crate::gpu::{GpuError, size};
use crate::grammar::GrammarError;
use crate::model::{ConfigError, LoadError, LoraError};
use crate::text::TextError;

/// Any error of the library. The message is one line: the problem, its place and the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The adapter, the device or a shader.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A file that cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An invalid or incomplete checkpoint.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// config.json or generation_config.json.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The files of a LoRA adapter.
    #[error(transparent)]
    LoraFile(#[from] LoraError),
    /// The tokenizer or the chat template.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The form that an answer was asked for.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// The caller stopped loading.
    #[error("loading was cancelled")]
    Cancelled,
    /// An option out of its range.
    #[error("{option}: got {got}, need {need}")]
    Option {
        /// The option.
        option: &'static str,
        /// The value that was given.
        got: String,
        /// The values that are allowed.
        need: String,
    },
    /// An invalid field of a request, or one that this engine does not support.
    #[error("{field}: {problem}")]
    Request {
        /// The field, e.g. `logit_bias`.
        field: String,
        /// The problem, and the values that are allowed.
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
    /// The model does not fit the GPU's memory.
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
        /// Bytes available.
        have: u64,
        /// Options with which it would fit.
        advice: String,
    },
    /// All sequences are taken by [`Sequence`](crate::engine::Sequence)s.
    #[error(
        "the engine has no free sequence ({slots} in all), or no memory for one: drop a Sequence, wait for \
         answers to end, or build the engine with more"
    )]
    NoFreeSequence {
        /// Sequences of the engine.
        slots: u32,
    },
    /// A LoRA adapter that an engine does not have, or cannot take.
    #[error("LoRA adapter {name}: {problem}")]
    Lora {
        /// Its name.
        name: String,
        /// The problem, and the remedy.
        problem: String,
    },
    /// A saved state that cannot be used.
    #[error("{file}: {problem}")]
    SavedState {
        /// The file.
        file: String,
        /// The problem, and the remedy.
        problem: String,
    },
    /// A batch file that cannot be used.
    #[error("{file}: {problem}")]
    BatchFile {
        /// The file, with the number of the line.
        file: String,
        /// The problem, and the remedy.
        problem: String,
    },
    /// The engine's thread could not be started, or has panicked.
    #[error("the engine's thread could not start, or has failed; build the engine again")]
    EngineStopped,
    /// A model without the file that text needs.
    #[error("{place}: has no {file}, which this needs. Copy it from the model's repository")]
    NoTextFile {
        /// The model.
        place: String,
        /// `tokenizer.json`, or the tokenizer in a GGUF file's metadata.
        file: &'static str,
    },
    /// The rule of an answer leaves no token that may be drawn.
    #[error(
        "the rule for the tokens that are allowed leaves none at position {position}: end the answer there by an \
         end token"
    )]
    NothingAllowed {
        /// Position of the token.
        position: usize,
    },
    /// The model's logits are NaN or infinite.
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
    /// The error for one more answer that ends because of it.
    pub(crate) fn of_all(&self) -> Self {
        match self {
            Self::Gpu(e) => Self::Gpu(e.clone()),
            _ => Self::EngineStopped,
        }
    }

    /// Whether the user can remedy the error (a file, an option, a missing driver). The command
    /// line then exits with code 2, else with code 1.
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
            Self::NotFinite { .. } | Self::Cancelled | Self::EngineStopped => false,
            _ => true,
        }
    }

    /// The kind of error, in a word that stays the same from version to version:
    ///
    /// | code | meaning |
    /// |---|---|
    /// | `no_adapter` | there is no GPU that can compute, or not the one asked for |
    /// | `out_of_memory` | the model, or a buffer of it, does not fit the GPU |
    /// | `device_lost` | the GPU went away; load the model again |
    /// | `gpu_error` | the GPU refused something, or computes wrongly |
    /// | `read_failed` | a file of the model could not be read |
    /// | `bad_model` | a file of the model or of an adapter is missing, broken or of another kind |
    /// | `cancelled` | the caller stopped it |
    /// | `invalid_request` | an option or a message is wrong or not supported |
    /// | `context_full` | the conversation is longer than the context |
    /// | `saved_state` | a saved state is damaged, of another model, or could not be written |
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
            Self::Source(e)
            | Self::Format(FormatError::Source(e))
            | Self::LoraFile(LoraError::Format(FormatError::Source(e))) => match e {
                SourceError::Io { .. } | SourceError::Truncated { .. } => "read_failed",
                _ => "bad_model",
            },
            Self::Text(
                TextError::Conversation { .. }
                | TextError::StopString { .. }
                | TextError::TokenId { .. }
                | TextError::TemplateRaised { .. },
            ) => "invalid_request",
            Self::Format(_)
            | Self::Config(_)
            | Self::LoraFile(_)
            | Self::Text(_)
            | Self::NoTextFile { .. } => "bad_model",
            Self::Cancelled => "cancelled",
            Self::Grammar(_) => "invalid_request",
            Self::Option { .. }
            | Self::Lora { .. }
            | Self::Request { .. }
            | Self::BatchFile { .. }
            | Self::TokenOutOfRange { .. }
            | Self::NothingAllowed { .. }
            | Self::EmptyPrompt => "invalid_request",
            Self::ContextFull { .. } => "context_full",
            Self::SavedState { .. } => "saved_state",
            Self::ModelTooLarge { .. } => "out_of_memory",
            Self::NoFreeSequence { .. } => "busy",
            Self::NotFinite { .. } | Self::EngineStopped => "gpu_error",
        }
    }
}
