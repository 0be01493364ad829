//! Ctrl-C: asks the running work to stop; a second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Listens for Ctrl-C from now on.
pub fn listen() {
    let installed = ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    if let Err(e) = installed {
        log::warn!("Ctrl-C will end the program at once: {e}");
    }
}

/// Whether Ctrl-C was pressed since the last [`take`].
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Whether Ctrl-C was pressed; forgets it.
pub fn take() -> bool {
    REQUESTED.swap(false, Ordering::SeqCst)
}
