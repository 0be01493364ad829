//! Generation of an answer: prefill, then one token at a time until the answer ends.

use std::collections::VecDeque;

use futures_util::stream::{self, Stream};
use web_time::Instant;

use super::runner::Output;
use super::sampling::random_seed;
use super::{SamplingOptions, Session, Timings};
use crate::error::Error;
use crate::gpu::{Readback, Submission};
use crate::kernels::{Batch, FROM_SLOT, NOT_FINITE, SampleParams};
use crate::text::{Answer, AnswerFormat, AnswerStream, SpecialTokens, StopStrings, ToolCall};

/// Options of an answer.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Sampling options; `None`: those that the model recommends.
    pub sampling: Option<SamplingOptions>,
    /// Most tokens of the answer; `None`: to the end of the context.
    pub max_tokens: Option<usize>,
    /// Strings that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Special tokens that appear in the text. In an answer to a conversation
    /// [`ToolCalls`](SpecialTokens::ToolCalls) leaves the model's calls in it verbatim, and
    /// [`Show`](SpecialTokens::Show) everything, reasoning too.
    pub specials: SpecialTokens,
    /// Whether generation goes on after end tokens.
    pub ignore_end: bool,
}

impl GenerateOptions {
    /// Checks every option. The model's own recommendation was checked when it was read.
    ///
    /// # Errors
    /// [`Error::Option`] or [`Error::Text`] for the first one that is NaN or out of its range.
    pub fn check(&self) -> Result<(), Error> {
        self.sampling.as_ref().map_or(Ok(()), SamplingOptions::check)?;
        if self.max_tokens == Some(0) {
            let need = "at least 1".to_owned();
            return Err(Error::Option { option: "max_tokens", got: "0".to_owned(), need });
        }
        StopStrings::new(&self.stop)?;
        Ok(())
    }
}

/// Reason for an answer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string did.
    Stop,
    /// The model ended it in order to call tools.
    ToolCalls,
    /// `max_tokens`, or the end of the context.
    Length,
}

/// Result of one step of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Text that has become certain: whole characters, often empty.
    pub text: String,
    /// Reasoning before the answer, as certain as `text`.
    pub reasoning: String,
    /// Tool calls of the model, each once and whole.
    pub tool_calls: Vec<ToolCall>,
    /// The token drawn; absent after a chunk of the prompt.
    pub token: Option<u32>,
}

/// Progress of the prefill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefillProgress {
    /// Tokens of the prompt.
    pub total: usize,
    /// Of these, tokens whose state was cached.
    pub cached: usize,
    /// Tokens done, the cached ones included.
    pub processed: usize,
    /// Milliseconds since the answer began.
    pub time_ms: u64,
}

/// A token that was submitted and that the host has not read.
struct InFlight {
    submission: Submission,
    readback: usize,
}

enum Phase {
    Prefill,
    Decode,
    Ended,
}

type OnPrefill<'s> = Box<dyn FnMut(PrefillProgress) + Send + 's>;

/// An answer in progress. Dropping it stops it; the session keeps the tokens that were read.
pub struct Generation<'s> {
    session: &'s mut Session,
    prompt: Vec<u32>,
    sample: SampleParams,
    /// Tokens that may still be drawn.
    budget: usize,
    ignore_end: bool,
    /// Whether the token that ends the answer adds no text to it.
    hide_end: bool,
    text: Option<AnswerStream>,
    /// Whether a tool was called.
    called: bool,
    on_prefill: Option<OnPrefill<'s>>,
    phase: Phase,
    /// Tokens submitted ahead of the one that is read.
    read_ahead: usize,
    in_flight: VecDeque<InFlight>,
    readbacks: Vec<Readback>,
    next_readback: usize,
    /// Position of the next row to submit.
    position: usize,
    /// Tokens read so far.
    generated: Vec<u32>,
    began: Instant,
    first_token: Option<Instant>,
    timings: Timings,
    finish: Option<FinishReason>,
}

