//! A value that a loop and its callers share: callers get it only between two steps of the loop.

#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

// The crate in loom/ includes this file and tries all interleavings of its users.
#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(loom)]
use std::sync::PoisonError;

/// A value that knows whether a step is in work.
pub trait Steps {
    /// Whether a step was planned whose work has not been submitted.
    fn is_in_step(&self) -> bool;
}

/// The value behind its lock.
pub struct Gate<T> {
    value: Mutex<T>,
    /// A step has been submitted.
    submitted: Condvar,
    /// Tasks that wait for it.
    #[cfg(target_arch = "wasm32")]
    waiting: Mutex<Vec<std::task::Waker>>,
}

impl<T: Steps> Gate<T> {
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            submitted: Condvar::new(),
            #[cfg(target_arch = "wasm32")]
            waiting: Mutex::default(),
        }
    }

    /// The value, at any time: for the loop, which holds it only briefly and never while anything is awaited.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value between two steps, for callers: all work that was planned has been submitted, so that theirs comes
    /// after it. In a browser, where no thread can wait, a step may still be in work.
    pub fn between_steps(&self) -> MutexGuard<'_, T> {
        let mut value = self.lock();
        while cfg!(not(target_arch = "wasm32")) && value.is_in_step() {
            value = self.submitted.wait(value).unwrap_or_else(PoisonError::into_inner);
        }
        value
    }

    /// Waits in a browser until no step is in work. The next one begins only after the caller's next await.
    #[cfg(target_arch = "wasm32")]
    pub async fn step_ends(&self) {
        std::future::poll_fn(|context| {
            if !self.lock().is_in_step() {
                return std::task::Poll::Ready(());
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(context.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }

    /// Notes by `note` that the step has been submitted, and lets callers go on.
    pub fn submitted(&self, note: impl FnOnce(&mut T)) {
        note(&mut self.lock());
        self.submitted.notify_all();
        #[cfg(target_arch = "wasm32")]
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain(..).for_each(std::task::Waker::wake);
        }
    }
}
