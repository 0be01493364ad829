//! Downloads models from the hub into the cache of Python's `huggingface_hub`.
//!
//! A host app only needs [`Hub::pull`]:
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lfm2_wgpu::{Engine, hub::Hub};
//!
//! let model = Hub::open()?.pull("LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0", |p| {
//!     println!("{}: {} of {} bytes", p.file, p.done, p.total);
//!     true
//! })?;
//! let engine = Engine::builder().path(model.path())?;
//! # Ok(()) }
//! ```
//!
//! [`HubName`] is the name that a user writes, [`Cache`] the models on disk, [`Hub`] the client that lists
//! and downloads. A file is downloaded as `<hash>.incomplete`, and gets its name only after its hash was
//! checked. An interrupted download resumes in the next run.
//!
//! Why not `hf-hub` (1.0): it needs tokio and reqwest (284 crates, aws-lc-sys among them), and does not
//! check the hashes of downloads.
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

mod address;
mod api;
mod cache;
mod download;
mod error;
mod http;
mod inventory;
mod labels;
mod name;
mod places;
mod probe;
mod select;

use std::path::Path;
use std::sync::Arc;

use api::{Listing, RemoteFile};
#[cfg(feature = "cli")]
pub(crate) use cache::sync_folder;
pub use cache::{Cache, Model};
use download::Fetch;
pub use error::HubError;
use http::Http;
#[cfg(feature = "cli")]
pub(crate) use http::{config, parse_url};
pub use inventory::{Entry, State};
pub use name::HubName;
use select::Selection;

use crate::formats::ModelFiles;

/// Bytes that stay free on the disk.
pub(crate) const MARGIN: u64 = 16 << 20;

/// Whether `HF_HUB_OFFLINE` forbids network access.
#[must_use]
pub fn is_offline() -> bool {
    http::offline()
}

/// A client of a hub, with a cache.
pub struct Hub {
    http: Arc<Http>,
    cache: Cache,
}

/// The files of a model to download.
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

    /// Number of files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files.iter().fold(0, |sum, f| sum.saturating_add(f.size))
    }

    /// Bytes that are not downloaded yet.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

/// Progress of a download.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The current file.
    pub file: &'a str,
    /// Bytes of all files that are downloaded.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
    /// The reason for waiting, if the download waits.
    pub waiting: Option<&'a str>,
}

impl Hub {
    /// A client configured by the environment (`HF_ENDPOINT`, `HF_TOKEN`, proxies), with this cache.
    ///
    /// # Errors
    /// [`HubError::Setting`].
    pub fn from_env(cache: Cache) -> Result<Self, HubError> {
        Ok(Self { http: Arc::new(Http::from_env()?), cache })
    }

    /// A client and a cache configured by the environment.
    ///
    /// # Errors
    /// As [`Hub::from_env`] and [`Cache::from_env`].
    pub fn open() -> Result<Self, HubError> {
        Self::from_env(Cache::from_env()?)
    }

