//! The set of files that is one model.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(not(target_arch = "wasm32"))]
use std::path::PathBuf;

#[cfg(not(target_arch = "wasm32"))]
use super::file::FileSource;
use super::source::{ByteSource, BytesSource, SourceError, read_small};

/// The files of one model by name: a directory on disk, or a table of sources (the embedded
/// model, files picked in a browser).
#[derive(Debug)]
pub struct ModelFiles {
    place: String,
    files: Files,
}

#[derive(Debug)]
enum Files {
    #[cfg(not(target_arch = "wasm32"))]
    Directory(PathBuf),
    Table(BTreeMap<String, Arc<dyn ByteSource>>),
}

impl ModelFiles {
    /// The files of a directory.
    ///
    /// # Errors
    /// [`SourceError::Missing`] or [`SourceError::NotADirectory`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn directory(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let path = path.into();
        let place = path.display().to_string();
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self { place, files: Files::Directory(path) }),
            Ok(_) => Err(SourceError::NotADirectory { path: place }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(SourceError::Missing { file: place })
            }
            Err(error) => Err(SourceError::Io { file: place, action: "open", error }),
        }
    }

    /// A table of files compiled into the program. `place` is what errors call the model.
    pub fn embedded(place: &str, files: &[(&str, &'static [u8])]) -> Self {
        Self::from_sources(
            place,
            files.iter().map(|&(name, bytes)| {
                let source = BytesSource::from_static(format!("{place}/{name}"), bytes);
                (name.to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
            }),
        )
    }

    /// A table of any sources. `place` is what errors call the model.
    pub fn from_sources(
        place: &str,
        sources: impl IntoIterator<Item = (String, Arc<dyn ByteSource>)>,
    ) -> Self {
        Self { place: place.to_owned(), files: Files::Table(sources.into_iter().collect()) }
    }

    /// What errors call the model: the directory's path as the user gave it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Opens a file by its plain name; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`SourceError::BadName`] for anything but a plain name (a name from an index file never
    /// leads out of the directory), and for a file that is there and cannot be opened.
    pub fn open(&self, name: &str) -> Result<Option<Arc<dyn ByteSource>>, SourceError> {
        check_name(name)?;
        match &self.files {
            #[cfg(not(target_arch = "wasm32"))]
            Files::Directory(directory) => match FileSource::open(&directory.join(name)) {
                Ok(source) => Ok(Some(Arc::new(source))),
                Err(SourceError::Missing { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            Files::Table(table) => Ok(table.get(name).cloned()),
        }
    }

    /// Opens a file that must be there.
    ///
    /// # Errors
    /// [`SourceError::Missing`], and as [`open`](Self::open).
    pub fn require(&self, name: &str) -> Result<Arc<dyn ByteSource>, SourceError> {
        self.open(name)?
            .ok_or_else(|| SourceError::Missing { file: format!("{}/{name}", self.place) })
    }

    /// The whole of a small file; `None` when there is none of that name.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`read_small`].
    pub async fn read_small(
        &self,
        name: &str,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        match self.open(name)? {
            Some(source) => Ok(Some(read_small(&*source, max_bytes).await?)),
            None => Ok(None),
        }
    }
}

/// Refuses a name that could lead out of its directory, on any system.
fn check_name(name: &str) -> Result<(), SourceError> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.contains("..")
        && name != "."
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control());
    if plain { Ok(()) } else { Err(SourceError::BadName { name: name.to_owned() }) }
}
