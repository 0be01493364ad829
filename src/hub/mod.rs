//! Models from the hub: fetched whole or not at all, into the cache that `huggingface_hub` uses.
//!
//! [`HubName`] is what a user writes, [`Cache`] what is there already, [`Hub`] what asks and
//! fetches. A file is what its hash says: it comes as `<hash>.incomplete`, is checked as a whole,
//! and only then gets its name; a run that is ended anywhere is continued by the next one.
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

mod api;
mod cache;
mod download;
mod error;
mod http;
mod inventory;
mod name;
mod remote;
mod select;

use std::path::Path;
use std::sync::Arc;

use api::RemoteFile;
pub(crate) use cache::sync_folder;
pub use cache::{Cache, Model};
use download::Fetch;
pub use error::HubError;
use http::Http;
pub use inventory::{Entry, State};
pub use name::HubName;
use select::Selection;

/// Left free on the disk.
pub(crate) const MARGIN: u64 = 16 << 20;

/// Whether `HF_HUB_OFFLINE` forbids all network.
#[must_use]
pub fn is_offline() -> bool {
    http::offline()
}

/// A hub and a cache.
pub struct Hub {
    http: Arc<Http>,
    cache: Cache,
}

/// What is to be fetched for a model.
#[derive(Debug)]
pub struct Plan {
    name: HubName,
    commit: String,
    files: Vec<RemoteFile>,
    gguf: bool,
    missing: u64,
}

impl Plan {
    /// The commit.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// How many files the model has.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Their bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files.iter().fold(0, |sum, f| sum.saturating_add(f.size))
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file that is coming.
    pub file: &'a str,
    /// Bytes of all files that are there.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
    /// What is being waited for, if anything.
    pub waiting: Option<&'a str>,
}

impl Hub {
    /// The hub that the environment names (`HF_ENDPOINT`, `HF_TOKEN`, proxies) and a cache.
    ///
    /// # Errors
    /// [`HubError::Setting`].
    pub fn from_env(cache: Cache) -> Result<Self, HubError> {
        Ok(Self { http: Arc::new(Http::from_env()?), cache })
    }

    /// Asks the hub which files a name means, and what of them is missing here.
    ///
    /// # Errors
    /// The hub's refusals, a name that does not choose one model, too little space on the disk;
    /// [`HubError::Offline`] where `HF_HUB_OFFLINE` is set.
    pub fn plan(&self, name: &HubName) -> Result<Plan, HubError> {
        if is_offline() {
            let there = self.cache.there(name)?;
            return Err(HubError::Offline { name: name.to_string(), there });
        }
        let mut tell = |why: &str| log::warn!("{name}: {why}");
        let listing = self.http.listing(name, &mut tell)?;
        let names: Vec<&str> = listing.siblings.iter().map(|s| s.name.as_str()).collect();
        let selection = select::select(name, &names)?;
        let mut files = Vec::new();
        for wanted in selection.files() {
            if let Some(sibling) = listing.siblings.iter().find(|s| s.name == *wanted) {
                files.push(self.http.remote_file(name, &listing.commit, sibling, &mut tell)?);
            }
        }
        let gguf = matches!(selection, Selection::Gguf(_));
        let commit = listing.commit;
        let mut plan = Plan { name: name.clone(), commit, files, gguf, missing: 0 };
        let fetch = self.fetcher(&plan);
        let missing = plan.files.iter().map(|f| f.size - fetch.bytes_there(f).min(f.size));
        plan.missing = missing.fold(0, u64::saturating_add);
        self.check_space(plan.missing)?;
        Ok(plan)
    }

    fn fetcher<'a>(&'a self, plan: &'a Plan) -> Fetch<'a> {
        Fetch { http: &self.http, cache: &self.cache, name: &plan.name, commit: &plan.commit }
    }

    fn check_space(&self, need: u64) -> Result<(), HubError> {
        let root = self.cache.root();
        match free_bytes(root) {
            Some(have) if need > 0 && need.saturating_add(MARGIN) > have => {
                Err(HubError::NoSpace { path: root.to_owned(), need, have })
            }
            _ => Ok(()),
        }
    }

    /// Fetches what a plan says is missing. `check` also reads what is there, and fetches again
    /// what is wrong. The process may be ended at any time: the next fetch goes on.
    ///
    /// # Errors
    /// The hub's, the network's after several tries, the disk's, and [`HubError::Corrupt`].
    pub fn fetch(
        &self,
        plan: &Plan,
        check: bool,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Model, HubError> {
        let fetch = self.fetcher(plan);
        let total = plan.total();
        let mut before = 0u64;
        for file in &plan.files {
            let mut told = |there: u64, waiting: Option<&str>| {
                let done = before.saturating_add(there);
                tell(Progress { file: &file.name, done, total, waiting });
            };
            fetch.file(file, check, &mut told)?;
            told(file.size, None);
            before = before.saturating_add(file.size);
        }
        // Last: a revision means a commit whose files are there.
        self.cache.set_commit(&plan.name, &plan.commit)?;
        let snapshot = self.cache.snapshot(&plan.name, &plan.commit);
        Ok(match (plan.gguf, plan.files.first()) {
            (true, Some(file)) => Model::Gguf(snapshot.join(&file.name)),
            _ => Model::Folder(snapshot),
        })
    }
}

/// Free bytes of the disk that a path is on, or will be; `None` where the system does not tell.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let there = path.ancestors().find(|p| p.exists())?;
        let stat = rustix::fs::statvfs(there).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
