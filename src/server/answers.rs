//! The answers to one request, as they are generated. A task of their own follows them, so that a client that reads
//! slowly keeps neither its place in the queue beyond the longest time of an answer, nor distorts the metrics.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::error::ApiError;
use super::state::{Generates, Shared, Ticket};
use crate::engine::{Completed, Delta, FinishReason, GenerateRequest, Generation, Timings};
use crate::error::Error;

type NextStep = Pin<Box<dyn Future<Output = Ran> + Send>>;
type Steps = Result<(usize, Step), ApiError>;

/// A generation after a step.
struct Ran {
    answer: usize,
    generation: Generation,
    delta: Option<Result<Delta, Error>>,
}

/// A step of one of the answers.
pub(super) enum Step {
    /// Output that has become certain.
    Delta(Box<Delta>, Timings),
    /// The end.
    End(Option<FinishReason>, Timings),
}

/// The answers to a request. Dropping them ends them.
pub(super) struct Answers {
    steps: UnboundedReceiver<Steps>,
    follows: JoinHandle<()>,
    n: usize,
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.follows.abort();
    }
}

impl Answers {
    /// Begins the answers. Of those with one prompt, which are in a row, the first begins at once.
    ///
    /// # Errors
    /// As [`Engine::generate`](crate::Engine::generate).
    pub fn begin(
        shared: &Arc<Shared>,
        ticket: Ticket,
        requests: Vec<GenerateRequest>,
    ) -> Result<Self, ApiError> {
        let n = requests.len();
        let mut running = Running::new(shared, ticket, n)?;
        let mut first: Option<(usize, Vec<u32>)> = None;
        for (answer, request) in requests.into_iter().enumerate() {
            let cached = !request.options.no_cache && request.options.prompt_logprobs.is_none();
            match &first {
                Some((after, prompt)) if cached && *prompt == request.prompt => {
                    running.waiting.push(Waiting { answer, request, after: *after });
                }
                _ => {
                    first = Some((answer, request.prompt.clone()));
                    running.start(answer, request)?;
                }
            }
        }
        let (sender, steps) = unbounded_channel();
        let follows = tokio::spawn(running.follow(sender));
        Ok(Self { steps, follows, n })
    }

    /// The next step of any answer; `None` when all have ended.
    ///
    /// # Errors
    /// 504 if the answers have taken too long, else as [`Generation::next`]. All answers have ended then.
    pub async fn next(&mut self) -> Option<Steps> {
        self.steps.recv().await
    }

    /// All answers whole.
    ///
    /// # Errors
    /// As [`Answers::next`].
    pub async fn complete(mut self) -> Result<Vec<Completed>, ApiError> {
        let mut all = vec![Completed::default(); self.n];
        while let Some(step) = self.next().await {
            let (answer, step) = step?;
            let Some(one) = all.get_mut(answer) else { continue };
            match step {
                Step::Delta(delta, _) => one.append(*delta),
                Step::End(finish, timings) => (one.finish, one.timings) = (finish, timings),
            }
        }
        Ok(all)
    }
}

/// An answer that begins when the prompt of another one has been computed, since its own is the same: it takes the
/// state from the prefix cache.
struct Waiting {
    answer: usize,
    request: GenerateRequest,
    after: usize,
}

/// Times of an answer.
#[derive(Clone, Copy, Default)]
struct Progress {
    timings: Timings,
    last_token: Option<Instant>,
    ended: bool,
}

/// Answers in progress.
struct Running {
    shared: Arc<Shared>,
    generates: Arc<dyn Generates>,
    waiting: Vec<Waiting>,
    running: FuturesUnordered<NextStep>,
    progress: Vec<Progress>,
    began: Instant,
    /// Frees the place of the request when the answers end.
    _ticket: Ticket,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also those of clients that have left count.
        for one in self.progress.iter().filter(|one| !one.ended && one.timings.prompt_n > 0) {
            self.shared.metrics.ended(&one.timings, None, self.began.elapsed());
        }
    }
}

impl Running {
    fn new(shared: &Arc<Shared>, ticket: Ticket, n: usize) -> Result<Self, ApiError> {
        Ok(Self {
            shared: shared.clone(),
            generates: shared.served()?.generates.clone(),
            waiting: Vec::new(),
            running: FuturesUnordered::new(),
            progress: vec![Progress::default(); n],
            began: Instant::now(),
            _ticket: ticket,
        })
    }

    fn start(&mut self, answer: usize, request: GenerateRequest) -> Result<(), Error> {
        let generation = self.generates.generate(request)?;
        self.running.push(next(answer, generation));
        Ok(())
    }

    /// Sends all steps to the request's handler.
    async fn follow(mut self, sender: UnboundedSender<Steps>) {
        let deadline = self.shared.deadline();
        loop {
            let ran = match tokio::time::timeout_at(deadline.into(), self.running.next()).await {
                Ok(Some(ran)) => ran,
                Ok(None) => return,
                Err(_) => {
                    let seconds = self.shared.options.timeout.as_secs();
                    let _ = sender.send(Err(ApiError::timeout(seconds)));
                    return;
                }
            };
            let step = match self.step(ran) {
                Ok(Some(step)) => Ok(step),
                Ok(None) => continue,
                Err(error) => {
                    self.shared.metrics.failed.inc();
                    let _ = sender.send(Err(error.into()));
                    return;
                }
            };
            // The handler may be gone; then this task ends too.
            let _ = sender.send(step);
        }
    }

    /// Takes a step of an answer. Most chunks of prompts have nothing to tell.
    fn step(&mut self, ran: Ran) -> Result<Option<(usize, Step)>, Error> {
        let Ran { answer, generation, delta } = ran;
        let timings = generation.timings();
        if let Some(progress) = self.progress.get_mut(answer) {
            progress.timings = timings;
        }
        let Some(delta) = delta else {
            let finish = generation.finish_reason();
            if let Some(progress) = self.progress.get_mut(answer) {
                progress.ended = true;
            }
            self.shared.metrics.ended(&timings, finish, self.began.elapsed());
            return Ok(Some((answer, Step::End(finish, timings))));
        };
        let delta = delta?;
        self.running.push(next(answer, generation));
        self.note(answer, &delta)?;
        let silent = Delta { prefill: delta.prefill, ..Delta::default() };
        let says = delta != silent;
        Ok(says.then(|| (answer, Step::Delta(Box::new(delta), timings))))
    }

    /// Takes the times of a step, and begins the answers that wait for it.
    fn note(&mut self, answer: usize, delta: &Delta) -> Result<(), Error> {
        let prefilled = delta.prefill.is_some_and(|prefill| prefill.processed == prefill.total);
        if delta.token.is_some()
            && let Some(progress) = self.progress.get_mut(answer)
        {
            let now = Instant::now();
            match progress.last_token.replace(now) {
                None => self.shared.metrics.first_token(now - self.began),
                Some(last) => self.shared.metrics.next_token(now - last),
            }
        }
        if prefilled || delta.token.is_some() {
            let waiting = std::mem::take(&mut self.waiting);
            for one in waiting {
                if one.after == answer {
                    self.start(one.answer, one.request)?;
                } else {
                    self.waiting.push(one);
                }
            }
        }
        Ok(())
    }
}

fn next(answer: usize, mut generation: Generation) -> NextStep {
    Box::pin(async move {
        let delta = generation.next().await;
        Ran { answer, generation, delta }
    })
}
