//! The files of one model.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(not(target_arch = "wasm32"))]
use std::path::PathBuf;

#[cfg(not(target_arch = "wasm32"))]
use super::file::FileSource;
use super::source::{ByteSource, BytesSource, SourceError, read_small};
use super::{FormatError, gguf, quoted};

const CONFIG: &str = "config.json";
pub(super) const SINGLE: &str = "model.safetensors";
/// Name of the file that says in which shard each tensor is.
pub const INDEX: &str = "model.safetensors.index.json";

/// The files of one model by name: a directory on disk, one file there, or a table of sources (the
/// embedded model, files picked in a browser).
#[derive(Debug)]
pub struct ModelFiles {
    place: String,
    files: Files,
}

#[derive(Debug)]
enum Files {
    #[cfg(not(target_arch = "wasm32"))]
    Directory(PathBuf),
    /// A file, and the directory of its other parts.
    #[cfg(not(target_arch = "wasm32"))]
    One {
        source: Arc<dyn ByteSource>,
        name: String,
        directory: PathBuf,
    },
    Table(BTreeMap<String, Arc<dyn ByteSource>>),
}

/// Format of a model's files.
#[derive(Clone, Debug)]
pub enum ModelKind {
    /// A checkpoint of the hub: config.json, safetensors files, tokenizer.json, ...
    Hub,
    /// A GGUF file; of a split model, the first part.
    Gguf {
        /// The file.
        source: Arc<dyn ByteSource>,
        /// Its plain name.
        name: String,
    },
}

