//! Everything that the engine's loop shares with its callers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, RwLock};

use super::gate::{Gate, Steps};
use super::loader::Loader;
use super::loras::Loras;
use super::progress::Reporter;
use super::runner::Runner;
use crate::error::Error;
use crate::gpu::Device;
use crate::schedule::Scheduler;

impl Steps for Scheduler {
    fn is_in_step(&self) -> bool {
        Self::is_in_step(self)
    }
}

/// The model on its device, the scheduler, and options that do not change.
pub(super) struct Core {
    /// Replaced when the device is lost.
    runner: RwLock<Arc<Runner>>,
    /// `None` if answers end when the device is lost.
    loader: Option<Loader>,
    scheduler: Gate<Scheduler>,
    /// Number of devices that were replaced.
    pub devices_lost: AtomicU64,
    /// LoRA adapters.
    pub loras: Loras,
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
        loader: Option<Loader>,
        (ends, all_tokens): (Vec<u32>, Vec<u32>),
        read_ahead: u32,
    ) -> Self {
        Self {
            runner: RwLock::new(Arc::new(runner)),
            loader,
            scheduler: Gate::new(scheduler),
            devices_lost: AtomicU64::new(0),
            loras: Loras::default(),
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
        self.loader.is_some()
    }

    /// The model on another device, with its adapters.
    pub async fn runner_on(&self, device: &Device) -> Result<Runner, Error> {
        match &self.loader {
            Some(loader) => {
                let runner = loader.runner(device, Reporter::default()).await?;
                self.loras.put(&runner, None).await?;
                Ok(runner)
            }
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
        self.scheduler.lock()
    }

    /// Waits in a browser until no step is in work.
    #[cfg(target_arch = "wasm32")]
    pub async fn step_ends(&self) {
        self.scheduler.step_ends().await;
    }

    /// The scheduler between two steps, for callers outside the loop. In a browser a step may still be in work; then
    /// nothing can be leased, and [`Core::step_ends`] waits.
    pub fn between_steps(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.between_steps()
    }

    /// Notes that all work of the last step has been submitted.
    pub fn step_is_submitted(&self) {
        self.scheduler.submitted(Scheduler::step_is_submitted);
    }
}
