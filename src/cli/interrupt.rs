//! Ctrl-C and SIGTERM, whose effects depend on the state of the program.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::screen;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static MEANING: AtomicU8 = AtomicU8::new(Meaning::StopThenEnd as u8);
/// An incomplete file or folder.
static INCOMPLETE: Mutex<Option<PathBuf>> = Mutex::new(None);
/// Lets the server end.
static DRAIN: Mutex<Option<Box<dyn Fn() + Send>>> = Mutex::new(None);

/// Effect of Ctrl-C.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Meaning {
    /// Asks the work to stop; a second Ctrl-C ends the process.
    StopThenEnd,
    /// Asks the work to stop and never ends the process, in a chat at a terminal.
    Stop,
    /// Ends the process: no work is running that could stop.
    End,
    /// Lets the server end, and so does SIGTERM; a second one ends the process.
    Drain,
}

/// Starts to listen for Ctrl-C, and on Unix for SIGTERM, which ends the process at once unless a server runs.
///
/// SIGHUP keeps its default: its terminal is gone, and `nohup` must work.
pub fn listen() {
    if let Err(e) = install() {
        log::warn!("Ctrl-C will end the program at once: {e}");
    }
}

#[cfg(unix)]
fn install() -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let listen = move || {
        for signal in signals.forever() {
            if signal == SIGINT {
                ctrl_c();
            } else if !drains() {
                clean_up();
                // The parent sees a process that died of the signal.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map(|_| ())
}

#[cfg(not(unix))]
fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(ctrl_c)
}

/// Lets the server end, if one runs and has not been told before.
fn drains() -> bool {
    let is_server = MEANING.load(Ordering::SeqCst) == Meaning::Drain as u8;
    if !is_server || REQUESTED.swap(true, Ordering::SeqCst) {
        return false;
    }
    if let Some(drain) = &*DRAIN.lock().unwrap_or_else(PoisonError::into_inner) {
        drain();
    }
    true
}

fn ctrl_c() {
    if drains() {
        return;
    }
    let again = REQUESTED.swap(true, Ordering::SeqCst);
    let meaning = MEANING.load(Ordering::SeqCst);
    let twice = [Meaning::StopThenEnd as u8, Meaning::Drain as u8].contains(&meaning);
    if meaning == Meaning::End as u8 || (again && twice) {
        clean_up();
        end(130);
    }
}

/// Ends the process without the handlers that run at a normal exit: those of a software driver free memory that its
/// threads still use, so that the process may die of SIGSEGV.
#[cfg(unix)]
fn end(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}

#[cfg(not(unix))]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Removes the incomplete file or folder, and restores the terminal.
fn clean_up() {
    if let Some(incomplete) = INCOMPLETE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // `remove_file` also removes links; it does not follow them.
        let _ = std::fs::remove_file(&incomplete).or_else(|_| std::fs::remove_dir_all(incomplete));
    }
    screen::restore();
}

/// Sets the function that lets the server end.
pub fn on_drain(drain: impl Fn() + Send + 'static) {
    *DRAIN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(drain));
}

/// Sets the effect of Ctrl-C.
pub fn means(meaning: Meaning) {
    MEANING.store(meaning as u8, Ordering::SeqCst);
}

/// Sets the incomplete file or folder that is removed when the process ends early.
pub fn remove_at_exit(incomplete: Option<PathBuf>) {
    *INCOMPLETE.lock().unwrap_or_else(PoisonError::into_inner) = incomplete;
}

/// Whether Ctrl-C was pressed since the last [`take`].
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Whether Ctrl-C was pressed; resets it.
pub fn take() -> bool {
    REQUESTED.swap(false, Ordering::SeqCst)
}
