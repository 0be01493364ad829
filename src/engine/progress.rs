//! What an engine that is being built is at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::formats::source::MaybeSend;
use crate::model::LoadProgress;

/// How far a step of [`EngineBuilder::build`](super::EngineBuilder::build) is. Natively kernels are
/// compiled while weights are loaded, so the two steps alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildProgress {
    /// The GPU's programs.
    Kernels {
        /// Compiled so far.
        done: usize,
        /// To be compiled: those that the model needs and the device has not compiled yet.
        total: usize,
    },
    /// The weights, in bytes of the files.
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

/// The caller's function, for all the threads that have something to tell.
#[derive(Clone, Default)]
pub(super) struct Teller {
    callback: Option<Arc<Mutex<Callback>>>,
    stopped: Arc<AtomicBool>,
}

impl Teller {
    pub fn new(callback: impl FnMut(BuildProgress) -> bool + MaybeSend + 'static) -> Self {
        Self { callback: Some(Arc::new(Mutex::new(Box::new(callback)))), ..Self::default() }
    }

    /// Tells; gives whether to go on.
    fn tell(&self, progress: BuildProgress) -> bool {
        let Some(callback) = &self.callback else { return true };
        let mut callback = callback.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = (*callback)(progress);
        self.stopped.fetch_or(!goes_on, Ordering::Relaxed);
        goes_on
    }

    /// Whether the caller has said to stop.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn kernels(&self, done: usize, total: usize) {
        self.tell(BuildProgress::Kernels { done, total });
    }

    pub fn weights(&self, LoadProgress { loaded, total }: LoadProgress) -> bool {
        self.tell(BuildProgress::Weights { loaded, total })
    }
}
