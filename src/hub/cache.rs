//! The cache on disk, in the layout of `huggingface_hub`, so that both share downloads:
//!
//! ```text
//! models--owner--repo/refs/<revision>             the commit's hash
//! models--owner--repo/blobs/<hash of content>     files; <hash>.incomplete during the download
//! models--owner--repo/snapshots/<commit>/<file>   links to ../../blobs/<hash>
//! .locks/models--owner--repo/<hash>.lock          locked while a blob is downloaded
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::io;
use super::name::{is_hash, is_safe_path};
use super::select::{self, INDEX, Selection};
use super::{HubError, HubName, places};
use crate::formats::{FileSource, json_bytes, read_small};

/// Longest index of shards that is read.
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Maximum depth of a snapshot's folders.
const MAX_DEPTH: usize = 8;

/// The cache's folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A complete model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// A checkpoint folder.
    Folder(PathBuf),
    /// A `.gguf` file; of a split model, the first part.
    Gguf(PathBuf),
}

impl Model {
    /// Its folder or file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Gguf(path) => path,
        }
    }
}

impl Cache {
    /// The cache in the folder given by `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` or
    /// the system's default, with the rules of `huggingface_hub`. The folder need not exist.
    ///
    /// # Errors
    /// [`HubError::Setting`] if none is set and there is no home folder.
    pub fn from_env() -> Result<Self, HubError> {
        Ok(Self { root: places::hub_cache()? })
    }

    /// The cache in a folder.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn repo(&self, name: &HubName) -> PathBuf {
        self.root.join(name.folder())
    }

    pub(super) fn blob(&self, name: &HubName, id: &str) -> PathBuf {
        self.repo(name).join("blobs").join(id)
    }

    pub(super) fn incomplete(&self, name: &HubName, id: &str) -> PathBuf {
        self.blob(name, &format!("{id}.incomplete"))
    }

    pub(super) fn locks(&self, name: &HubName) -> PathBuf {
        self.root.join(".locks").join(name.folder())
    }

    pub(super) fn snapshot(&self, name: &HubName, commit: &str) -> PathBuf {
        self.repo(name).join("snapshots").join(commit)
    }

    /// The commit of a revision at its last download.
    pub(super) fn commit(&self, name: &HubName) -> Option<String> {
        let revision = name.revision();
        if is_hash(revision, 40) && self.snapshot(name, revision).is_dir() {
            return Some(revision.to_owned());
        }
        let text = fs::read(self.repo(name).join("refs").join(revision)).ok()?;
        let commit = std::str::from_utf8(&text).ok()?.trim();
        is_hash(commit, 40).then(|| commit.to_owned())
    }

    /// Finds a model that is complete in the cache, without network access.
    ///
    /// # Errors
    /// [`HubError::Choose`] if the name matches several models, and the system's errors.
    pub fn find(&self, name: &HubName) -> Result<Option<Model>, HubError> {
        self.find_by(name, select::select)
    }

    /// Finds a LoRA adapter that is complete in the cache, without network access.
    ///
    /// # Errors
    /// As [`Cache::find`].
    pub fn find_adapter(&self, name: &HubName) -> Result<Option<Model>, HubError> {
        self.find_by(name, select::select_adapter)
    }

    fn find_by(
        &self,
        name: &HubName,
        select: fn(&HubName, &[&str]) -> Result<Selection, HubError>,
    ) -> Result<Option<Model>, HubError> {
        let Some(commit) = self.commit(name) else { return Ok(None) };
        let snapshot = self.snapshot(name, &commit);
        let all: Vec<_> = whole_files(&snapshot)?.into_iter().map(|f| f.name).collect();
        let whole: Vec<String> = select::ggufs(all.iter().map(String::as_str))
            .iter()
            .filter(|g| g.is_whole())
            .flat_map(select::Gguf::files)
            .collect();
        let is_gguf = |name: &str| Path::new(name).extension().is_some_and(|x| x == "gguf");
        let names: Vec<&str> =
            all.iter().filter(|n| !is_gguf(n) || whole.contains(n)).map(String::as_str).collect();
        match select(name, &names) {
            Ok(Selection::Gguf(files)) => {
                Ok(files.first().map(|file| Model::Gguf(snapshot.join(file))))
            }
            Ok(Selection::Folder(files)) => {
                let whole = has_all_shards(&snapshot, &files);
                Ok(whole.then_some(Model::Folder(snapshot)))
            }
            Err(e @ HubError::Choose { .. }) => Err(e),
            Err(_) => Ok(None),
        }
    }

    /// Stores the commit of a revision.
    pub(super) fn set_commit(&self, name: &HubName, commit: &str) -> Result<(), HubError> {
        let revision = name.revision();
        if revision == commit {
            return Ok(());
        }
        let place = self.repo(name).join("refs").join(revision);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(io(parent, "create"))?;
        }
        let beside = self.repo(name).join(format!(".ref.{}", std::process::id()));
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(commit.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &place)
        };
        write().map_err(io(&place, "write"))
    }

    /// Links a complete blob into a snapshot under its file's name.
    pub(super) fn link(
        &self,
        name: &HubName,
        commit: &str,
        file: &str,
        id: &str,
    ) -> Result<(), HubError> {
        self.link_by(symlink, name, commit, file, id)
    }

    fn link_by(
        &self,
        symlink: fn(&Path, &Path) -> std::io::Result<()>,
        name: &HubName,
        commit: &str,
        file: &str,
        id: &str,
    ) -> Result<(), HubError> {
        if !is_safe_path(file) {
            // The list's names were checked when it was read; this guards against other callers.
            return Err(HubError::reply(file, "a file's name leads out of its folder"));
        }
        let place = self.snapshot(name, commit).join(file);
        let blob = self.blob(name, id);
        let folder = place.parent().unwrap_or(&place);
        fs::create_dir_all(folder).map_err(io(folder, "create"))?;
        let mut target = PathBuf::new();
        // The relative path from the file's folder up to the repository's.
        target.extend(std::iter::repeat_n("..", file.split('/').count() + 1));
        target.push("blobs");
        target.push(id);
        let beside = folder.join(format!(".{id}.{}", std::process::id()));
        let linked = symlink(&target, &beside).and_then(|()| fs::rename(&beside, &place));
        if let Err(e) = linked {
            let _ = fs::remove_file(&beside);
            // Without links, like huggingface_hub, the file itself is moved.
            log::debug!("{}: no symbolic link ({e}), the file is moved", place.display());
            fs::rename(&blob, &place).map_err(io(&place, "write"))?;
        }
        sync_folder(folder);
        Ok(())
    }
}

