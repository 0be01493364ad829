//! Everything that the engine's loop shares with its callers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::blueprint::Blueprint;
use super::progress::Reporter;
use super::runner::Runner;
use crate::error::Error;
use crate::gpu::Device;
use crate::schedule::Scheduler;

/// The model on its device, the scheduler, and options that do not change.
pub(super) struct Core {
    /// Replaced when the device is lost.
    runner: RwLock<Arc<Runner>>,
    /// `None` if answers end when the device is lost.
    blueprint: Option<Blueprint>,
    scheduler: Mutex<Scheduler>,
    /// A step has been submitted.
    #[cfg(not(target_arch = "wasm32"))]
    submitted: std::sync::Condvar,
    /// Number of devices that were replaced.
    pub devices_lost: AtomicU64,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
    /// Mask of the ids that have a token.
    pub all_tokens: Vec<u32>,
    /// Tokens that are submitted ahead of the one that is read.
    pub read_ahead: u32,
}

impl Core {
    pub fn new(
        runner: Runner,
        scheduler: Scheduler,
        blueprint: Option<Blueprint>,
        (ends, all_tokens): (Vec<u32>, Vec<u32>),
        read_ahead: u32,
    ) -> Self {
        Self {
            runner: RwLock::new(Arc::new(runner)),
            blueprint,
            scheduler: Mutex::new(scheduler),
            #[cfg(not(target_arch = "wasm32"))]
            submitted: std::sync::Condvar::new(),
            devices_lost: AtomicU64::new(0),
            ends,
            all_tokens,
            read_ahead,
        }
    }

    /// The model on its present device.
    pub fn runner(&self) -> Arc<Runner> {
        self.runner.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether answers continue after the loss of the device.
    pub fn can_continue(&self) -> bool {
        self.blueprint.is_some()
    }

    /// The model on another device.
    pub async fn runner_on(&self, device: &Device) -> Result<Runner, Error> {
        match &self.blueprint {
            Some(blueprint) => blueprint.runner(device, Reporter::default()).await,
            None => Err(Error::EngineStopped),
        }
    }

    /// Replaces the model's device.
    pub fn continue_on(&self, runner: Runner) {
        self.devices_lost.fetch_add(1, Ordering::Relaxed);
        *self.runner.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(runner);
    }

    /// It is never held while anything is awaited.
    pub fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scheduler between two steps, for callers outside the loop: all work that was planned has been submitted,
    /// so that theirs comes after it. In a browser, where nobody can wait, a step may still be in work; then nothing
    /// can be leased.
    pub fn between_steps(&self) -> MutexGuard<'_, Scheduler> {
        let scheduler = self.scheduler();
        #[cfg(not(target_arch = "wasm32"))]
        let scheduler = self
            .submitted
            .wait_while(scheduler, |scheduler| scheduler.is_in_step())
            .unwrap_or_else(PoisonError::into_inner);
        scheduler
    }

    /// Notes that all work of the last step has been submitted.
    pub fn step_is_submitted(&self) {
        self.scheduler().step_is_submitted();
        #[cfg(not(target_arch = "wasm32"))]
        self.submitted.notify_all();
    }
}
