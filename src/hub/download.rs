//! Downloads a file into the cache: it resumes interrupted downloads, and accepts only files with the right hash.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::api::RemoteFile;
use super::cache::{Cache, sync_folder};
use super::error::io;
use super::http::{Failure, Http, Patience, Want, passing, range_start};
use super::{HubError, HubName};
use crate::formats::package::hex;

const PIECE: usize = 256 << 10;
/// Bytes of progress after which the count of broken connections starts again.
const PROGRESS: u64 = 1 << 20;

/// Callback during a download: the file's downloaded bytes, and the reason for waiting. An error ends the
/// download.
pub(super) type Tell<'a> = &'a mut dyn FnMut(u64, Option<&str>) -> Result<(), HubError>;

/// A repository at a commit, and the cache for its files.
pub(super) struct Fetch<'a> {
    pub(super) http: &'a Http,
    pub(super) cache: &'a Cache,
    pub(super) name: &'a HubName,
    pub(super) commit: &'a str,
}

/// The hash of a file's content.
enum Hasher {
    Sha256(Sha256),
    /// Git's hash, of the length and the content.
    Git(Sha1),
}

impl Hasher {
    fn new(file: &RemoteFile) -> Self {
        if file.id.len() == 64 {
            Self::Sha256(Sha256::new())
        } else {
            Self::Git(Sha1::new().chain_update(format!("blob {}\0", file.size)))
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "git hash",
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Git(h) => h.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(h) => hex(&h.finalize()),
            Self::Git(h) => hex(&h.finalize()),
        }
    }
}

/// A partly downloaded file, with the hash and length of its bytes.
struct Partial<'a> {
    remote: &'a RemoteFile,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    have: u64,
}

impl<'a> Partial<'a> {
    /// Opens the partial file of an earlier run, or creates it.
    fn open(remote: &'a RemoteFile, path: PathBuf, tell: Tell<'_>) -> Result<Self, HubError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(io(&path, "write"))?;
        let len = file.metadata().map_err(io(&path, "read"))?.len();
        let mut partial = Self { remote, path, file, hasher: Hasher::new(remote), have: 0 };
        if len > remote.size {
            partial.restart()?;
        }
        let mut piece = vec![0; PIECE];
        loop {
            let n = partial.file.read(&mut piece).map_err(io(&partial.path, "read"))?;
            let Some(read @ [_, ..]) = piece.get(..n) else { return Ok(partial) };
            partial.hasher.update(read);
            partial.have += n as u64;
            tell(partial.have, None)?;
        }
    }

    /// Discards the bytes.
    fn restart(&mut self) -> Result<(), HubError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(io(&self.path, "write"))?;
        self.hasher = Hasher::new(self.remote);
        self.have = 0;
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(io(&self.path, "write"))?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Turns the file into the blob, or deletes it if its hash is wrong.
    fn finish(self, blob: &Path) -> Result<(), HubError> {
        let kind = self.hasher.kind();
        let got = self.hasher.finish();
        if got != self.remote.id {
            drop(self.file);
            remove(&self.path)?;
            return Err(corrupt(self.remote, kind, got, &self.remote.id));
        }
        self.file.sync_all().map_err(io(&self.path, "write"))?;
        drop(self.file);
        fs::rename(&self.path, blob).map_err(io(blob, "write"))?;
        if let Some(folder) = blob.parent() {
            sync_folder(folder);
        }
        Ok(())
    }
}

fn corrupt(file: &RemoteFile, kind: &'static str, got: String, wanted: &str) -> HubError {
    HubError::Corrupt { file: file.name.clone(), kind, got, wanted: wanted.to_owned() }
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(path, "delete")(e)),
        _ => Ok(()),
    }
}

