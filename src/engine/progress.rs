//! Progress of an engine's build.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::formats::source::MaybeSend;
use crate::model::LoadProgress;

/// Progress of a step of [`EngineBuilder::build`](super::EngineBuilder::build). Natively kernels
/// are compiled while weights are loaded, so the two steps alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildProgress {
    /// Compilation of the kernels.
    Kernels {
        /// Compiled so far.
        done: usize,
        /// Kernels that the model needs and that the device had not compiled before.
        total: usize,
    },
    /// Loading of the weights, in bytes of the files.
    Weights {
        /// Bytes on the GPU.
        loaded: u64,
        /// Bytes in all.
        total: u64,
    },
}

#[cfg(not(target_arch = "wasm32"))]
type Callback = Box<dyn FnMut(BuildProgress) -> bool + Send>;
#[cfg(target_arch = "wasm32")]
type Callback = Box<dyn FnMut(BuildProgress) -> bool>;

/// The caller's callback, shared by the threads that report progress.
#[derive(Clone, Default)]
pub(super) struct Reporter {
    callback: Option<Arc<Mutex<Callback>>>,
    stopped: Arc<AtomicBool>,
}

impl Reporter {
    pub fn new(callback: impl FnMut(BuildProgress) -> bool + MaybeSend + 'static) -> Self {
        Self { callback: Some(Arc::new(Mutex::new(Box::new(callback)))), ..Self::default() }
    }

    /// Reports progress; returns whether to go on.
    fn report(&self, progress: BuildProgress) -> bool {
        let Some(callback) = &self.callback else { return true };
        let mut callback = callback.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = (*callback)(progress);
        self.stopped.fetch_or(!goes_on, Ordering::Relaxed);
        goes_on
    }

    /// Whether the caller has cancelled.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn kernels(&self, done: usize, total: usize) {
        self.report(BuildProgress::Kernels { done, total });
    }

    pub fn weights(&self, LoadProgress { loaded, total }: LoadProgress) -> bool {
        self.report(BuildProgress::Weights { loaded, total })
    }
}
