//! Ctrl-C: asks the running work to stop; a second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static STOP_ANSWERS_ONLY: AtomicBool = AtomicBool::new(false);

/// Listens for Ctrl-C from now on.
pub fn listen() {
    let installed = ctrlc::set_handler(|| {
        let again = REQUESTED.swap(true, Ordering::SeqCst);
        if again && !STOP_ANSWERS_ONLY.load(Ordering::SeqCst) {
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

/// Whether Ctrl-C was pressed since the last [`take`].
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Whether Ctrl-C was pressed; forgets it.
pub fn take() -> bool {
    REQUESTED.swap(false, Ordering::SeqCst)
}