/// Syncs a folder, which makes a rename in it durable.
pub(crate) fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Err(e) = File::open(folder).and_then(|f| f.sync_all()) {
        log::debug!("{}: {e}", folder.display());
    }
    #[cfg(not(unix))]
    let _ = folder;
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// A file of a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    /// Path below the snapshot, with `/`.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Length; `None` for a link whose target is missing.
    pub(super) len: Option<u64>,
}

/// All files of a snapshot; empty if the folder does not exist.
pub(super) fn files(snapshot: &Path) -> Result<Vec<SnapshotFile>, HubError> {
    let mut found = Vec::new();
    let mut folders = vec![(snapshot.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for (name, path) in entries(&folder)? {
            let name = format!("{prefix}{name}");
            let own = fs::symlink_metadata(&path).map_err(io(&path, "read"))?;
            if own.is_dir() {
                if depth < MAX_DEPTH {
                    folders.push((path, format!("{name}/"), depth + 1));
                }
                continue;
            }
            let len = fs::metadata(&path).ok().filter(fs::Metadata::is_file).map(|m| m.len());
            found.push(SnapshotFile { name, path, len });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The files of a snapshot whose content exists.
pub(super) fn whole_files(snapshot: &Path) -> Result<Vec<SnapshotFile>, HubError> {
    Ok(files(snapshot)?.into_iter().filter(|f| f.len.is_some()).collect())
}

/// The entries of a folder with UTF-8 names; empty if the folder does not exist.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, HubError> {
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(folder, "read")(e)),
    };
    let mut found = Vec::new();
    for entry in read {
        let entry = entry.map_err(io(folder, "read"))?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether all shards named by the index exist, if there is an index.
pub(super) fn has_all_shards(snapshot: &Path, files: &[String]) -> bool {
    if !files.iter().any(|f| f == INDEX) {
        return true;
    }
    let shards = || {
        let source = FileSource::open(&snapshot.join(INDEX)).ok()?;
        let bytes = pollster::block_on(read_small(&source, MAX_INDEX_BYTES)).ok()?;
        let index: serde_json::Value = serde_json::from_slice(&json_bytes(&bytes)).ok()?;
        let map = index.get("weight_map")?.as_object()?;
        Some(map.values().all(|v| v.as_str().is_some_and(|v| files.iter().any(|f| f == v))))
    };
    shards().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const ID: &str = "89abcdef0123456789abcdef0123456789abcdef";

    /// A snapshot of plain files, as on systems without links.
    fn cache(files: &[(&str, &str)]) -> (TempDir, Cache, HubName) {
        let dir = TempDir::new().unwrap();
        let (cache, name) = (Cache::at(dir.path().to_owned()), HubName::parse("a/b").unwrap());
        for (file, text) in files {
            let place = cache.snapshot(&name, COMMIT).join(file);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        fs::create_dir_all(cache.repo(&name).join("blobs")).unwrap();
        cache.set_commit(&name, COMMIT).unwrap();
        (dir, cache, name)
    }

    fn found(files: &[(&str, &str)], name: &str) -> Option<String> {
        let (_dir, cache, _) = cache(files);
        let name = HubName::parse(name).unwrap();
        let model = cache.find(&name).unwrap()?;
        let place = model.path().strip_prefix(cache.snapshot(&name, COMMIT)).unwrap();
        Some(place.to_str().unwrap().to_owned())
    }

    const INDEXED: &str =
        r#"{"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}"#;

    #[test]
    fn only_whole_models_are_found() {
        let single = [("config.json", "{}"), ("model.safetensors", "x")];
        assert_eq!(found(&single, "a/b").as_deref(), Some(""));
        assert_eq!(found(&single, "a/b@main").as_deref(), Some(""));
        assert_eq!(found(&single, &format!("a/b@{COMMIT}")).as_deref(), Some(""));
        assert_eq!(found(&single, "a/b@v2"), None);
        assert_eq!(found(&single, "a/b:Q4_0"), None);
        assert_eq!(found(&single, "a/c"), None);
        assert_eq!(found(&single[..1], "a/b"), None);
        let sharded = [
            ("config.json", "{}"),
            (INDEX, INDEXED),
            ("model-1.safetensors", "x"),
            ("model-2.safetensors", "y"),
        ];
        assert_eq!(found(&sharded, "a/b").as_deref(), Some(""));
        assert_eq!(found(&sharded[..3], "a/b"), None);
        let wrong = [sharded[0], (INDEX, "{"), sharded[2]];
        assert_eq!(found(&wrong, "a/b"), None);
    }

    #[test]
    fn an_adapter_is_no_model_and_a_model_no_adapter() {
        let adapter = [("adapter_config.json", "{}"), ("adapter_model.safetensors", "x")];
        let (_dir, cache, name) = cache(&adapter);
        let snapshot = cache.snapshot(&name, COMMIT);
        assert_eq!(cache.find_adapter(&name).unwrap(), Some(Model::Folder(snapshot)));
        assert_eq!(cache.find(&name).unwrap(), None);
        let (_dir, cache, name) = self::cache(&adapter[..1]);
        assert_eq!(cache.find_adapter(&name).unwrap(), None);
        let (_dir, cache, name) = self::cache(&[("config.json", "{}"), ("model.safetensors", "x")]);
        assert_eq!(cache.find_adapter(&name).unwrap(), None);
    }

    #[test]
    fn of_ggufs_the_default_the_named_or_the_only_one() {
        let one = [("x-Q8_0.gguf", "x")];
        assert_eq!(found(&one, "a/b").as_deref(), Some("x-Q8_0.gguf"));
        assert_eq!(found(&one, "a/b:Q4_0"), None);
        let two = [("x-Q8_0.gguf", "x"), ("d/x-Q4_0.gguf", "x")];
        assert_eq!(found(&two, "a/b").as_deref(), Some("d/x-Q4_0.gguf"));
        assert_eq!(found(&two, "a/b:q8_0").as_deref(), Some("x-Q8_0.gguf"));
        let half = [("x-F16-00001-of-00002.gguf", "x"), two[0]];
        assert_eq!(found(&half, "a/b").as_deref(), Some("x-Q8_0.gguf"));
        assert_eq!(found(&half, "a/b:F16"), None);
        let whole = [half[0], ("x-F16-00002-of-00002.gguf", "y")];
        assert_eq!(found(&whole, "a/b:F16").as_deref(), Some("x-F16-00001-of-00002.gguf"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_whose_file_is_gone_is_no_file() {
        let (_dir, cache, name) = cache(&[("config.json", "{}")]);
        let blob = cache.blob(&name, ID);
        fs::write(&blob, "x").unwrap();
        cache.link(&name, COMMIT, "model.safetensors", ID).unwrap();
        assert!(cache.find(&name).unwrap().is_some());
        fs::remove_file(blob).unwrap();
        assert!(cache.find(&name).unwrap().is_none());
    }

    #[test]
    fn without_links_the_file_itself_goes_in() {
        let (_dir, cache, name) = cache(&[]);
        fs::write(cache.blob(&name, ID), "x").unwrap();
        let never = |_: &Path, _: &Path| Err(std::io::ErrorKind::Unsupported.into());
        cache.link_by(never, &name, COMMIT, "d/y", ID).unwrap();
        let place = cache.snapshot(&name, COMMIT).join("d/y");
        assert!(!place.is_symlink() && fs::read(&place).unwrap() == b"x");
        assert!(!cache.blob(&name, ID).exists());
        let error = cache.link(&name, COMMIT, "../y", ID).unwrap_err();
        assert!(error.to_string().contains("leads out"), "{error}");
    }
}
