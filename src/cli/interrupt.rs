//! Ctrl-C: what it does depends on what the program is at.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::screen;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static MEANING: AtomicU8 = AtomicU8::new(Meaning::StopThenEnd as u8);
/// A half-written file or folder.
static HALF: Mutex<Option<PathBuf>> = Mutex::new(None);

/// What Ctrl-C does.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Meaning {
    /// Asks the running work to stop; a second one ends the process.
    StopThenEnd,
    /// Asks the running work to stop and never ends the process: in a chat at a terminal.
    Stop,
    /// Ends the process: nothing is running that could be asked.
    End,
}

/// Listens for Ctrl-C from now on.
pub fn listen() {
    let installed = ctrlc::set_handler(|| {
        let again = REQUESTED.swap(true, Ordering::SeqCst);
        let meaning = MEANING.load(Ordering::SeqCst);
        if meaning == Meaning::End as u8 || (again && meaning == Meaning::StopThenEnd as u8) {
            if let Some(half) = HALF.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // A link is not followed: it is a file.
                let _ = std::fs::remove_file(&half).or_else(|_| std::fs::remove_dir_all(half));
            }
            screen::restore();
            std::process::exit(130);
        }
    });
    if let Err(e) = installed {
        log::warn!("Ctrl-C will end the program at once: {e}");
    }
}

/// Sets what Ctrl-C does from now on.
pub fn means(meaning: Meaning) {
    MEANING.store(meaning as u8, Ordering::SeqCst);
}

/// The half-written file or folder that a second Ctrl-C removes.
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
