//! Errors of commands and their exit codes.

use std::process::ExitCode;

use thiserror::Error;

use crate::model::package::PackageError;

/// A mistake in the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError {
    /// The mistake.
    pub problem: String,
    /// The text to type instead.
    pub tip: String,
}

/// An error that ends a command.
#[derive(Debug, Error)]
pub enum CliError {
    /// An error of the engine.
    #[error(transparent)]
    Engine(#[from] crate::Error),
    /// An error of the hub or its cache.
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// A wrong option or file, which the user can correct.
    #[error("{0}")]
    User(String),
    /// As [`CliError::User`], with a tip on a line of its own.
    #[error("{problem}")]
    Advised {
        /// The mistake.
        problem: String,
        /// The text to type instead.
        tip: String,
    },
    /// Any other error.
    #[error("{0}")]
    Internal(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The reader of stdout has closed it, as `head` does after its last line. This is no failure.
    #[error("stdout is closed")]
    ReaderGone,
}

impl CliError {
    /// Whether the user can correct it.
    pub(super) fn is_user(&self) -> bool {
        match self {
            Self::Engine(e) => e.is_user(),
            Self::Hub(e) => e.is_user(),
            Self::User(_) | Self::Advised { .. } => true,
            Self::Internal(_) | Self::Interrupted | Self::ReaderGone => false,
        }
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::ReaderGone => 0,
            Self::Engine(crate::Error::Cancelled) | Self::Interrupted => 130,
            other if other.is_user() => 2,
            _ => 1,
        })
    }

    /// A file that could not be read or written.
    pub(super) fn file(path: &std::path::Path, action: &str, e: &std::io::Error) -> Self {
        Self::User(format!("{}: cannot {action}: {e}", path.display()))
    }
}

impl From<PackageError> for CliError {
    fn from(e: PackageError) -> Self {
        match e {
            PackageError::Format(e) => e.into(),
            PackageError::Cancelled => Self::Interrupted,
            PackageError::Source { .. } | PackageError::Write { .. } => Self::User(e.to_string()),
            _ => Self::Internal(e.to_string()),
        }
    }
}

macro_rules! from_room {
    ($($error:ty),*) => {
        $(impl From<$error> for CliError {
            fn from(e: $error) -> Self {
                Self::Engine(e.into())
            }
        })*
    };
}
from_room!(
    crate::gpu::GpuError,
    crate::formats::SourceError,
    crate::formats::FormatError,
    crate::model::ConfigError,
    crate::model::LoraError,
    crate::text::TextError
);