impl ModelFiles {
    /// The files of a directory, or a file that is a model by itself (and its other parts).
    ///
    /// # Errors
    /// [`SourceError::Missing`], and as [`FileSource::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn path(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let path = path.into();
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            return Self::directory(path);
        }
        let source = Arc::new(FileSource::open(&path)?);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = path.parent().map(PathBuf::from).unwrap_or_default();
        let place = path.display().to_string();
        Ok(Self { place, files: Files::One { source, name, directory } })
    }

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

    /// A table of files compiled into the program. `place` is the model's name in errors.
    pub fn embedded(place: &str, files: &[(&str, &'static [u8])]) -> Self {
        Self::from_sources(
            place,
            files.iter().map(|&(name, bytes)| {
                let source = BytesSource::from_static(format!("{place}/{name}"), bytes);
                (name.to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
            }),
        )
    }

    /// A table of any sources. `place` is the model's name in errors.
    pub fn from_sources(
        place: &str,
        sources: impl IntoIterator<Item = (String, Arc<dyn ByteSource>)>,
    ) -> Self {
        Self { place: place.to_owned(), files: Files::Table(sources.into_iter().collect()) }
    }

    /// The model's name in errors; for a path, the path as the user gave it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether the model was given as a file and not as a directory.
    pub fn is_file(&self) -> bool {
        match &self.files {
            #[cfg(not(target_arch = "wasm32"))]
            Files::One { .. } => true,
            _ => false,
        }
    }

    /// The format of the files, by their content. A single file must be a GGUF file. A directory with
    /// config.json is a checkpoint, unless it has GGUF files and no safetensors. Any other directory must
    /// have exactly one GGUF model.
    ///
    /// # Errors
    /// If a single file is not a GGUF file (the error says what it seems to be), or a directory without a
    /// checkpoint has no GGUF model or several.
    pub async fn kind(&self) -> Result<ModelKind, FormatError> {
        if let Some((name, source)) = self.only() {
            return of_one(name, source).await;
        }
        let mut names = self.gguf_names()?;
        // Repositories of GGUF files often have a config.json without its weights.
        if self.open(CONFIG)?.is_some()
            && (names.is_empty() || self.open(SINGLE)?.is_some() || self.open(INDEX)?.is_some())
        {
            return Ok(ModelKind::Hub);
        }
        if names.len() > 1 {
            names = self.models_of(names).await?;
        }
        match &names[..] {
            [name] => Ok(ModelKind::Gguf { source: self.require(name)?, name: name.clone() }),
            [] => Err(SourceError::Missing { file: format!("{}/{CONFIG}", self.place) }.into()),
            [one, other, ..] => Err(FormatError::File {
                file: self.place.clone(),
                problem: format!(
                    "has {} GGUF models, name one of them, e.g. {} or {}",
                    names.len(),
                    quoted(one),
                    quoted(other)
                ),
            }),
        }
    }

    /// The file that was given in place of a directory, with its plain name; also the only one of a table.
    pub(crate) fn only(&self) -> Option<(&str, &Arc<dyn ByteSource>)> {
        match &self.files {
            #[cfg(not(target_arch = "wasm32"))]
            Files::One { source, name, .. } => Some((name, source)),
            Files::Table(table) if table.len() == 1 => {
                table.iter().next().map(|(name, source)| (&**name, source))
            }
            _ => None,
        }
    }

    /// Names of the GGUF models among the files, sorted; of split models, the first part.
    pub(crate) fn gguf_names(&self) -> Result<Vec<String>, SourceError> {
        let mut names: Vec<String> = match &self.files {
            #[cfg(not(target_arch = "wasm32"))]
            Files::Directory(directory) => {
                let io =
                    |error| SourceError::Io { file: self.place.clone(), action: "list", error };
                let entries = std::fs::read_dir(directory).map_err(io)?;
                entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
            }
            #[cfg(not(target_arch = "wasm32"))]
            Files::One { .. } => Vec::new(),
            Files::Table(table) => table.keys().cloned().collect(),
        };
        names.retain(|name| {
            let is_gguf = name.len() > 5 && name.to_ascii_lowercase().ends_with(".gguf");
            is_gguf && gguf::part_of(name).is_none_or(|(part, _)| part == 1)
        });
        names.sort_unstable();
        Ok(names)
    }

    /// The models among several GGUF files, by their headers: image or audio projectors, adapters and
    /// importance matrices are often stored beside a model. If none is a model, returns all files, and
    /// opening the first reports what it is.
    async fn models_of(&self, names: Vec<String>) -> Result<Vec<String>, FormatError> {
        let mut models = Vec::new();
        for name in &names {
            let is_model = match self.open(name) {
                // A file that cannot be read stays in the list: it may be the model.
                Ok(Some(source)) => match gguf::read_header(&*source, 0).await {
                    Ok(header) => gguf::is_model(&header),
                    Err(_) => !gguf::is_companion(name),
                },
                _ => true,
            };
            if is_model {
                models.push(name.clone());
            }
            if models.len() > 1 {
                break;
            }
        }
        if models.len() == 1 {
            return Ok(models);
        }
        let is_named = |name: &&String| !gguf::is_companion(name);
        let named: Vec<String> = names.iter().filter(is_named).cloned().collect();
        Ok(if named.is_empty() { names } else { named })
    }

    /// Opens a file by its plain name; `None` if there is no such file.
    ///
    /// # Errors
    /// [`SourceError::BadName`] for anything but a plain name, so that a name from an index file never leads
    /// out of the directory; other [`SourceError`]s if the file exists and cannot be opened.
    pub fn open(&self, name: &str) -> Result<Option<Arc<dyn ByteSource>>, SourceError> {
        check_name(name)?;
        match &self.files {
            #[cfg(not(target_arch = "wasm32"))]
            Files::Directory(directory) => open_in(directory, name),
            #[cfg(not(target_arch = "wasm32"))]
            Files::One { directory, .. } => open_in(directory, name),
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

    /// Reads a small file completely; `None` if there is no such file.
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

/// Opens a file of a directory; `None` if there is no such file.
#[cfg(not(target_arch = "wasm32"))]
fn open_in(
    directory: &std::path::Path,
    name: &str,
) -> Result<Option<Arc<dyn ByteSource>>, SourceError> {
    match FileSource::open(&directory.join(name)) {
        Ok(source) => Ok(Some(Arc::new(source))),
        Err(SourceError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Format of a model's only file, by its first bytes.
async fn of_one(name: &str, source: &Arc<dyn ByteSource>) -> Result<ModelKind, FormatError> {
    let mut start = vec![0; usize::try_from(source.len().min(9)).unwrap_or(0)];
    source.read_at(0, &mut start).await?;
    if start.starts_with(&gguf::MAGIC) {
        return Ok(ModelKind::Gguf { source: source.clone(), name: name.to_owned() });
    }
    let problem = not_a_model(&start).to_owned();
    Err(FormatError::File { file: source.name().to_owned(), problem })
}

/// Describes a file that is not a model, by its first bytes.
fn not_a_model(start: &[u8]) -> &'static str {
    match start {
        [] => "is empty",
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => {
            "is a Git LFS pointer, not the model itself: fetch it with `git lfs pull`"
        }
        [b'P', b'K', 3, 4, ..] => {
            "is a PyTorch or zip file, which is not supported: convert it to safetensors or GGUF"
        }
        [_, _, _, _, _, _, _, 0, b'{', ..] => {
            "is a safetensors file: name its directory, which also needs config.json"
        }
        [b'{', ..] => "is a JSON file: name its directory",
        [b'g' | b'l' | b't', b'g' | b'm' | b'j', _, _, ..]
            if [b"ggml", b"ggmf", b"ggjt", b"lmgg", b"fmgg", b"tjgg"]
                .iter()
                .any(|magic| start.starts_with(*magic)) =>
        {
            "is of a format before GGUF, which is not supported: convert the model again"
        }
        _ => "is not a model: need a checkpoint directory or a GGUF file",
    }
}

/// Refuses names that could lead out of the directory on any system.
fn check_name(name: &str) -> Result<(), SourceError> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.contains("..")
        && name != "."
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control());
    if plain { Ok(()) } else { Err(SourceError::BadName { name: name.to_owned() }) }
}
