//! Ctrl-C: asks the running work to stop; a second one ends the process.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static STOP_ANSWERS_ONLY: AtomicBool = AtomicBool::new(false);
/// A half-written file.
static HALF: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Listens for Ctrl-C from now on.
pub fn listen() {
    let installed = ctrlc::set_handler(|| {
        let again = REQUESTED.swap(true, Ordering::SeqCst);
        if again && !STOP_ANSWERS_ONLY.load(Ordering::SeqCst) {
            if let Some(half) = HALF.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = std::fs::remove_file(half);
            }
            std::process::exit(130);
        }
    });
    if let Err(e) = installed {
        log::warn!("Ctrl-C will end the program at once: {e}");
    }
}

/// In a chat Ctrl-C stops the answer and never the program.
pub fn stop_answers_only() {
    STOP_ANSWERS_ONLY.store(true, Ordering::SeqCst);
}

/// The half-written file that a second Ctrl-C removes.
pub fn remove_at_exit(half: Option<PathBuf>) {
    *HALF.lock().unwrap_or_else(PoisonError::into_inner) = half;
}

/// Whether Ctrl-C was pressed since the last [`take`].
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Whether Ctrl-C was pressed; forgets it.
pub fn take() -> bool {
    REQUESTED.swap(false, Ordering::SeqCst)
}
