//! Checks before a download whether a model can be loaded, by the beginnings of its files on the hub.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::RemoteFile;
use super::http::{Http, Patience};
use super::{HubError, HubName};
use crate::Error;
use crate::formats::gguf::read_header;
use crate::formats::{
    ByteSource, Checkpoint, FormatError, ModelFiles, ModelKind, SourceError, read_small,
};
use crate::model::config::MAX_CONFIG_BYTES;
use crate::model::{ModelConfig, validate};

/// Bytes of the first request, and the most bytes of one file: enough for its header.
const FIRST: u64 = 64 << 10;
const MOST: u64 = 64 << 20;

/// A file on the hub. Its beginning is fetched as far as it is read.
struct Beginning {
    http: Arc<Http>,
    name: HubName,
    url: String,
    file: RemoteFile,
    have: Mutex<Vec<u8>>,
    /// The error of the last failed read.
    failure: Arc<Mutex<Option<HubError>>>,
}

impl fmt::Debug for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Beginning").field(&self.file.name).finish()
    }
}

impl ByteSource for Beginning {
    fn len(&self) -> u64 {
        self.file.size
    }

    fn name(&self) -> &str {
        &self.file.name
    }

    fn read_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let io = |error: std::io::Error| SourceError::Io {
            file: self.file.name.clone(),
            action: "read",
            error,
        };
        let end = offset.saturating_add(buf.len() as u64);
        if end > MOST {
            return Err(io(std::io::ErrorKind::Unsupported.into()));
        }
        let mut have = self.have.lock().unwrap_or_else(PoisonError::into_inner);
        let from = have.len() as u64;
        if end > from {
            let wanted = end.max(2 * from).clamp(FIRST, MOST).min(self.file.size) - from;
            match self.fetch(from, wanted) {
                Ok(more) => have.extend(more),
                Err(failure) => {
                    let problem = std::io::Error::other(failure.to_string());
                    let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    *slot = Some(failure);
                    return Err(io(problem));
                }
            }
        }
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        match range.and_then(|(from, to)| have.get(from..to)) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(io(std::io::ErrorKind::UnexpectedEof.into())),
        }
        Ok(())
    }
}

impl Beginning {
    fn fetch(&self, from: u64, len: u64) -> Result<Vec<u8>, HubError> {
        let mut patience = Patience::new();
        loop {
            match self.http.part(&self.name, &self.url, &self.file.name, from, len) {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => {
                    patience.wait(&self.url, failure, &mut |why| log::warn!("{why}"))?
                }
            }
        }
    }
}

/// Returns the problem of a model that cannot be loaded. `None` if no problem was found, or if the beginnings of
/// the files do not suffice to tell.
///
/// # Errors
/// Errors of the hub and the network.
pub(super) fn problem(
    http: &Arc<Http>,
    name: &HubName,
    commit: &str,
    files: &[RemoteFile],
) -> Result<Option<String>, HubError> {
    let failure = Arc::new(Mutex::new(None));
    let files = Arc::new(beginnings(http, name, commit, files, &failure));
    let checked = pollster::block_on(check(&files));
    if let Some(failure) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(failure);
    }
    Ok(match checked {
        Ok(()) | Err(Error::Source(_) | Error::Format(FormatError::Source(_))) => None,
        Err(error) => Some(error.to_string()),
    })
}

/// Returns the problem of a GGUF file that is not an adapter.
///
/// # Errors
/// Errors of the hub and the network.
pub(super) fn not_an_adapter(
    http: &Arc<Http>,
    name: &HubName,
    commit: &str,
    files: &[RemoteFile],
) -> Result<Option<String>, HubError> {
    let failure = Arc::new(Mutex::new(None));
    let files = beginnings(http, name, commit, files, &failure);
    let Some((_, source)) = files.only() else { return Ok(None) };
    let header = pollster::block_on(read_header(&**source, 0));
    if let Some(failure) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(failure);
    }
    Ok(match header {
        Ok(header) => match header.metadata.string("general.type") {
            Ok(Some("adapter")) => None,
            _ => Some(format!("{} is a model, not a LoRA adapter", source.name())),
        },
        Err(FormatError::Source(_)) => None,
        Err(error) => Some(error.to_string()),
    })
}

/// The beginnings of files on the hub, fetched as far as they are read. The last failed read stores its error
/// in `failure`.
pub(super) fn beginnings(
    http: &Arc<Http>,
    name: &HubName,
    commit: &str,
    files: &[RemoteFile],
    failure: &Arc<Mutex<Option<HubError>>>,
) -> ModelFiles {
    let sources = files.iter().map(|file| {
        let beginning = Beginning {
            http: http.clone(),
            name: name.clone(),
            url: http.file_url(name, commit, &file.name),
            file: file.clone(),
            have: Mutex::default(),
            failure: failure.clone(),
        };
        let plain = file.name.rsplit('/').next().unwrap_or(&file.name).to_owned();
        (plain, Arc::new(beginning) as Arc<dyn ByteSource>)
    });
    ModelFiles::from_sources(&name.id(), sources)
}

/// The part of loading that needs no weights.
async fn check(files: &Arc<ModelFiles>) -> Result<(), Error> {
    let (config, checkpoint) = match files.kind().await {
        Ok(ModelKind::Gguf { source, name }) => {
            let (checkpoint, metadata) = Checkpoint::open_gguf(files, &name, source).await?;
            (ModelConfig::from_gguf(&metadata, &checkpoint)?, checkpoint)
        }
        Ok(ModelKind::Hub) => {
            let source = files.require("config.json")?;
            let bytes = read_small(&*source, MAX_CONFIG_BYTES).await?;
            let config = ModelConfig::from_json(source.name(), &bytes)?;
            (config, Checkpoint::open(files.clone()).await?)
        }
        // Not a model by its first bytes. Loading will report that.
        Err(_) => return Ok(()),
    };
    validate(&config, &checkpoint).await?;
    Ok(())
}
