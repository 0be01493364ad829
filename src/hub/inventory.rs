//! Lists and removes models and LoRA adapters in the cache.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, TryLockError};
use std::path::{Component, Path, PathBuf};

use super::cache::{Cache, SnapshotFile, entries, files};
use super::error::io;
use super::select::ADAPTER;
use super::{HubError, HubName, labels, select};

/// A model or a LoRA adapter in the cache.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `owner/repo`.
    pub repo: String,
    /// The quantisation of a `.gguf` file.
    pub quant: Option<String>,
    /// Names of the revision (branches, tags); the commit if it has no name.
    pub revisions: Vec<String>,
    /// The commit; `None` for a download without a snapshot.
    pub commit: Option<String>,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Its folder or file.
    pub path: PathBuf,
    /// Whether it can be used.
    pub state: State,
    /// Name of the `.gguf` file in the repository, without its ending.
    stem: Option<String>,
}

/// Whether a model or adapter in the cache can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All files are complete. A GGUF file may be a model or an adapter, which only its content tells.
    Whole,
    /// A complete LoRA adapter of PEFT.
    Adapter,
    /// Files are missing or incomplete.
    Incomplete,
    /// Neither a supported model nor an adapter.
    Other,
}

impl Entry {
    /// Whether it belongs to the repository and revision of a name.
    fn is_of(&self, name: &HubName) -> bool {
        let revision = |r: &str| {
            self.commit.as_deref() == Some(r) || self.revisions.iter().any(|known| known == r)
        };
        self.repo == name.id() && name.given_revision().is_none_or(revision)
    }

    /// The name that selects it.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.repo.clone();
        if let Some(quant) = &self.quant {
            name += &format!(":{quant}");
        }
        match self.revisions.first() {
            Some(revision) if !self.revisions.iter().any(|r| r == "main") => {
                name + &format!("@{revision}")
            }
            _ => name,
        }
    }
}

