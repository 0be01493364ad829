//! Continued texts as OpenAI's `text_completion`, whole and in chunks.

use serde_json::{Map, Value, json};

use super::completion::CompletionRequest;
use super::reply::{ReplyHead, add_usage, finish_json, timings_json, usage_json};
use crate::engine::{Completed, Delta, Engine, FinishReason, Timings, TokenLogprobs};

/// Writes the reply to a request.
pub struct CompletionReply {
    engine: Engine,
    head: ReplyHead,
    /// The prompt of each answer.
    prompts: Vec<Vec<u32>>,
    request: CompletionRequest,
    /// Of each answer, the characters that its text has so far.
    lengths: Vec<usize>,
    timings: Vec<Timings>,
    /// Of each answer, the scores of its prompt, until they are written.
    scores: Vec<Vec<TokenLogprobs>>,
}

/// `logprobs` of a choice.
#[derive(Default)]
struct Scored {
    tokens: Vec<String>,
    logprobs: Vec<Value>,
    top: Vec<Value>,
    offsets: Vec<usize>,
}

impl Scored {
    fn json(self) -> Value {
        json!({
            "tokens": self.tokens,
            "token_logprobs": self.logprobs,
            "top_logprobs": self.top,
            "text_offset": self.offsets,
        })
    }
}

impl CompletionReply {
    /// The reply to a request whose answers have these prompts.
    #[must_use]
    pub fn new(
        engine: &Engine,
        head: ReplyHead,
        request: CompletionRequest,
        prompts: Vec<Vec<u32>>,
    ) -> Self {
        let n = prompts.len();
        Self {
            engine: engine.clone(),
            head,
            request,
            lengths: vec![0; n],
            timings: vec![Timings::default(); n],
            scores: vec![Vec::new(); n],
            prompts,
        }
    }

    /// The whole reply.
    #[must_use]
    pub fn whole(mut self, answers: &[Completed]) -> Value {
        let choices: Vec<Value> =
            answers.iter().enumerate().map(|(index, one)| self.choice(index, one)).collect();
        self.timings = answers.iter().map(|one| one.timings).collect();
        let first = self.timings.first().copied().unwrap_or_default();
        let mut reply = self.reply(choices);
        reply["usage"] = self.usage();
        reply["timings"] = timings_json(&first);
        reply
    }

    fn choice(&mut self, index: usize, one: &Completed) -> Value {
        let mut scored = Scored::default();
        let mut text = String::new();
        if self.request.echo {
            text.push_str(&self.prompt(index, &one.prompt_logprobs, &mut scored));
        }
        if !self.request.only_prompts() {
            text.push_str(&one.answer.content);
            for logprobs in &one.logprobs {
                self.score(index, logprobs, &mut scored);
            }
        }
        json!({
            "index": index,
            "text": text,
            "logprobs": self.request.logprobs.map(|_| scored.json()),
            "finish_reason": finish_json(self.finish(one.finish)),
        })
    }

    /// The chunks of a step: the prompt with its scores before the first token, and the text.
    pub fn step(&mut self, answer: usize, delta: &Delta, timings: &Timings) -> Vec<Value> {
        let begins = self.timings.get(answer).is_some_and(|before| before.predicted_n == 0);
        if let Some(scores) = self.scores.get_mut(answer) {
            scores.extend_from_slice(&delta.prompt_logprobs);
        }
        if delta.token.is_none() {
            return Vec::new();
        }
        if let Some(kept) = self.timings.get_mut(answer) {
            *kept = *timings;
        }
        let (mut scored, mut text) = (Scored::default(), String::new());
        if begins && self.request.echo {
            let scores = self.scores.get_mut(answer).map(std::mem::take).unwrap_or_default();
            text = self.prompt(answer, &scores, &mut scored);
        }
        if !self.request.only_prompts() {
            text.push_str(&delta.text);
            if let Some(logprobs) = &delta.logprobs {
                self.score(answer, logprobs, &mut scored);
            }
        }
        if text.is_empty() && scored.tokens.is_empty() {
            return Vec::new();
        }
        let logprobs = self.request.logprobs.map(|_| scored.json());
        vec![self.chunk(json!({
            "index": answer, "text": text, "logprobs": logprobs, "finish_reason": null,
        }))]
    }