impl<'s> Generation<'s> {
    pub(super) fn new(
        session: &'s mut Session,
        prompt: &[u32],
        format: AnswerFormat,
        options: &GenerateOptions,
    ) -> Result<Self, Error> {
        let engine = session.engine().clone();
        options.check()?;
        let sampling = match &options.sampling {
            Some(sampling) => sampling.clone(),
            None => engine.recommended_sampling(),
        };
        sampling.check_tokens(engine.config().vocab_size)?;
        let stops = StopStrings::new(&options.stop)?;
        let text = match engine.tokenizer() {
            Ok(tokenizer) => Some(AnswerStream::new(tokenizer, format, options.specials, stops)),
            Err(e) if !options.stop.is_empty() => return Err(e),
            Err(_) => None,
        };
        let room = engine.context_length() - prompt.len();
        let read_ahead = engine.read_ahead() as usize;
        let cached = session.reuse(prompt);
        let seed = sampling.seed.unwrap_or_else(random_seed);
        Ok(Self {
            sample: sampling.params(seed),
            budget: options.max_tokens.unwrap_or(room).min(room),
            ignore_end: options.ignore_end,
            hide_end: options.specials != SpecialTokens::Show,
            text,
            called: false,
            on_prefill: None,
            phase: Phase::Prefill,
            read_ahead,
            in_flight: VecDeque::new(),
            readbacks: Vec::new(),
            next_readback: 0,
            position: cached,
            generated: Vec::new(),
            began: Instant::now(),
            first_token: None,
            timings: Timings {
                cache_n: cached,
                prompt_n: prompt.len() - cached,
                seed,
                ..Timings::default()
            },
            finish: None,
            prompt: prompt.to_vec(),
            session,
        })
    }

    /// Calls `f` after each chunk of the prompt.
    #[must_use]
    pub fn on_prefill(mut self, f: impl FnMut(PrefillProgress) + Send + 's) -> Self {
        self.on_prefill = Some(Box::new(f));
        self
    }

    /// The next token and the text it makes certain; `None` when the answer has ended. After each
    /// chunk of a long prompt but the last an empty delta comes, so that a caller can stop there.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device is lost, [`Error::NotFinite`] if the model's output is broken.
    /// The answer has ended then.
    pub async fn next(&mut self) -> Option<Result<Delta, Error>> {
        match self.next_delta().await {
            Ok(delta) => delta.map(Ok),
            Err(e) => {
                self.phase = Phase::Ended;
                self.in_flight.clear();
                // The state on the device is unknown after an error.
                self.session.clear();
                Some(Err(e))
            }
        }
    }