impl Fetch<'_> {
    /// Whether the snapshot has the file, by its length.
    pub(super) fn is_there(&self, file: &RemoteFile) -> bool {
        let place = self.cache.snapshot(self.name, self.commit).join(&file.name);
        has_len(&place, file.size)
    }

    /// Bytes of the file that are already on disk.
    pub(super) fn bytes_there(&self, file: &RemoteFile) -> u64 {
        let blob = self.cache.blob(self.name, &file.id);
        if self.is_there(file) || has_len(&blob, file.size) {
            return file.size;
        }
        let partial = fs::metadata(self.cache.incomplete(self.name, &file.id));
        partial.map_or(0, |m| m.len().min(file.size))
    }

    /// Downloads the file if it is missing, and links it into the snapshot. With `check` it reads an existing
    /// file, and downloads it again if its hash is wrong.
    pub(super) fn file(
        &self,
        file: &RemoteFile,
        check: bool,
        tell: Tell<'_>,
    ) -> Result<(), HubError> {
        let blob = self.cache.blob(self.name, &file.id);
        if let Some(folder) = blob.parent() {
            fs::create_dir_all(folder).map_err(io(folder, "create"))?;
        }
        let _lock = self.lock(&file.id, tell)?;
        if self.is_there(file) {
            let place = self.cache.snapshot(self.name, self.commit).join(&file.name);
            if !check || is_sound(file, &place, tell)? {
                return Ok(());
            }
            log::warn!("{}: its hash is wrong, it is downloaded again", place.display());
            remove(&blob)?;
            remove(&place)?;
        }
        if !has_len(&blob, file.size) || (check && !is_sound(file, &blob, tell)?) {
            self.blob(file, &blob, tell)?;
        }
        self.cache.link(self.name, self.commit, &file.name, &file.id)
    }

    /// Locks a blob, so that one process at a time writes it. huggingface_hub locks the same file.
    fn lock(&self, id: &str, tell: Tell<'_>) -> Result<Option<File>, HubError> {
        let folder = self.cache.locks(self.name);
        fs::create_dir_all(&folder).map_err(io(&folder, "create"))?;
        let path = folder.join(format!("{id}.lock"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(io(&path, "write"))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {
                    tell(0, Some("another process is downloading it"))?;
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(TryLockError::Error(e)) => {
                    // A file system without locks. Two processes could damage the partial file; its hash
                    // would show that.
                    log::warn!("{}: cannot be locked: {e}", path.display());
                    return Ok(None);
                }
            }
        }
    }

    fn blob(&self, file: &RemoteFile, blob: &Path, tell: Tell<'_>) -> Result<(), HubError> {
        let open =
            |tell: Tell<'_>| Partial::open(file, self.cache.incomplete(self.name, &file.id), tell);
        let mut partial = open(tell)?;
        let old = partial.have;
        self.complete(&mut partial, tell)?;
        match partial.finish(blob) {
            // The partial file of an earlier run or program may be damaged: start once more.
            Err(HubError::Corrupt { .. }) if old > 0 => {
                log::warn!("{}: its partial file was damaged, it is downloaded again", file.name);
                let mut partial = open(tell)?;
                self.complete(&mut partial, tell)?;
                partial.finish(blob)
            }
            done => done,
        }
    }

    /// Requests the missing bytes until the file is complete.
    fn complete(&self, partial: &mut Partial<'_>, tell: Tell<'_>) -> Result<(), HubError> {
        let url = self.http.file_url(self.name, self.commit, &partial.remote.name);
        let mut patience = Patience::new();
        let mut renewed = partial.have;
        while partial.have < partial.remote.size {
            let failure = match self.some(&url, partial, tell) {
                Ok(()) => continue,
                Err(failure) => failure,
            };
            if partial.have >= renewed + PROGRESS {
                patience.renew();
            }
            renewed = partial.have;
            let have = partial.have;
            let mut told = Ok(());
            patience.wait(&url, failure, &mut |why| told = tell(have, Some(why)))?;
            told?;
        }
        Ok(())
    }

    /// Sends one request, and appends its bytes.
    fn some(&self, url: &str, partial: &mut Partial<'_>, tell: Tell<'_>) -> Result<(), Failure> {
        let remote = partial.remote;
        let answer = self.http.request(false, url, Want::From(partial.have), |_| false)?;
        match answer.status {
            200 => partial.restart()?,
            206 if range_start(&answer) == Some(partial.have) => {}
            206 | 416 => {
                // Another range than requested, or none: start from the beginning.
                partial.restart()?;
                return Err(passing(&"the server sends another part than requested"));
            }
            _ => return Err(self.http.refusal(self.name, &remote.name, &answer)),
        }
        let mut reader = answer.body.into_with_config().limit(u64::MAX).reader();
        let mut piece = vec![0; PIECE];
        loop {
            let n = reader.read(&mut piece).map_err(|e| passing(&e))?;
            let bytes = piece.get(..n).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            if partial.have + n as u64 > remote.size {
                remove(&partial.path)?;
                let more = format!("more than {} bytes", remote.size);
                return Err(corrupt(remote, "length", more, &remote.size.to_string()).into());
            }
            partial.add(bytes)?;
            tell(partial.have, None)?;
        }
        if partial.have < remote.size {
            let problem = format!("the connection ended after {} bytes", partial.have);
            return Err(passing(&problem));
        }
        Ok(())
    }
}

fn has_len(path: &Path, len: u64) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == len)
}

/// Whether a file's content has the hub's hash.
fn is_sound(file: &RemoteFile, path: &Path, tell: Tell<'_>) -> Result<bool, HubError> {
    let mut hasher = Hasher::new(file);
    let mut open = File::open(path).map_err(io(path, "read"))?;
    let mut piece = vec![0; PIECE];
    let mut have = 0;
    loop {
        let n = open.read(&mut piece).map_err(io(path, "read"))?;
        let Some(read @ [_, ..]) = piece.get(..n) else { break };
        hasher.update(read);
        have += n as u64;
        tell(have, None)?;
    }
    Ok(hasher.finish() == file.id)
}
