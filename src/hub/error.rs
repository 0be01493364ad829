//! What can go wrong with the hub, each in one line that says what to do.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::formats::one_line;

/// Why a model could not be had from the hub or from its cache.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not a name of the hub.
    #[error("{name}: {problem}; a name of the hub is owner/repo[:QUANT][@revision]")]
    Name {
        /// The text, quoted.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A variable of the environment that cannot be used.
    #[error("{variable}: {problem}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// `HF_HUB_OFFLINE` is set and the cache does not hold the model.
    #[error("{name}: HF_HUB_OFFLINE is set and the cache does not hold it whole. {there}")]
    Offline {
        /// The model.
        name: String,
        /// What the cache holds.
        there: String,
    },
    /// The cache does not hold the model.
    #[error("{name}: not in the cache. {there}")]
    NotCached {
        /// The model.
        name: String,
        /// What the cache holds.
        there: String,
    },
    /// The hub lets this user not have it (401 or 403).
    #[error(
        "{repo}: the hub refuses it ({status}). {token} If it is there and asks for consent to its licence, give it at {url}"
    )]
    Denied {
        /// The repository.
        repo: String,
        /// The answer's status.
        status: u16,
        /// What to do about the token.
        token: &'static str,
        /// Its page.
        url: String,
    },
    /// No such repository, revision or file (404).
    #[error("{what}: the hub has no such {kind}, is the name right?")]
    NotFound {
        /// Which one.
        what: String,
        /// `model or revision`, `revision` or `file`.
        kind: &'static str,
    },
    /// The repository has no file of that quantisation.
    #[error("{repo}: has no file of quantisation {quant}. There are: {there}")]
    NoQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
        /// What there is, the nearest first.
        there: String,
    },
    /// Several models and none was named.
    #[error(
        "{repo}: holds several models, add one to the name, e.g. {repo}:{first}. There are: {there}"
    )]
    Choose {
        /// The repository.
        repo: String,
        /// The first of them.
        first: String,
        /// All of them.
        there: String,
    },
    /// Nothing that this program runs.
    #[error("{repo}: holds neither .gguf files nor config.json with model*.safetensors")]
    NoModel {
        /// The repository.
        repo: String,
    },
    /// A split file of which parts are missing on the hub.
    #[error("{repo}: {file} has {of} parts, the hub holds {there} of them")]
    PartsMissing {
        /// The repository.
        repo: String,
        /// The first part that is there.
        file: String,
        /// How many there should be.
        of: usize,
        /// How many there are.
        there: usize,
    },
    /// An answer that does not make sense.
    #[error("{url}: the server's answer is not the hub's: {problem}")]
    BadReply {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The server could not be reached, or the connection broke again and again.
    #[error("{url}: {problem}. What was fetched is kept: run it again to go on")]
    Network {
        /// The address.
        url: String,
        /// The last problem.
        problem: String,
    },
    /// The hub's name is not known: there is no network, or none to it.
    #[error(
        "{host} is not found: is this computer online? What has been fetched needs no network (`lfm2 list`)"
    )]
    NoNetwork {
        /// The server.
        host: String,
    },
    /// A model of the hub that this version does not load.
    #[error("{name}: {problem}; it was not downloaded.{there}")]
    Unsupported {
        /// The model.
        name: String,
        /// Why, by file.
        problem: String,
        /// Which others of the repository load, as a sentence after a space.
        there: String,
    },
    /// The caller stopped it.
    #[error("stopped; the next run goes on")]
    Cancelled,
    /// A server whose certificate nobody known has signed.
    #[error(
        "{url}: {problem}. If a proxy stands between, set SSL_CERT_FILE to its authorities, often /etc/ssl/certs/ca-certificates.crt"
    )]
    Certificate {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What came is not what the hub says it is.
    #[error(
        "{file}: what came is not the file: its {kind} is {got}, the hub says {wanted}. It was deleted; try again, or another network"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// `SHA-256`, `git hash` or `length`.
        kind: &'static str,
        /// What was computed.
        got: String,
        /// What the hub says.
        wanted: String,
    },
    /// A file whose content could not be checked.
    #[error(
        "{file}: the server tells no hash or length of it, so it cannot be checked; is {url} a hub?"
    )]
    NoHash {
        /// The file.
        file: String,
        /// The server.
        url: String,
    },
    /// Not enough room.
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
    /// Another process is at it.
    #[error("{name}: another process is fetching it, wait for it or end it")]
    Busy {
        /// The model.
        name: String,
    },
    /// The operating system's own error.
    #[error("{}: cannot {action} it: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
}

impl HubError {
    /// Whether the user can mend it, against a network or a server that fails.
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

/// For `map_err`: what was tried with which file.
pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> HubError {
    let path = path.to_owned();
    move |error| HubError::Io { path, action, error }
}