    /// Returns a model by its name, `owner/repo[:QUANT][@revision]`, or by a URL of the hub. It takes the model
    /// from the cache without network access, or downloads it. `progress` returns whether to continue. The
    /// call blocks the thread.
    ///
    /// # Errors
    /// As [`HubName::parse`], [`Hub::plan`] and [`Hub::fetch`].
    pub fn pull(
        &self,
        name: &str,
        progress: impl FnMut(Progress<'_>) -> bool,
    ) -> Result<Model, HubError> {
        let mut progress = progress;
        let name = HubName::parse(name)?;
        match self.cache.find(&name)? {
            Some(model) => Ok(model),
            None => self.fetch(&self.plan(&name)?, false, &mut progress),
        }
    }

    /// As [`Hub::pull`], for a LoRA adapter: a repository of PEFT's adapter_config.json and
    /// adapter_model.safetensors, or of a GGUF adapter. [`LoraAdapter::read`](crate::model::LoraAdapter::read)
    /// reads the files at the path.
    ///
    /// # Errors
    /// As [`HubName::parse`], [`Hub::plan_adapter`] and [`Hub::fetch`].
    pub fn pull_adapter(
        &self,
        name: &str,
        progress: impl FnMut(Progress<'_>) -> bool,
    ) -> Result<Model, HubError> {
        let mut progress = progress;
        let name = HubName::parse(name)?;
        match self.cache.find_adapter(&name)? {
            Some(adapter) => Ok(adapter),
            None => self.fetch(&self.plan_adapter(&name)?, false, &mut progress),
        }
    }

    /// Lists the files of a LoRA adapter, and finds those missing from the cache.
    ///
    /// # Errors
    /// [`HubError::NoAdapter`], and as [`Hub::plan`]; [`HubError::Unsupported`] for a GGUF model.
    pub fn plan_adapter(&self, name: &HubName) -> Result<Plan, HubError> {
        let (plan, _) = self.listed(name, select::select_adapter)?;
        if plan.missing > 0
            && plan.gguf
            && let Some(problem) =
                probe::not_an_adapter(&self.http, name, &plan.commit, &plan.files)?
        {
            let there = String::new();
            return Err(HubError::Unsupported { name: name.to_string(), problem, there });
        }
        Ok(plan)
    }

    /// Lists the files of a model, and finds those missing from the cache. If any is missing, it reads the
    /// beginnings of the files first, so that a model that cannot be loaded is not downloaded.
    ///
    /// # Errors
    /// If the hub refuses, the name does not select one model, the model cannot be loaded
    /// ([`HubError::Unsupported`]), or the disk has too little space; [`HubError::Offline`] if
    /// `HF_HUB_OFFLINE` is set.
    pub fn plan(&self, name: &HubName) -> Result<Plan, HubError> {
        let (plan, names) = self.listed(name, select::select)?;
        if plan.missing > 0
            && let Some(problem) = probe::problem(&self.http, name, &plan.commit, &plan.files)?
        {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let there = others(name, &names, &plan);
            return Err(HubError::Unsupported { name: name.to_string(), problem, there });
        }
        Ok(plan)
    }

    /// The plan of the selected files, and the names of all files.
    fn listed(
        &self,
        name: &HubName,
        select: fn(&HubName, &[&str]) -> Result<Selection, HubError>,
    ) -> Result<(Plan, Vec<String>), HubError> {
        if is_offline() {
            let there = self.cache.there(name)?;
            return Err(HubError::Offline { name: name.to_string(), there });
        }
        let mut tell = |why: &str| log::warn!("{name}: {why}");
        let listing: Listing = self.http.listing(name, &mut tell)?;
        let names: Vec<&str> = listing.siblings.iter().map(|s| s.name.as_str()).collect();
        let selection = select(name, &names)?;
        let mut files = Vec::new();
        for wanted in selection.files() {
            if let Some(sibling) = listing.siblings.iter().find(|s| s.name == *wanted) {
                files.push(self.http.remote_file(name, &listing.commit, sibling, &mut tell)?);
            }
        }
        let gguf = matches!(selection, Selection::Gguf(_));
        let commit = listing.commit.clone();
        let mut plan = Plan { name: name.clone(), commit, files, gguf, missing: 0 };
        let fetch = self.fetcher(&plan);
        let missing = plan.files.iter().map(|f| f.size - fetch.bytes_there(f).min(f.size));
        plan.missing = missing.fold(0, u64::saturating_add);
        self.check_space(plan.missing)?;
        let names = listing.siblings.into_iter().map(|sibling| sibling.name).collect();
        Ok((plan, names))
    }

    /// The files of a plan, readable before they are downloaded. Only the beginning of each file can be
    /// read, and nothing is stored.
    #[must_use]
    pub fn remote_files(&self, plan: &Plan) -> ModelFiles {
        probe::beginnings(&self.http, &plan.name, &plan.commit, &plan.files, &Arc::default())
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

    /// Downloads the missing files of a plan. With `check` it also reads the files in the cache, and downloads
    /// damaged ones again. `tell` gets the progress and returns whether to continue. The process may be killed
    /// at any time: the next download resumes.
    ///
    /// # Errors
    /// Errors of the hub, of the network after several tries, and of the disk, [`HubError::Corrupt`], and
    /// [`HubError::Cancelled`].
    pub fn fetch(
        &self,
        plan: &Plan,
        check: bool,
        tell: &mut dyn FnMut(Progress<'_>) -> bool,
    ) -> Result<Model, HubError> {
        let fetch = self.fetcher(plan);
        let total = plan.total();
        let mut before = 0u64;
        for file in &plan.files {
            let mut told = |there: u64, waiting: Option<&str>| {
                let done = before.saturating_add(there);
                match tell(Progress { file: &file.name, done, total, waiting }) {
                    true => Ok(()),
                    false => Err(HubError::Cancelled),
                }
            };
            fetch.file(file, check, &mut told)?;
            told(file.size, None)?;
            before = before.saturating_add(file.size);
        }
        // Last, so that a revision in the cache always names a commit with all its files.
        self.cache.set_commit(&plan.name, &plan.commit)?;
        let snapshot = self.cache.snapshot(&plan.name, &plan.commit);
        Ok(match (plan.gguf, plan.files.first()) {
            (true, Some(file)) => Model::Gguf(snapshot.join(&file.name)),
            _ => Model::Folder(snapshot),
        })
    }
}

/// The other supported models of a repository, by their names, as a sentence after a space.
fn others(name: &HubName, names: &[&str], plan: &Plan) -> String {
    let ggufs = select::ggufs(names.iter().copied());
    let stems: Vec<&str> = ggufs.iter().map(|gguf| &*gguf.stem).collect();
    let is_this =
        |gguf: &select::Gguf| gguf.files().iter().any(|f| plan.files.iter().any(|p| p.name == *f));
    let found = ggufs
        .iter()
        .zip(labels::labels(&stems))
        .filter(|(gguf, label)| gguf.is_whole() && !is_this(gguf) && labels::can_run(label));
    let found: Vec<String> = found.map(|(_, label)| format!("{}:{label}", name.id())).collect();
    match found.is_empty() {
        true => String::new(),
        false => format!(" By their names, these are supported: {}", found.join(", ")),
    }
}

/// Free bytes on the disk of a path, which need not exist; `None` if the system does not report them.
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
