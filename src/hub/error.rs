//! Errors of the hub and its cache. Each message is one line and says what to do.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::formats::one_line;

/// An error of finding or downloading a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not a valid name of a model on the hub.
    #[error("{name}: {problem}; hub names have the form owner/repo[:QUANT][@revision]")]
    Name {
        /// The text, quoted.
        name: String,
        /// The problem.
        problem: String,
    },
    /// An environment variable with an invalid value.
    #[error("{variable}: {problem}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// The problem.
        problem: String,
    },
    /// `HF_HUB_OFFLINE` is set, and the model is not in the cache.
    #[error(
        "{name}: HF_HUB_OFFLINE is set, and the cache does not have the complete model. {there}"
    )]
    Offline {
        /// The model.
        name: String,
        /// The content of the cache, as a sentence.
        there: String,
    },
    /// The model is not in the cache.
    #[error("{name}: not in the cache. {there}")]
    NotCached {
        /// The model.
        name: String,
        /// The content of the cache, as a sentence.
        there: String,
    },
    /// The hub denies access (401 or 403).
    #[error(
        "{repo}: the hub denies access ({status}). {token} If the model is gated, accept its licence at {url}"
    )]
    Denied {
        /// The repository.
        repo: String,
        /// The response's status.
        status: u16,
        /// Advice about the token.
        token: &'static str,
        /// Its page.
        url: String,
    },
    /// No such repository, revision or file (404).
    #[error("{what}: the hub has no such {kind}, check the name")]
    NotFound {
        /// Its name.
        what: String,
        /// `model or revision`, `revision` or `file`.
        kind: &'static str,
    },
    /// The repository has no file of that quantisation.
    #[error("{repo}: has no file of quantisation {quant}. There are: {there}")]
    NoQuant {
        /// The repository.
        repo: String,
        /// The requested quantisation.
        quant: String,
        /// The available quantisations, the most similar first.
        there: String,
    },
    /// Several models match the name.
    #[error(
        "{repo}: has several models, add one to the name, e.g. {repo}:{first}. There are: {there}"
    )]
    Choose {
        /// The repository.
        repo: String,
        /// The first of them.
        first: String,
        /// All their labels.
        there: String,
    },
    /// No supported model.
    #[error("{repo}: has neither .gguf files nor config.json with model*.safetensors")]
    NoModel {
        /// The repository.
        repo: String,
    },
    /// No LoRA adapter.
    #[error(
        "{repo}: is no LoRA adapter: has neither adapter_config.json with adapter_model.safetensors nor a .gguf file"
    )]
    NoAdapter {
        /// The repository.
        repo: String,
    },
    /// A split file with parts missing on the hub.
    #[error("{repo}: {file} has {of} parts, the hub has {there} of them")]
    PartsMissing {
        /// The repository.
        repo: String,
        /// The first available part.
        file: String,
        /// Number of parts by the file's name.
        of: usize,
        /// Number of available parts.
        there: usize,
    },
    /// An invalid response.
    #[error("{url}: the response is not the hub's: {problem}")]
    BadReply {
        /// The address.
        url: String,
        /// The problem.
        problem: String,
    },
    /// The server could not be reached, or the connection broke repeatedly.
    #[error("{url}: {problem}. The downloaded part is kept: run the command again to resume")]
    Network {
        /// The address.
        url: String,
        /// The last problem.
        problem: String,
    },
    /// The hub's host name cannot be resolved: there is no network, or a wrong name.
    #[error(
        "{host} is not found: check that this computer is online. Downloaded models need no network (`lfm2 list`)"
    )]
    NoNetwork {
        /// The server.
        host: String,
    },
    /// A model that this version cannot load.
    #[error("{name}: {problem}; it was not downloaded.{there}")]
    Unsupported {
        /// The model.
        name: String,
        /// The problem, with its file.
        problem: String,
        /// Other supported models of the repository, as a sentence after a space.
        there: String,
    },
    /// The caller stopped the download.
    #[error("stopped; the next run resumes")]
    Cancelled,
    /// A server whose certificate is not signed by a known authority.
    #[error(
        "{url}: {problem}. Behind a proxy, set SSL_CERT_FILE to its certificate authorities, often /etc/ssl/certs/ca-certificates.crt"
    )]
    Certificate {
        /// The address.
        url: String,
        /// The problem.
        problem: String,
    },
    /// A downloaded file does not match the hub's hash or length.
    #[error(
        "{file}: the download is damaged: its {kind} is {got}, the hub says {wanted}. It was deleted; try again, or use another network"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// `SHA-256`, `git hash` or `length`.
        kind: &'static str,
        /// The computed value.
        got: String,
        /// The hub's value.
        wanted: String,
    },
    /// A file whose content cannot be checked.
    #[error(
        "{file}: the server sends no hash or length for it, so it cannot be checked; check that {url} is a hub"
    )]
    NoHash {
        /// The file.
        file: String,
        /// The server.
        url: String,
    },
    /// Not enough space on the disk.
    #[error(
        "{}: {need} more bytes are needed, {have} are free. Free some (`lfm2 list`, `lfm2 rm`), or set HF_HOME to a folder on another disk",
        path.display()
    )]
    NoSpace {
        /// The cache.
        path: PathBuf,
        /// Bytes needed.
        need: u64,
        /// Bytes free.
        have: u64,
    },
    /// Another process is downloading the model.
    #[error("{name}: another process is downloading it, wait for it or end it")]
    Busy {
        /// The model.
        name: String,
    },
    /// The operating system's own error.
    #[error("{}: cannot {action} it: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failed action.
        action: &'static str,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
}

impl HubError {
    /// Whether the user can fix the cause; false for failures of the network or a server.
    #[must_use]
    pub fn is_user(&self) -> bool {
        !matches!(
            self,
            Self::BadReply { .. }
                | Self::Network { .. }
                | Self::NoNetwork { .. }
                | Self::Corrupt { .. }
                | Self::Cancelled
        )
    }

    pub(super) fn reply(url: &str, problem: impl std::fmt::Display) -> Self {
        Self::BadReply { url: url.to_owned(), problem: one_line(&problem) }
    }
}

/// Makes an error of `action` on a path, for `map_err`.
pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> HubError {
    let path = path.to_owned();
    move |error| HubError::Io { path, action, error }
}
