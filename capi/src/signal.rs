//! Waiting for an answer with a deadline, and its cancellation from any thread.

use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use lfm2_wgpu::Error;
use lfm2_wgpu::engine::{Delta, Generation};

/// Wakes the thread that waits for an answer.
#[derive(Default)]
pub struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    woken: bool,
    cancelled: bool,
    freed: bool,
}

/// Outcome of a wait.
pub enum Waited {
    /// The answer's next step; `None` at its end.
    Step(Option<Result<Delta, Error>>),
    /// The answer was cancelled.
    Cancelled,
    /// The deadline has passed.
    Late,
}

impl Signal {
    /// Stops the answer.
    pub fn cancel(&self) {
        self.state().cancelled = true;
        self.changed.notify_all();
    }

    /// Stops the answer, of which nothing more is to be delivered.
    pub fn free(&self) {
        self.state().freed = true;
        self.cancel();
    }

    pub fn is_freed(&self) -> bool {
        self.state().freed
    }

    /// Waits for the next step of `generation` until `deadline`; `None` waits for ever.
    pub fn wait_for(
        self: &Arc<Self>,
        generation: &mut Generation,
        deadline: Option<Instant>,
    ) -> Waited {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        let mut next = pin!(generation.next());
        loop {
            if self.state().cancelled {
                return Waited::Cancelled;
            }
            if let Poll::Ready(step) = next.as_mut().poll(&mut context) {
                return Waited::Step(step);
            }
            if !self.sleep(deadline) {
                return Waited::Late;
            }
        }
    }

    /// Sleeps until it is woken or cancelled; `false` if the deadline came first.
    fn sleep(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        while !state.woken && !state.cancelled {
            let Some(deadline) = deadline else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.woken = false;
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.state().woken = true;
        self.changed.notify_all();
    }
}
