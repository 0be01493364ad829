//! Sends the requests of a test, at once or as they arrive, and collects their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Wanted};
use super::events::{Failure, Sample};
use super::random::{Random, arrivals};
use crate::cli::interrupt;

/// Interval of looking for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// Purpose of the random times of arrival.
const ARRIVALS: u64 = u64::MAX;

/// The times at which requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// As soon as fewer than this many are unanswered.
    Closed(usize),
    /// At random times, this many a second.
    Open(f64),
}

/// Requests of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    pub prompt_tokens: usize,
    pub output_tokens: usize,
    pub shared: usize,
    pub load: Load,
    pub requests: usize,
}

impl Test {
    /// `1024/128 c4`, `1024/128 r2.5 shared 512`.
    pub fn name(&self) -> String {
        let load = match self.load {
            Load::Closed(n) => format!("c{n}"),
            Load::Open(rate) => format!("r{rate}"),
        };
        let mut name = format!("{}/{} {load}", self.prompt_tokens, self.output_tokens);
        if self.shared > 0 {
            name += &format!(" shared {}", self.shared);
        }
        name
    }
}

/// Answers of a test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
    pub samples: Vec<Sample>,
    pub failures: Vec<Failure>,
}

/// Sends the requests of a test; their prompts have the numbers from `first` on. `tell` is called after each answer.
///
/// Threads of requests that Ctrl-C interrupts end with the process.
pub fn drive(
    client: &Arc<Client>,
    test: Test,
    seed: u64,
    first: u64,
    tell: &mut dyn FnMut(),
) -> Outcome {
    let began = Instant::now();
    let run = Run { client: client.clone(), test, seed, first, ended: Arc::default() };
    let (sender, receiver) = channel();
    let mut outcome = Outcome::default();
    let mut collect = |until: Option<Instant>, outcome: &mut Outcome| {
        while outcome.samples.len() + outcome.failures.len() < test.requests {
            match received(&receiver, until) {
                Some(Ok(sample)) => outcome.samples.push(sample),
                Some(Err(failure)) => outcome.failures.push(failure),
                None => break,
            }
            outcome.seconds = began.elapsed().as_secs_f64();
            tell();
        }
        interrupt::requested()
    };
    match test.load {
        Load::Closed(at_once) => {
            let next = Arc::new(AtomicUsize::new(0));
            for _ in 0..at_once.min(test.requests) {
                run.spawn_closed(&next, &sender);
            }
        }
        Load::Open(rate) => {
            let mut random = Random::new(seed, ARRIVALS.wrapping_sub(first));
            for (number, at) in arrivals(rate, test.requests, &mut random).into_iter().enumerate() {
                let due = began + Duration::from_secs_f64(at);
                if collect(Some(due), &mut outcome) {
                    break;
                }
                run.spawn_open(number, due, &sender);
            }
        }
    }
    // The receiver notices when all senders are gone.
    drop(sender);
    let is_interrupted = collect(None, &mut outcome);
    run.ended.store(true, Ordering::SeqCst);
    if is_interrupted {
        outcome.seconds = began.elapsed().as_secs_f64();
    }
    outcome
}

type Answer = Result<Sample, Failure>;

/// The next answer; `None` after Ctrl-C, at the time `until`, or if no more can come.
fn received(answers: &Receiver<Answer>, until: Option<Instant>) -> Option<Answer> {
    while !interrupt::requested() {
        let left = until.map_or(TICK, |until| until.saturating_duration_since(Instant::now()));
        match answers.recv_timeout(left.min(TICK)) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
    }
    None
}

/// Shared by the threads of a test.
#[derive(Clone)]
struct Run {
    client: Arc<Client>,
    test: Test,
    seed: u64,
    first: u64,
    ended: Arc<AtomicBool>,
}

impl Run {
    fn answer(&self, number: usize, began: Instant) -> Answer {
        let Test { prompt_tokens, output_tokens, shared, .. } = self.test;
        let number = self.first + number as u64;
        let wanted = Wanted { prompt_tokens, output_tokens, shared, seed: self.seed, number };
        self.client.answer(wanted, began)
    }

    /// Starts a thread that sends one request after the other.
    fn spawn_closed(&self, next: &Arc<AtomicUsize>, answers: &Sender<Answer>) {
        let (run, next, sender) = (self.clone(), next.clone(), answers.clone());
        spawn(answers, move || {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= run.test.requests || run.ended.load(Ordering::SeqCst) {
                    return;
                }
                // Nobody receives after Ctrl-C.
                let _ = sender.send(run.answer(number, Instant::now()));
            }
        });
    }

    /// Starts a thread that sends one request.
    fn spawn_open(&self, number: usize, due: Instant, answers: &Sender<Answer>) {
        let (run, sender) = (self.clone(), answers.clone());
        spawn(answers, move || {
            let _ = sender.send(run.answer(number, due));
        });
    }
}

/// Starts a thread. If there can be none, its first request has failed.
fn spawn(answers: &Sender<Answer>, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name("request".to_owned());
    if let Err(e) = thread.spawn(work) {
        let _ = answers.send(Err(Failure::NoThread(e.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_lengths_and_load() {
        let test = Test {
            prompt_tokens: 1024,
            output_tokens: 128,
            shared: 0,
            load: Load::Closed(4),
            requests: 32,
        };
        assert_eq!(test.name(), "1024/128 c4");
        let open = Test { load: Load::Open(2.5), shared: 512, ..test };
        assert_eq!(open.name(), "1024/128 r2.5 shared 512");
    }
}
