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
}

impl<T: Steps> Gate<T> {
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), submitted: Condvar::new() }
    }

    /// The value, at any time: for the loop, which holds it only briefly and never while anything is awaited.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value between two steps, for callers: all work that was planned has been submitted, so that theirs comes
    /// after it. In a browser, where nobody can wait, a step may still be in work.
    pub fn between_steps(&self) -> MutexGuard<'_, T> {
        let mut value = self.lock();
        while cfg!(not(target_arch = "wasm32")) && value.is_in_step() {
            value = self.submitted.wait(value).unwrap_or_else(PoisonError::into_inner);
        }
        value
    }

    /// Notes by `note` that the step has been submitted, and lets callers go on.
    pub fn submitted(&self, note: impl FnOnce(&mut T)) {
        note(&mut self.lock());
        self.submitted.notify_all();
    }
}