impl Cache {
    /// All models and adapters, by name.
    ///
    /// # Errors
    /// The system's errors.
    pub fn list(&self) -> Result<Vec<Entry>, HubError> {
        let mut found = Vec::new();
        for (folder, path) in entries(self.root())? {
            if let Some(repo) = HubName::id_of_folder(&folder) {
                list_repo(&repo, &path, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The models that a name selects, by name.
    ///
    /// # Errors
    /// The system's errors.
    pub fn meant(&self, name: &HubName) -> Result<Vec<Entry>, HubError> {
        let mut all = self.list()?;
        all.retain(|entry| entry.is_of(name));
        Ok(match name.quant() {
            Some(quant) => labels::named(all, |e| e.stem.as_deref().unwrap_or_default(), quant),
            None => all,
        })
    }

    /// The models of a repository in the cache, or otherwise all models, as a sentence.
    pub(super) fn there(&self, name: &HubName) -> Result<String, HubError> {
        let usable: Vec<_> = self.list()?.into_iter().filter(|e| e.state == State::Whole).collect();
        let of_repo: Vec<_> = usable.iter().filter(|e| e.repo == name.id()).collect();
        let shown = if of_repo.is_empty() { usable.iter().collect() } else { of_repo };
        let names: Vec<_> = shown.iter().take(8).map(|e| e.name()).collect();
        Ok(match (shown.len(), names.len()) {
            (0, _) => "The cache has no model".to_owned(),
            (all, some) if all > some => format!("The cache has {} and more", names.join(", ")),
            _ => format!("The cache has {}", names.join(", ")),
        })
    }

    /// Removes a repository, only a revision of it, or only the files of a quantisation, depending on the name.
    /// Content that another revision needs stays. Returns the number of freed bytes.
    ///
    /// # Errors
    /// [`HubError::NotCached`], [`HubError::Busy`] while another process downloads it, [`HubError::Choose`],
    /// and the system's errors.
    pub fn remove(&self, name: &HubName) -> Result<u64, HubError> {
        let repo = self.repo(name);
        let not_cached = || -> Result<u64, HubError> {
            Err(HubError::NotCached { name: name.to_string(), there: self.there(name)? })
        };
        if !repo.is_dir() {
            return not_cached();
        }
        let _locks = self.lock_all(name)?;
        let before = bytes_of(&repo)?;
        if name.quant().is_none() && name.given_revision().is_none() {
            self.remove_repo(name)?;
            return Ok(before);
        }
        let commits: Vec<String> = match name.given_revision() {
            Some(_) => self.commit(name).into_iter().collect(),
            None => {
                entries(&repo.join("snapshots"))?.into_iter().map(|(commit, _)| commit).collect()
            }
        };
        let snapshots = commits.iter().map(|commit| files(&self.snapshot(name, commit)));
        let snapshots = snapshots.collect::<Result<Vec<_>, _>>()?;
        let removed = match name.quant() {
            Some(quant) => only_quant(name, quant, snapshots)?,
            None => snapshots.into_iter().flatten().collect(),
        };
        if removed.is_empty() {
            return not_cached();
        }
        remove_files(&repo, &removed)?;
        if entries(&repo.join("snapshots"))?.is_empty() {
            self.remove_repo(name)?;
            return Ok(before);
        }
        Ok(before.saturating_sub(bytes_of(&repo)?))
    }

    fn remove_repo(&self, name: &HubName) -> Result<(), HubError> {
        for folder in [self.repo(name), self.locks(name)] {
            match fs::remove_dir_all(&folder) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io(&folder, "delete")(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Locks all blobs of a repository, so that no process can start or resume a download.
    fn lock_all(&self, name: &HubName) -> Result<Vec<fs::File>, HubError> {
        let mut held = Vec::new();
        for (_, path) in entries(&self.locks(name))? {
            let Ok(file) = OpenOptions::new().write(true).open(&path) else { continue };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    return Err(HubError::Busy { name: name.to_string() });
                }
                _ => held.push(file),
            }
        }
        Ok(held)
    }
}

/// The files of one quantisation in several snapshots.
fn only_quant(
    name: &HubName,
    quant: &str,
    snapshots: Vec<Vec<SnapshotFile>>,
) -> Result<Vec<SnapshotFile>, HubError> {
    // The selection covers all snapshots at once, so that an exact name in one excludes other names in the rest.
    let ggufs = snapshots.iter().enumerate().flat_map(|(i, files)| {
        let ggufs = select::ggufs(files.iter().map(|f| f.name.as_str()));
        ggufs.into_iter().map(move |gguf| (i, gguf))
    });
    let found = labels::named(ggufs.collect(), |(_, gguf)| &gguf.stem, quant);
    let mut removed = Vec::new();
    for (i, files) in snapshots.into_iter().enumerate() {
        let here: Vec<_> = found.iter().filter(|(of, _)| *of == i).map(|(_, g)| g).collect();
        if let [first, _, ..] = *here {
            let there: Vec<_> = here.iter().map(|g| g.stem.as_str()).collect();
            return Err(HubError::Choose {
                repo: name.id(),
                first: first.stem.clone(),
                there: there.join(", "),
            });
        }
        let wanted: Vec<_> = here.iter().flat_map(|g| g.files()).collect();
        removed.extend(files.into_iter().filter(|f| wanted.contains(&f.name)));
    }
    Ok(removed)
}

/// Deletes files of snapshots, the blobs that only they linked to, and folders that become empty.
fn remove_files(repo: &Path, removed: &[SnapshotFile]) -> Result<(), HubError> {
    let blobs: BTreeSet<String> = removed.iter().filter_map(blob_of).collect();
    for file in removed {
        fs::remove_file(&file.path).map_err(io(&file.path, "delete"))?;
    }
    let mut needed = BTreeSet::new();
    for (commit, snapshot) in entries(&repo.join("snapshots"))? {
        let left = files(&snapshot)?;
        needed.extend(left.iter().filter_map(blob_of));
        if left.is_empty() && snapshot.is_dir() {
            fs::remove_dir_all(&snapshot).map_err(io(&snapshot, "delete"))?;
            for (_, path) in refs(repo)?.into_iter().filter(|(r, _)| r.commit == commit) {
                fs::remove_file(&path).map_err(io(&path, "delete"))?;
            }
        }
    }
    for blob in blobs.difference(&needed) {
        let path = repo.join("blobs").join(blob);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(io(&path, "delete")(e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The blob that a file of a snapshot links to, if the link has the form `../../blobs/<name>`.
fn blob_of(file: &SnapshotFile) -> Option<String> {
    let target = fs::read_link(&file.path).ok()?;
    let mut parts = target.components().skip_while(|p| *p == Component::ParentDir);
    match (parts.next()?, parts.next()?, parts.next()) {
        (Component::Normal(blobs), Component::Normal(name), None) if blobs == "blobs" => {
            Some(name.to_str()?.to_owned())
        }
        _ => None,
    }
}

struct Ref {
    name: String,
    commit: String,
}

/// The revisions of a repository, each with its file.
fn refs(repo: &Path) -> Result<Vec<(Ref, PathBuf)>, HubError> {
    let mut found = Vec::new();
    for file in files(&repo.join("refs"))? {
        if let Ok(commit) = fs::read_to_string(&file.path) {
            let commit = commit.trim().to_owned();
            found.push((Ref { name: file.name, commit }, file.path));
        }
    }
    Ok(found)
}

/// Bytes of a repository on the disk, without following links.
fn bytes_of(repo: &Path) -> Result<u64, HubError> {
    let own = |f: &SnapshotFile| fs::symlink_metadata(&f.path).map_or(0, |m| m.len());
    let real = |f: &&SnapshotFile| !f.path.is_symlink();
    Ok(files(repo)?.iter().filter(real).map(own).fold(0, u64::saturating_add))
}

fn list_repo(repo: &str, path: &Path, found: &mut Vec<Entry>) -> Result<(), HubError> {
    let refs = refs(path)?;
    let before = found.len();
    for (commit, snapshot) in entries(&path.join("snapshots"))? {
        let files = files(&snapshot)?;
        if files.is_empty() {
            continue;
        }
        let mut revisions: Vec<_> =
            refs.iter().filter(|(r, _)| r.commit == commit).map(|(r, _)| r.name.clone()).collect();
        if revisions.is_empty() {
            revisions.push(commit.clone());
        }
        list_snapshot(repo, &commit, &snapshot, &revisions, &files, found);
    }
    let begun = entries(&path.join("blobs"))?;
    let begun = begun.iter().filter(|(name, _)| name.ends_with(".incomplete"));
    let bytes = begun.map(|(_, p)| fs::metadata(p).map_or(0, |m| m.len())).sum::<u64>();
    if bytes > 0 || found.len() == before {
        found.push(Entry {
            repo: repo.to_owned(),
            quant: None,
            revisions: Vec::new(),
            commit: None,
            bytes,
            path: path.to_owned(),
            state: State::Incomplete,
            stem: None,
        });
    }
    Ok(())
}

fn list_snapshot(
    repo: &str,
    commit: &str,
    snapshot: &Path,
    revisions: &[String],
    files: &[SnapshotFile],
    found: &mut Vec<Entry>,
) {
    let bytes = |names: &[String]| {
        let of = files.iter().filter(|f| names.contains(&f.name)).filter_map(|f| f.len);
        of.fold(0, u64::saturating_add)
    };
    let whole = |names: &[String]| {
        names.iter().all(|n| files.iter().any(|f| f.name == *n && f.len.is_some()))
    };
    let entry = |gguf: Option<(&select::Gguf, &str)>,
                 names: &[String],
                 path: PathBuf,
                 state: State| Entry {
        repo: repo.to_owned(),
        quant: gguf.map(|(_, label)| label.to_owned()),
        stem: gguf.map(|(gguf, _)| gguf.stem.clone()),
        revisions: revisions.to_owned(),
        commit: Some(commit.to_owned()),
        bytes: bytes(names),
        path,
        state,
    };
    let state = |is_whole: bool| if is_whole { State::Whole } else { State::Incomplete };
    let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
    let ggufs = select::ggufs(names.iter().copied());
    let stems: Vec<&str> = ggufs.iter().map(|gguf| &*gguf.stem).collect();
    for (gguf, label) in ggufs.iter().zip(labels::labels(&stems)) {
        let parts = gguf.files();
        let path = snapshot.join(parts.first().map_or("", String::as_str));
        let is_whole = gguf.is_whole() && whole(&parts);
        found.push(entry(Some((gguf, &label)), &parts, path, state(is_whole)));
    }
    if !ggufs.is_empty() {
        return;
    }
    let all: Vec<String> = files.iter().map(|f| f.name.clone()).collect();
    let state = match select::folder(&names) {
        Some(parts) => state(whole(&parts) && super::cache::has_all_shards(snapshot, &parts)),
        None if whole(&ADAPTER.map(str::to_owned)) => State::Adapter,
        None if ADAPTER.iter().any(|file| names.contains(file)) => State::Incomplete,
        None => State::Other,
    };
    found.push(entry(None, &all, snapshot.to_owned(), state));
}
