//! An answer with its reader: a thread that calls back, or the caller who polls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::abi::lfm2_status;
use crate::failure::Failure;
use crate::signal::Signal;
use crate::stream::{Step, Stream};

/// An answer in progress. Dropping it cancels it, and waits for the thread that calls back.
pub struct Talk {
    signal: Arc<Signal>,
    reader: Reader,
}

enum Reader {
    Polled(Box<Mutex<Stream>>),
    /// `None` when the thread is waited for.
    Called(Option<JoinHandle<()>>),
}

impl Talk {
    /// An answer that [`Talk::next`] reads.
    pub fn polled(stream: Stream) -> Self {
        Self { signal: Arc::default(), reader: Reader::Polled(Box::new(Mutex::new(stream))) }
    }

    /// An answer that a thread passes to `deliver`, which returns whether to go on. The thread begins when it is sent a
    /// message.
    ///
    /// # Errors
    /// [`lfm2_status::LFM2_BUSY`] if the system has no thread.
    pub fn called(
        stream: Stream,
        deliver: impl FnMut(Step) -> bool + Send + 'static,
    ) -> Result<(Self, Sender<()>), Failure> {
        let signal = Arc::new(Signal::default());
        let (begin, begun) = channel();
        let run = {
            let signal = signal.clone();
            move || {
                if begun.recv().is_ok() {
                    deliver_all(stream, &signal, deliver);
                }
            }
        };
        let thread = std::thread::Builder::new().name("lfm2-callback".to_owned()).spawn(run);
        let thread = thread.map_err(|e| {
            let message = format!("the system has no thread for the callback: {e}");
            Failure::new(lfm2_status::LFM2_BUSY, message)
        })?;
        Ok((Self { signal, reader: Reader::Called(Some(thread)) }, begin))
    }

    /// Waits for the next step; `None` waits for ever.
    ///
    /// # Errors
    /// [`lfm2_status::LFM2_BUSY`] if another thread waits, [`lfm2_status::LFM2_INVALID_ARGUMENT`] if the answer has a
    /// callback.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Step, Failure> {
        let Reader::Polled(stream) = &self.reader else {
            let problem = "has a callback, which gets the answer";
            return Err(Failure::argument("generation", problem));
        };
        let mut stream = match stream.try_lock() {
            Ok(stream) => stream,
            Err(TryLockError::Poisoned(stream)) => stream.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let message = "generation: another thread waits for its next piece";
                return Err(Failure::new(lfm2_status::LFM2_BUSY, message));
            }
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(stream.next(&self.signal, deadline))
    }

    /// Ends the answer early.
    pub fn cancel(&self) {
        self.signal.cancel();
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.signal.free();
        // A callback may free its own answer.
        if let Reader::Called(thread) = &mut self.reader
            && let Some(thread) = thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Delivers the steps of an answer to its end, or until it is freed.
fn deliver_all(mut stream: Stream, signal: &Arc<Signal>, mut deliver: impl FnMut(Step) -> bool) {
    loop {
        let next = catch_unwind(AssertUnwindSafe(|| stream.next(signal, None)));
        let step = next.unwrap_or_else(|payload| Step::Failed(Failure::panic(&*payload)));
        if signal.is_freed() {
            return;
        }
        let is_last = !matches!(step, Step::Piece(_));
        if !deliver(step) {
            signal.cancel();
        }
        if is_last {
            return;
        }
    }
}
