//! What ends a command, and with which exit code.

use std::process::ExitCode;

use thiserror::Error;

use crate::model::package::PackageError;

/// A command line that is not understood.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError {
    /// The mistake.
    pub problem: String,
    /// The text to type instead.
    pub tip: String,
}

/// Why a command stopped.
#[derive(Debug, Error)]
pub enum CliError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] crate::Error),
    /// A model on the hub or in its cache.
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// An option or a file that the user can mend.
    #[error("{0}")]
    User(String),
    /// As [`CliError::User`], with what to type instead on a line of its own.
    #[error("{problem}")]
    Advised {
        /// What is wrong.
        problem: String,
        /// What to type.
        tip: String,
    },
    /// Something that should not happen.
    #[error("{0}")]
    Internal(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Whoever read stdout has gone, as `head` does when it has its lines: no failure.
    #[error("the reader of stdout has gone")]
    ReaderGone,
}

impl CliError {
    /// Whether the user can mend it.
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
    crate::text::TextError
);