    /// The last chunk of an answer.
    pub fn end(&mut self, answer: usize, finish: Option<FinishReason>, timings: &Timings) -> Value {
        if let Some(kept) = self.timings.get_mut(answer) {
            *kept = *timings;
        }
        let finish_reason = finish_json(self.finish(finish));
        let choice = json!({
            "index": answer, "text": "", "logprobs": null, "finish_reason": finish_reason,
        });
        let mut chunk = self.chunk(choice);
        chunk["timings"] = timings_json(timings);
        chunk
    }

    /// The chunk with the token counts, after all answers have ended.
    #[must_use]
    pub fn usage_chunk(&self) -> Option<Value> {
        let mut chunk = self.reply(Vec::new());
        chunk["usage"] = self.usage();
        self.request.streaming.include_usage.then_some(chunk)
    }

    fn chunk(&self, choice: Value) -> Value {
        let mut chunk = self.reply(vec![choice]);
        add_usage(&mut chunk, self.request.streaming, || self.usage());
        chunk
    }

    fn reply(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": format!("cmpl-{}", self.head.id),
            "object": "text_completion",
            "created": self.head.created,
            "model": self.head.model,
            "choices": choices,
        })
    }

    /// The token counts of all answers.
    fn usage(&self) -> Value {
        let mut all: Vec<Timings> = self.timings.clone();
        if self.request.only_prompts() {
            all.iter_mut().for_each(|timings| timings.predicted_n = 0);
        }
        usage_json(&all, self.request.n)
    }

    /// A prompt alone has no end of its own.
    fn finish(&self, finish: Option<FinishReason>) -> Option<FinishReason> {
        if self.request.only_prompts() { Some(FinishReason::Length) } else { finish }
    }

    /// The text of an answer's prompt. Its tokens are added to `scored`, the first one without a score.
    fn prompt(&mut self, answer: usize, scores: &[TokenLogprobs], scored: &mut Scored) -> String {
        let Some(prompt) = self.prompts.get(answer).cloned() else { return String::new() };
        let Ok(tokenizer) = self.engine.tokenizer() else { return String::new() };
        // The beginning-of-text token has no text; other special tokens were written by the caller.
        let bos = tokenizer.encode("", true).ok().and_then(|ids| ids.first().copied());
        let said =
            if bos.is_some() && bos == prompt.first().copied() { &prompt[1..] } else { &prompt };
        let text = tokenizer.decode(said, false).unwrap_or_default();
        if self.request.logprobs.is_some() {
            let Some(first) = prompt.first() else { return text };
            let length = if said.len() < prompt.len() { 0 } else { self.length(*first) };
            self.add(answer, *first, length, scored);
            scored.logprobs.push(Value::Null);
            scored.top.push(Value::Null);
            for score in scores {
                self.score(answer, score, scored);
            }
        }
        text
    }

    /// Adds a token and its scores.
    fn score(&mut self, answer: usize, logprobs: &TokenLogprobs, scored: &mut Scored) {
        let length = match self.engine.is_end(logprobs.token) {
            true => 0,
            false => self.length(logprobs.token),
        };
        self.add(answer, logprobs.token, length, scored);
        scored.logprobs.push(logprobs.logprob.into());
        let mut top: Map<String, Value> = Map::new();
        // Tokens with one text share an entry, which has the larger value.
        let listed = logprobs.top.iter().copied();
        for (token, value) in listed.chain([(logprobs.token, logprobs.logprob)]) {
            let entry = top.entry(self.token_text(token)).or_insert(value.into());
            if entry.as_f64().is_some_and(|other| other < f64::from(value)) {
                *entry = value.into();
            }
        }
        scored.top.push(top.into());
    }

    fn add(&mut self, answer: usize, token: u32, length: usize, scored: &mut Scored) {
        scored.tokens.push(self.token_text(token));
        if let Some(offset) = self.lengths.get_mut(answer) {
            scored.offsets.push(*offset);
            *offset += length;
        }
    }

    /// Characters of a token.
    fn length(&self, token: u32) -> usize {
        self.token_text(token).chars().count()
    }

    fn token_text(&self, token: u32) -> String {
        let bytes = self.engine.tokenizer().ok().and_then(|t| t.token_bytes(token));
        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
    }
}
