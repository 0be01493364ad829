//! Packages: checkpoints prepared for download, with a manifest of their files.
//!
//! A directory with our manifest.json is a package. Its layout is in docs/weights.md.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    FormatError, ModelFiles, Object, SourceError, json_bytes, one_line, quoted, read_small,
};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// Value of the manifest's `format` field. A manifest with another value is not ours.
const FORMAT: &str = "lfm2-wgpu package";
/// The format's version, for writing and reading.
const VERSION: u64 = 1;
/// Longest manifest that is read. A manifest of 500 files takes 0.1 MB.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Bytes of a file that are hashed at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// Content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u64,
    /// The model that the package was made from.
    pub source: String,
    /// Storage format of the weights.
    pub recipe: PackageRecipe,
    /// Every file of the package except the manifest.
    pub files: Vec<PackageFile>,
}

/// Storage format of a package's weights, for information. The loader uses the tensors' own types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecipe {
    /// The matrices: `q4`, `q8` or `f16`.
    pub weights: String,
    /// Parts with another format.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
}

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFile {
    /// Its plain name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content in hexadecimal.
    pub sha256: String,
}

/// Called with the number of bytes done. It returns `false` to stop.
pub type OnBytes<'a> = &'a mut (dyn FnMut(u64) -> bool + Send);

impl Manifest {
    /// Makes a manifest of these files.
    #[must_use]
    pub fn new(source: &str, recipe: PackageRecipe, files: Vec<PackageFile>) -> Self {
        let (format, source) = (FORMAT.to_owned(), source.to_owned());
        Self { format, version: VERSION, source, recipe, files }
    }

    /// Reads the manifest among a model's files. `None` if there is no manifest.json, or if it belongs to
    /// another program: many programs use that file name.
    ///
    /// # Errors
    /// [`FormatError`] if it is our manifest, but invalid. A file that is not JSON counts as ours if it
    /// contains the format's name.
    pub async fn open(files: &ModelFiles) -> Result<Option<Self>, FormatError> {
        let source = match files.open(MANIFEST) {
            Ok(Some(source)) => source,
            Ok(None) | Err(SourceError::NotAFile { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let file = source.name().to_owned();
        let foreign = || {
            log::info!("{file}: is not of {FORMAT:?}, ignored");
            Ok(None)
        };
        let bytes = match read_small(&*source, MAX_MANIFEST_BYTES).await {
            Ok(bytes) => bytes,
            Err(SourceError::TooLarge { .. }) => return foreign(),
            Err(error) => return Err(error.into()),
        };
        let wrong = |problem| FormatError::File { file: file.clone(), problem };
        let json = |e: serde_json::Error| wrong(format!("wrong manifest: {}", one_line(&e)));
        let about: serde_json::Value = match serde_json::from_slice(&json_bytes(&bytes)) {
            Ok(about) => about,
            Err(error) if names_format(&bytes) => return Err(json(error)),
            Err(_) => return foreign(),
        };
        if about.get("format").and_then(serde_json::Value::as_str) != Some(FORMAT) {
            return foreign();
        }
        match about.get("version").and_then(serde_json::Value::as_u64) {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => {
                return Err(wrong(format!(
                    "has version {newer}, need {VERSION}: it was made by a newer lfm2"
                )));
            }
            _ => return Err(wrong(format!("version: need {VERSION}"))),
        }
        let Object(manifest) =
            serde_json::from_slice::<Object<Self>>(&json_bytes(&bytes)).map_err(json)?;
        Ok(Some(manifest))
    }

    /// The manifest as JSON text.
    ///
    /// # Errors
    /// serde_json's, which do not occur for strings and numbers.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Total length of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Checks that every file exists and has its length. It reads none of them.
    ///
    /// # Errors
    /// [`FormatError`] for the first file that fails.
    pub fn check_sizes(&self, files: &ModelFiles) -> Result<(), FormatError> {
        for file in &self.files {
            self.open_file(files, file)?;
        }
        Ok(())
    }

    /// Reads every file and checks its SHA-256, for use after a download. Loading a model checks lengths
    /// only. Returns `false` if `on_bytes` stopped it.
    ///
    /// # Errors
    /// [`FormatError`] for the first file that is missing, or has another length or hash.
    pub async fn check_hashes(
        &self,
        files: &ModelFiles,
        on_bytes: OnBytes<'_>,
    ) -> Result<bool, FormatError> {
        let mut done = 0_u64;
        for file in &self.files {
            let source = self.open_file(files, file)?;
            let mut hasher = Sha256::new();
            let mut at = 0;
            while at < file.bytes {
                let len = (file.bytes - at).min(PIECE_BYTES);
                // At most PIECE_BYTES.
                let mut piece = vec![0; usize::try_from(len).unwrap_or(0)];
                source.read_at(at, &mut piece).await?;
                hasher.update(&piece);
                at += len;
                done = done.saturating_add(len);
                if !on_bytes(done) {
                    return Ok(false);
                }
            }
            let got = hex(&hasher.finalize());
            if !got.eq_ignore_ascii_case(&file.sha256) {
                let want = quoted(&file.sha256);
                return Err(FormatError::File {
                    file: source.name().to_owned(),
                    problem: format!(
                        "has SHA-256 {got}, {MANIFEST} says {want}: it is damaged, fetch it again"
                    ),
                });
            }
        }
        Ok(true)
    }

    /// Opens a file of the package, and checks its length.
    fn open_file(
        &self,
        files: &ModelFiles,
        file: &PackageFile,
    ) -> Result<std::sync::Arc<dyn super::ByteSource>, FormatError> {
        let wrong = |problem: String| FormatError::File {
            file: format!("{}/{MANIFEST}", files.place()),
            problem,
        };
        let Some(source) = files.open(&file.name)? else {
            let name = quoted(&file.name);
            return Err(wrong(format!("names {name}, which is missing from the package")));
        };
        if source.len() != file.bytes {
            return Err(FormatError::File {
                file: source.name().to_owned(),
                problem: format!(
                    "has {} bytes, {MANIFEST} says {}: it is incomplete or another file, fetch it again",
                    source.len(),
                    file.bytes
                ),
            });
        }
        Ok(source)
    }
}

/// Whether a manifest's text contains our format's name.
fn names_format(bytes: &[u8]) -> bool {
    bytes.windows(FORMAT.len()).any(|piece| piece == FORMAT.as_bytes())
}

/// Bytes in hexadecimal, such as those of a hash.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
