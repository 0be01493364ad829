//! An answer in progress, as the engine sees it: from drawn tokens to text.

use futures_channel::mpsc::UnboundedSender;
use web_time::Instant;

use super::allowed::{AnswerRule, NoToken};
use super::answer::{Delta, FinishReason, PrefillProgress};
use super::loras::LoraOfSeq;
use super::stats::Timings;
use super::{LogprobsOptions, TokenLogprobs};
use crate::error::Error;
use crate::kernels::SampleParams;
use crate::text::{Answer, AnswerStream};

/// Message to a reader.
pub(super) enum Event {
    /// A step of the answer.
    Delta {
        delta: Delta,
        timings: Timings,
        /// Reason for its end, with the last step.
        finish: Option<FinishReason>,
    },
    /// The answer has failed.
    Failed(Error),
    /// The answer stands still until the application gives the engine another device.
    Interrupted(Error),
}

/// An answer in progress.
pub(super) struct Job {
    pub sample: SampleParams,
    pub prompt_len: usize,
    /// Most tokens of prompt and answer.
    pub most: usize,
    pub cache: bool,
    pub lora: Option<LoraOfSeq>,
    pub logprobs: Option<LogprobsOptions>,
    /// Number of most probable tokens beside each token of the prompt, if the prompt is scored.
    pub scored: Option<u32>,
    /// Scores that the reader has been sent.
    pub n_scores: usize,
    pub allowed: Option<AnswerRule>,
    /// Reason why the rule has no token to draw next.
    pub no_token: Option<NoToken>,
    /// Tokens read from the GPU.
    pub generated: usize,
    pub events: UnboundedSender<Event>,
    pub ignore_end: bool,
    /// Whether the token that ends the answer adds no text to it.
    pub hide_end: bool,
    pub text: Option<AnswerStream>,
    /// Whether a tool was called.
    pub called: bool,
    pub began: Instant,
    /// Absent while the request waits for others.
    pub prefill_began: Option<Instant>,
    pub first_token: Option<Instant>,
    pub timings: Timings,
}

impl Job {
    /// Notes that the prompt begins to run, and how much of it was cached.
    pub fn began_at(&mut self, cached: usize) {
        self.prefill_began.get_or_insert_with(Instant::now);
        self.timings.cache_n = cached;
        self.timings.prompt_n = self.prompt_len - cached;
    }

    /// Whether its next token is drawn by a mask of its own.
    pub fn has_mask(&self) -> bool {
        self.allowed.is_some() && self.no_token.is_none()
    }

    /// Tells the reader that the prompt is done up to `end`.
    pub fn prefilled(&mut self, end: usize) {
        // A sequence that was preempted computes its tokens again, which its reader need not know.
        if self.generated > 0 {
            return;
        }
        let elapsed = self.prefill_began.unwrap_or(self.began).elapsed();
        if end == self.prompt_len {
            self.timings.prompt_ms = elapsed.as_secs_f64() * 1000.0;
        }
        let prefill = PrefillProgress {
            total: self.prompt_len,
            cached: self.timings.cache_n,
            processed: end,
            time_ms: self.began.elapsed().as_millis() as u64,
        };
        self.send(Delta { prefill: Some(prefill), ..Delta::default() }, None);
    }

    /// Sends the scores of the prompt's rows from `start` to `end`, each that of the next token.
    pub fn took_scores(&mut self, start: usize, end: usize, scores: Vec<TokenLogprobs>) {
        // A sequence that was preempted scores its tokens again, and then its drawn tokens too.
        let new = scores.into_iter().skip(self.n_scores.saturating_sub(start));
        let most = self.prompt_len - 1 - self.n_scores;
        let prompt_logprobs: Vec<_> = new.take(most).collect();
        self.n_scores += prompt_logprobs.len();
        if !prompt_logprobs.is_empty() {
            self.send(Delta { prompt_logprobs, ..Delta::default() }, None);
        }
        self.prefilled(end);
    }

    /// Turns a drawn token into text. With the last token the reason for the end is returned. `ends`:
    /// whether the model ends answers with this token.
    pub fn drawn(
        &mut self,
        token: u32,
        ends: bool,
        logprobs: Option<TokenLogprobs>,
    ) -> Result<(Delta, Option<FinishReason>), Error> {
        self.note_time();
        self.generated += 1;
        let ends = ends && !self.ignore_end;
        let mut answer = Answer::default();
        let mut stopped = ends;
        if let Some(stream) = &mut self.text {
            let reasoned = stream.is_reasoning();
            // Padding rows of the embedding have no token; the mask keeps them from being drawn. An
            // end token adds no text, even if a file does not mark it as special.
            if !(ends && self.hide_end) {
                let (certain, stop) = stream.push(token)?;
                answer = certain;
                stopped |= stop;
            }
            self.timings.reasoning_n += usize::from(reasoned || stream.is_reasoning());
        }
        let last = stopped || self.prompt_len + self.generated == self.most;
        if let Some(stream) = self.text.as_mut().filter(|_| last) {
            answer.append(stream.finish());
        }
        let stopped_by = self.text.as_ref().and_then(AnswerStream::stopped_by);
        self.called |= !answer.tool_calls.is_empty();
        let finish = last.then_some(match (stopped, self.called) {
            (false, _) => FinishReason::Length,
            (true, true) => FinishReason::ToolCalls,
            (true, false) => FinishReason::Stop,
        });
        let Answer { content: text, reasoning, tool_calls } = answer;
        let token = Some(token);
        let rest = Delta::default();
        Ok((Delta { text, reasoning, tool_calls, token, logprobs, stopped_by, ..rest }, finish))
    }

    /// Ends the answer with an error.
    pub fn fail(self, error: Error) {
        let _ = self.events.unbounded_send(Event::Failed(error));
    }

    /// Tells the reader that the answer stands still.
    pub fn interrupt(&self, error: Error) {
        let _ = self.events.unbounded_send(Event::Interrupted(error));
    }

    /// Sends a step of the answer to its reader.
    pub fn send(&self, delta: Delta, finish: Option<FinishReason>) {
        // The reader may be gone.
        let event = Event::Delta { delta, timings: self.timings, finish };
        let _ = self.events.unbounded_send(event);
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
