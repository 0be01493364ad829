//! Requests for answers, and the steps of an answer.

use super::{AllowedTokens, LogprobsOptions, SamplingOptions, Timings, TokenLogprobs};
use crate::error::Error;
use crate::text::{Answer, AnswerFormat, SpecialTokens, StopStrings, ToolCall};

/// A prompt and the options of its answer.
#[derive(Clone, Debug, Default)]
pub struct GenerateRequest {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// Format of the answer ([`ModelText::chat`](super::ModelText::chat) returns both); the default
    /// makes the model's whole output the text.
    pub format: AnswerFormat,
    /// Options.
    pub options: GenerateOptions,
}

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
    /// Log-probabilities of the answer's tokens; `None`: none. They come with [`Delta::logprobs`].
    pub logprobs: Option<LogprobsOptions>,
    /// Number of most probable tokens beside each token of the prompt, whose log-probabilities come with
    /// [`Delta::prompt_logprobs`]; `None`: the prompt is not scored. A scored prompt is computed whole, and nothing of
    /// it is kept.
    pub prompt_logprobs: Option<u32>,
    /// A rule for the tokens that may be drawn; `None`: all.
    pub allowed: Option<AllowedTokens>,
    /// A LoRA adapter; `None`: the model alone.
    pub lora: Option<LoraChoice>,
    /// Whether generation goes on after end tokens.
    pub ignore_end: bool,
    /// Whether the whole prompt is computed, and nothing of it or the answer is kept for later prompts.
    pub no_cache: bool,
}

/// The LoRA adapter of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraChoice {
    /// Its name, as [`Engine::load_lora`](super::Engine::load_lora) was given it.
    pub name: String,
    /// Factor of its addition; `None`: the one that it was loaded with.
    pub scale: Option<f32>,
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
        if let Some(top) = self.prompt_logprobs {
            LogprobsOptions { top, ..LogprobsOptions::default() }.check()?;
        }
        self.logprobs.as_ref().map_or(Ok(()), LogprobsOptions::check)
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completed {
    /// Text, reasoning and tool calls.
    pub answer: Answer,
    /// Log-probabilities of all tokens, if the request asks for them.
    pub logprobs: Vec<TokenLogprobs>,
    /// Those of the prompt's tokens from the second on, if the request asks for them.
    pub prompt_logprobs: Vec<TokenLogprobs>,
    /// All tokens, the one that ends it included.
    pub tokens: Vec<u32>,
    /// Reason for its end.
    pub finish: Option<FinishReason>,
    /// Index of the stop string that ended it, in [`GenerateOptions::stop`].
    pub stopped_by: Option<usize>,
    /// Counts and times.
    pub timings: Timings,
}

impl Completed {
    /// Adds a step of the answer.
    pub fn append(&mut self, mut delta: Delta) {
        self.logprobs.extend(delta.logprobs.take());
        self.prompt_logprobs.append(&mut delta.prompt_logprobs);
        self.tokens.extend(delta.token);
        self.stopped_by = delta.stopped_by.or(self.stopped_by);
        self.answer.append(delta.into());
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Text that has become certain: whole characters, often empty.
    pub text: String,
    /// Reasoning before the answer, as certain as `text`.
    pub reasoning: String,
    /// Tool calls of the model, each once and whole.
    pub tool_calls: Vec<ToolCall>,
    /// The token drawn; absent after a chunk of the prompt.
    pub token: Option<u32>,
    /// Log-probabilities of `token`, if the request asks for them.
    pub logprobs: Option<TokenLogprobs>,
    /// Log-probabilities of the prompt's next tokens, if the request asks for them. The first one of the prompt has none.
    pub prompt_logprobs: Vec<TokenLogprobs>,
    /// Progress of the prefill, after each chunk of the prompt.
    pub prefill: Option<PrefillProgress>,
    /// Index of the stop string that ended the answer, in [`GenerateOptions::stop`].
    pub stopped_by: Option<usize>,
}

impl From<Delta> for Answer {
    fn from(delta: Delta) -> Self {
        let Delta { text: content, reasoning, tool_calls, .. } = delta;
        Self { content, reasoning, tool_calls }
    }
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