    /// The answer as a stream, for use with combinators. Dropping it stops the answer.
    pub fn into_stream(self) -> impl Stream<Item = Result<Delta, Error>> + 's {
        stream::unfold(self, |mut generation| async move {
            generation.next().await.map(|delta| (delta, generation))
        })
    }

    /// The text of the whole answer.
    ///
    /// # Errors
    /// As [`Generation::next`].
    pub async fn text(&mut self) -> Result<String, Error> {
        Ok(self.answer().await?.content)
    }

    /// The whole answer: its text, its reasoning and its tool calls.
    ///
    /// # Errors
    /// As [`Generation::next`].
    pub async fn answer(&mut self) -> Result<Answer, Error> {
        let mut all = Answer::default();
        while let Some(delta) = self.next().await {
            let Delta { text: content, reasoning, tool_calls, .. } = delta?;
            all.append(Answer { content, reasoning, tool_calls });
        }
        Ok(all)
    }

    /// Reason for the answer's end; `None` before it.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Counts and times so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.timings
    }

    async fn next_delta(&mut self) -> Result<Option<Delta>, Error> {
        match self.phase {
            Phase::Ended => return Ok(None),
            Phase::Prefill => {
                self.prefill_chunk().await?;
                if self.position < self.prompt.len() {
                    return Ok(Some(Delta::default()));
                }
                self.timings.prompt_ms = self.began.elapsed().as_secs_f64() * 1000.0;
                self.phase = Phase::Decode;
            }
            Phase::Decode => {}
        }
        while self.in_flight.len() <= self.read_ahead && self.budget > self.in_flight.len() {
            self.submit_decode().await?;
        }
        let Some(next) = self.in_flight.pop_front() else { return Ok(None) };
        let read = self.readbacks[next.readback].read::<u32>(Some(&next.submission)).await?;
        let token = read.first().copied().unwrap_or(NOT_FINITE);
        if token == NOT_FINITE {
            return Err(Error::NotFinite { position: self.prompt.len() + self.generated.len() });
        }
        self.note_time();
        self.budget -= 1;
        self.generated.push(token);
        self.report_to_session();
        self.delta_of(token)
    }

    /// Turns a token into text and decides whether it is the last.
    fn delta_of(&mut self, token: u32) -> Result<Option<Delta>, Error> {
        let ends = !self.ignore_end && self.session.engine().is_end(token);
        let mut answer = Answer::default();
        let mut stopped = ends;
        if let Some(stream) = &mut self.text {
            // Padding rows of the embedding have no token; the mask keeps them from being drawn. An
            // end token adds no text, even if a file does not mark it as special.
            if !(ends && self.hide_end) {
                let (certain, stop) = stream.push(token)?;
                answer = certain;
                stopped |= stop;
            }
        }
        let last = stopped || self.budget == 0;
        if let Some(stream) = self.text.as_mut().filter(|_| last) {
            answer.append(stream.finish());
        }
        self.called |= !answer.tool_calls.is_empty();
        if last {
            self.finish = Some(match (stopped, self.called) {
                (false, _) => FinishReason::Length,
                (true, true) => FinishReason::ToolCalls,
                (true, false) => FinishReason::Stop,
            });
            self.phase = Phase::Ended;
            self.in_flight.clear();
        }
        Ok(Some(Delta {
            text: answer.content,
            reasoning: answer.reasoning,
            tool_calls: answer.tool_calls,
            token: Some(token),
        }))
    }

    /// Runs the next chunk of the prompt; the last one draws the first token.
    async fn prefill_chunk(&mut self) -> Result<(), Error> {
        let chunk = self.session.engine().inner.runner.max_rows as usize;
        let end = self.prompt.len().min(self.position + chunk);
        let started = Instant::now();
        let submission = self.submit_prompt(self.position..end).await?;
        let rows = (end - self.position) as u32;
        self.position = end;
        self.session.engine().device().wait_for(&submission).await?;
        let seconds = started.elapsed().as_secs_f64();
        self.session.engine().inner.runner.learn(rows, seconds);
        if let Some(f) = &mut self.on_prefill {
            f(PrefillProgress {
                total: self.prompt.len(),
                cached: self.timings.cache_n,
                processed: end,
                time_ms: self.began.elapsed().as_millis() as u64,
            });
        }
        Ok(())
    }

    async fn submit_prompt(&mut self, range: std::ops::Range<usize>) -> Result<Submission, Error> {
        self.session.reserve(range.end)?;
        let last = range.end == self.prompt.len();
        let logit_rows = if last { vec![range.len() as u32 - 1] } else { Vec::new() };
        let tokens = self.prompt[range.clone()].iter().copied();
        let generated_from = self.prompt.len();
        let rows =
            self.session.rows(range.start, tokens, generated_from, self.sample.clone(), logit_rows);
        let target = if last { Some(self.free_readback().await?) } else { None };
        let batch = Batch { seqs: vec![rows] };
        self.session.engine().inner.runner.learn_first(&batch, true).await?;
        let submission = self.submit(&batch, target)?;
        self.session.advance(&self.prompt[range.clone()], range.end);
        Ok(submission)
    }

    /// Submits a decode step: its row takes the token that the step before drew on the GPU.
    async fn submit_decode(&mut self) -> Result<(), Error> {
        self.session.reserve(self.position + 1)?;
        let generated_from = self.prompt.len();
        let rows = self.session.rows(
            self.position,
            std::iter::once(FROM_SLOT),
            generated_from,
            self.sample.clone(),
            vec![0],
        );
        let target = self.free_readback().await?;
        self.submit(&Batch { seqs: vec![rows] }, Some(target))?;
        self.position += 1;
        self.report_to_session();
        Ok(())
    }

    /// Tells the session which tokens have state on the GPU: those that were read and fed back. Up
    /// to `read_ahead` more may have been fed back unread.
    fn report_to_session(&mut self) {
        let known = self.position.min(self.prompt.len() + self.generated.len());
        let start = self.session.tokens().len().max(self.prompt.len());
        if start <= known {
            let fed = &self.generated[start - self.prompt.len()..known - self.prompt.len()];
            self.session.advance(fed, self.position);
        }
    }

    fn submit(&mut self, batch: &Batch, target: Option<usize>) -> Result<Submission, Error> {
        let engine = self.session.engine().clone();
        let slot = self.session.slot();
        let readback = target.map(|i| (&self.readbacks[i], Output::Token(slot)));
        let submission = engine.inner.runner.submit(batch, true, readback)?;
        if let Some(readback) = target {
            self.in_flight.push_back(InFlight { submission: submission.clone(), readback });
        }
        Ok(submission)
    }

    /// Index of a readback buffer that is not in flight.
    async fn free_readback(&mut self) -> Result<usize, Error> {
        if self.readbacks.len() < self.read_ahead + 2 {
            let device = self.session.engine().device().clone();
            self.readbacks.push(device.readback_for::<u32>(1).await?);
            return Ok(self.readbacks.len() - 1);
        }
        self.next_readback = (self.next_readback + 1) % self.readbacks.len();
        Ok(self.next_readback)
    }

    fn note_time(&mut self) {
        self.timings.predicted_n += 1;
        match self.first_token {
            None => {
                self.first_token = Some(Instant::now());
                self.timings.first_token_ms = self.began.elapsed().as_secs_f64() * 1000.0;
            }
            Some(first) => {
                self.timings.predicted_ms = first.elapsed().as_secs_f64() * 1000.0;
            }
        }
    }
}
