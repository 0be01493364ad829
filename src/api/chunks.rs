//! Streamed answers as OpenAI's `chat.completion.chunk`.

use serde_json::{Value, json};

use super::fields::Streaming;
use super::reply::{ReplyHead, add_usage, call_id, finish_json, timings_json, usage_json};
use crate::engine::{Delta, Engine, FinishReason, Timings};

/// Writes the chunks of a streamed reply. For each answer: one with the role, those of its steps, and one with the
/// reason for its end. One with the token counts follows, if the request asks for it.
pub struct ChatChunks {
    engine: Engine,
    head: ReplyHead,
    streaming: Streaming,
    answers: Vec<Streamed>,
}

/// The part of an answer that was streamed.
#[derive(Clone, Copy, Default)]
struct Streamed {
    timings: Timings,
    calls: usize,
}

impl ChatChunks {
    /// Chunks of a reply with `n` answers.
    #[must_use]
    pub fn new(engine: &Engine, head: ReplyHead, streaming: Streaming, n: usize) -> Self {
        let answers = vec![Streamed::default(); n];
        Self { engine: engine.clone(), head, streaming, answers }
    }

    /// The first chunk of an answer, which has the role. Clients fail without it.
    #[must_use]
    pub fn begin(&self, answer: usize) -> Value {
        let delta = json!({ "role": "assistant", "content": "" });
        self.chunk(answer, delta, Value::Null, None)
    }

    /// The chunks of a step, often none.
    pub fn step(&mut self, answer: usize, delta: &Delta, timings: &Timings) -> Vec<Value> {
        let id = self.head.id.clone();
        let Some(streamed) = self.answers.get_mut(answer) else { return Vec::new() };
        streamed.timings = *timings;
        let first_call = streamed.calls;
        streamed.calls += delta.tool_calls.len();
        let mut piece = self.engine.piece_fields(delta);
        let mut logprobs = piece.shift_remove("logprobs").unwrap_or_default();
        // In a stream, calls have more fields.
        piece.shift_remove("tool_calls");
        let mut chunks = Vec::new();
        if !piece.is_empty() || (!logprobs.is_null() && delta.tool_calls.is_empty()) {
            chunks.push(self.chunk(answer, piece.into(), logprobs.take(), None));
        }
        for (index, call) in (first_call..).zip(&delta.tool_calls) {
            // The id and name come once; the arguments follow, as in OpenAI's streams.
            let mut begin = call.to_json(&call_id(&id, answer, index));
            begin["index"] = index.into();
            begin["function"]["arguments"] = "".into();
            let more = json!({ "index": index, "function": { "arguments": call.arguments } });
            for call in [begin, more] {
                let delta = json!({ "tool_calls": [call] });
                chunks.push(self.chunk(answer, delta, logprobs.take(), None));
            }
        }
        chunks
    }

    /// The last chunk of an answer.
    pub fn end(&mut self, answer: usize, finish: Option<FinishReason>, timings: &Timings) -> Value {
        if let Some(streamed) = self.answers.get_mut(answer) {
            streamed.timings = *timings;
        }
        let mut chunk = self.chunk(answer, json!({}), Value::Null, finish);
        chunk["timings"] = timings_json(timings);
        chunk
    }

    /// The chunk with the token counts, after all answers have ended.
    #[must_use]
    pub fn usage(&self) -> Option<Value> {
        let mut chunk = self.chunk(0, Value::Null, Value::Null, None);
        chunk["choices"] = json!([]);
        chunk["usage"] = self.counts();
        self.streaming.include_usage.then_some(chunk)
    }

    fn counts(&self) -> Value {
        let timings: Vec<Timings> = self.answers.iter().map(|one| one.timings).collect();
        usage_json(&timings, timings.len())
    }

    fn chunk(
        &self,
        answer: usize,
        delta: Value,
        logprobs: Value,
        finish: Option<FinishReason>,
    ) -> Value {
        let choice = json!({
            "index": answer,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_json(finish),
        });
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", self.head.id),
            "object": "chat.completion.chunk",
            "created": self.head.created,
            "model": self.head.model,
            "choices": [choice],
        });
        add_usage(&mut chunk, self.streaming, || self.counts());
        chunk
    }
}
