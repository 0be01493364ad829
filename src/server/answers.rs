//! The answers to one request, as they are generated.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::error::ApiError;
use super::state::{Generates, Shared, Ticket};
use crate::engine::{Completed, Delta, FinishReason, GenerateRequest, Generation, Timings};
use crate::error::Error;

type NextStep = Pin<Box<dyn Future<Output = Ran> + Send>>;

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
    shared: Arc<Shared>,
    generates: Arc<dyn Generates>,
    /// Answers that begin when the prompt of another answer has been computed, since theirs is the same: only one
    /// computes it, and the others take it from the prefix cache.
    waiting: Vec<(usize, GenerateRequest, usize)>,
    running: FuturesUnordered<NextStep>,
    /// Of each answer, its last token's time.
    last_token: Vec<Option<Instant>>,
    began: Instant,
    deadline: Instant,
    /// Frees the place of the request when the answers end.
    _ticket: Ticket,
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
        let mut answers = Self {
            shared: shared.clone(),
            generates: shared.served()?.generates.clone(),
            waiting: Vec::new(),
            running: FuturesUnordered::new(),
            last_token: vec![None; requests.len()],
            began: Instant::now(),
            deadline: shared.deadline(),
            _ticket: ticket,
        };
        let mut first: Option<(usize, Vec<u32>)> = None;
        for (answer, request) in requests.into_iter().enumerate() {
            let cached = !request.options.no_cache && request.options.prompt_logprobs.is_none();
            match &first {
                Some((first, prompt)) if cached && *prompt == request.prompt => {
                    answers.waiting.push((answer, request, *first));
                }
                _ => {
                    first = Some((answer, request.prompt.clone()));
                    answers.start(answer, request)?;
                }
            }
        }
        Ok(answers)
    }

    fn start(&mut self, answer: usize, request: GenerateRequest) -> Result<(), Error> {
        let generation = self.generates.generate(request)?;
        self.running.push(next(answer, generation));
        Ok(())
    }

    /// The next step of any answer; `None` when all have ended.
    ///
    /// # Errors
    /// 504 if the answers have taken too long, else as [`Generation::next`]. All answers have ended then.
    pub async fn next(&mut self) -> Option<Result<(usize, Step), ApiError>> {
        loop {
            let ran = tokio::time::timeout_at(self.deadline.into(), self.running.next()).await;
            let ran = match ran {
                Ok(ran) => ran?,
                Err(_) => {
                    self.end();
                    let seconds = self.shared.options.timeout.as_secs();
                    return Some(Err(ApiError::timeout(seconds)));
                }
            };
            let Ran { answer, generation, delta } = ran;
            let timings = generation.timings();
            let delta = match delta {
                None => {
                    let finish = generation.finish_reason();
                    self.shared.metrics.ended(&timings, finish, self.began.elapsed());
                    return Some(Ok((answer, Step::End(finish, timings))));
                }
                Some(Ok(delta)) => delta,
                Some(Err(error)) => {
                    self.end();
                    self.shared.metrics.failed.inc();
                    return Some(Err(error.into()));
                }
            };
            self.running.push(next(answer, generation));
            if let Err(error) = self.note(answer, &delta) {
                self.end();
                return Some(Err(error.into()));
            }
            let silent = Delta { prefill: delta.prefill, ..Delta::default() };
            if delta != silent {
                return Some(Ok((answer, Step::Delta(Box::new(delta), timings))));
            }
        }
    }

    /// All answers whole.
    ///
    /// # Errors
    /// As [`Answers::next`].
    pub async fn complete(mut self) -> Result<Vec<Completed>, ApiError> {
        let mut all = vec![Completed::default(); self.last_token.len()];
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

    /// Takes the times of a step, and begins the answers that wait for it.
    fn note(&mut self, answer: usize, delta: &Delta) -> Result<(), Error> {
        let prefilled = delta.prefill.is_some_and(|prefill| prefill.processed == prefill.total);
        if delta.token.is_some() {
            let now = Instant::now();
            let last = self.last_token.get_mut(answer).and_then(|last| last.replace(now));
            match last {
                None => self.shared.metrics.first_token(now - self.began),
                Some(last) => self.shared.metrics.next_token(now - last),
            }
        }
        if prefilled || delta.token.is_some() {
            let waiting = std::mem::take(&mut self.waiting);
            for (other, request, first) in waiting {
                if first == answer {
                    self.start(other, request)?;
                } else {
                    self.waiting.push((other, request, first));
                }
            }
        }
        Ok(())
    }

    /// Ends all answers.
    fn end(&mut self) {
        self.running.clear();
        self.waiting.clear();
    }
}

fn next(answer: usize, mut generation: Generation) -> NextStep {
    Box::pin(async move {
        let delta = generation.next().await;
        Ran { answer, generation, delta }
    })
}
