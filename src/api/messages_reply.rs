//! Answers and errors in the format of Anthropic's Messages API.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::messages::MessagesRequest;
use super::reply::ReplyHead;
use crate::engine::{Completed, Delta, FinishReason, Timings};
use crate::text::ToolCall;

/// A whole answer.
#[derive(Debug, Serialize)]
pub struct MessagesAnswer {
    id: String,
    r#type: &'static str,
    role: &'static str,
    model: String,
    content: Vec<Block>,
    stop_reason: Value,
    stop_sequence: Option<String>,
    usage: Value,
}

/// A block of an answer.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Thinking { thinking: String, signature: &'static str },
    Text { text: String },
    // The model's own text, so that numbers of any length stay exact.
    ToolUse { id: String, name: String, input: Box<RawValue> },
}

/// Writes the reply to a request: a whole answer, or the events of a streamed one.
pub struct MessagesReply {
    head: ReplyHead,
    shows_thinking: bool,
    stop_sequences: Vec<String>,
    prompt_tokens: usize,
    /// Blocks that have begun.
    blocks: usize,
    open: Option<Open>,
    calls: usize,
    stopped_by: Option<usize>,
}

/// The block of a stream that has not ended.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Thinking,
    Text,
}

impl MessagesReply {
    /// The reply to a request with a prompt of this many tokens.
    #[must_use]
    pub fn new(head: ReplyHead, request: &MessagesRequest, prompt_tokens: usize) -> Self {
        Self {
            head,
            shows_thinking: request.shows_thinking,
            stop_sequences: request.stop_sequences.clone(),
            prompt_tokens,
            blocks: 0,
            open: None,
            calls: 0,
            stopped_by: None,
        }
    }

    /// The whole answer.
    #[must_use]
    pub fn whole(mut self, completed: Completed) -> MessagesAnswer {
        let answer = completed.answer;
        let mut content = Vec::new();
        if self.shows_thinking && !answer.reasoning.is_empty() {
            content.push(Block::Thinking { thinking: answer.reasoning, signature: "" });
        }
        if !answer.content.is_empty() {
            content.push(Block::Text { text: answer.content });
        }
        for ToolCall { name, arguments } in answer.tool_calls {
            // The arguments of a call are an object as JSON.
            let input = RawValue::from_string(arguments);
            let input = input.unwrap_or_else(|_| RawValue::NULL.to_owned());
            content.push(Block::ToolUse { id: self.call_id(), name, input });
        }
        self.stopped_by = completed.stopped_by;
        let (stop_reason, stop_sequence) = self.stop(completed.finish);
        MessagesAnswer {
            id: self.id(),
            r#type: "message",
            role: "assistant",
            model: self.head.model,
            content,
            stop_reason,
            stop_sequence,
            usage: usage(&completed.timings),
        }
    }

    /// The event before the first step of a stream. The cached part of the prompt is not known yet.
    #[must_use]
    pub fn begin(&self) -> Value {
        let timings = Timings { prompt_n: self.prompt_tokens, ..Timings::default() };
        let message = json!({
            "id": self.id(),
            "type": "message",
            "role": "assistant",
            "model": self.head.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage(&timings),
        });
        json!({ "type": "message_start", "message": message })
    }

    /// The events of a step, often none.
    pub fn step(&mut self, delta: &Delta) -> Vec<Value> {
        let mut events = Vec::new();
        self.stopped_by = delta.stopped_by.or(self.stopped_by);
        if self.shows_thinking && !delta.reasoning.is_empty() {
            let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
            self.open(Open::Thinking, block, &mut events);
            let delta = json!({ "type": "thinking_delta", "thinking": delta.reasoning });
            events.push(self.delta(delta));
        }
        if !delta.text.is_empty() {
            self.open(Open::Text, json!({ "type": "text", "text": "" }), &mut events);
            events.push(self.delta(json!({ "type": "text_delta", "text": delta.text })));
        }
        for call in &delta.tool_calls {
            self.close(&mut events);
            let id = self.call_id();
            let block = json!({ "type": "tool_use", "id": id, "name": call.name, "input": {} });
            events.push(self.start(block));
            let json = &call.arguments;
            let delta = json!({ "type": "input_json_delta", "partial_json": json });
            events.push(self.delta(delta));
            events.push(self.stop_block());
        }
        events
    }

    /// The events at the end of a stream.
    pub fn end(&mut self, finish: Option<FinishReason>, timings: &Timings) -> Vec<Value> {
        let mut events = Vec::new();
        self.close(&mut events);
        let (stop_reason, stop_sequence) = self.stop(finish);
        let delta = json!({ "stop_reason": stop_reason, "stop_sequence": stop_sequence });
        let usage = usage(timings);
        events.push(json!({ "type": "message_delta", "delta": delta, "usage": usage }));
        events.push(json!({ "type": "message_stop" }));
        events
    }

    /// Begins a block, unless one of its kind is open.
    fn open(&mut self, kind: Open, block: Value, events: &mut Vec<Value>) {
        if self.open != Some(kind) {
            self.close(events);
            events.push(self.start(block));
            self.open = Some(kind);
        }
    }

    /// Ends the open block.
    fn close(&mut self, events: &mut Vec<Value>) {
        if self.open.take().is_some() {
            events.push(self.stop_block());
        }
    }

    fn start(&mut self, block: Value) -> Value {
        self.blocks += 1;
        json!({ "type": "content_block_start", "index": self.index(), "content_block": block })
    }

    fn delta(&self, delta: Value) -> Value {
        json!({ "type": "content_block_delta", "index": self.index(), "delta": delta })
    }

    fn stop_block(&self) -> Value {
        json!({ "type": "content_block_stop", "index": self.index() })
    }

    /// Index of the block that began last.
    fn index(&self) -> usize {
        self.blocks.saturating_sub(1)
    }

    fn id(&self) -> String {
        format!("msg_{}", self.head.id)
    }

    /// The id of the next call.
    fn call_id(&mut self) -> String {
        self.calls += 1;
        format!("toolu_{}_{}", self.head.id, self.calls)
    }

    /// `stop_reason` and `stop_sequence`.
    fn stop(&self, finish: Option<FinishReason>) -> (Value, Option<String>) {
        let sequence = self.stopped_by.and_then(|index| self.stop_sequences.get(index));
        match (finish, sequence) {
            (None, _) => (Value::Null, None),
            (Some(FinishReason::Length), _) => ("max_tokens".into(), None),
            (Some(FinishReason::ToolCalls), _) => ("tool_use".into(), None),
            (Some(FinishReason::Stop), Some(text)) => ("stop_sequence".into(), Some(text.clone())),
            (Some(FinishReason::Stop), None) => ("end_turn".into(), None),
        }
    }
}

/// `usage` of an answer. Its three counts of the prompt add up.
fn usage(timings: &Timings) -> Value {
    json!({
        "input_tokens": timings.prompt_n,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": timings.cache_n,
        "output_tokens": timings.predicted_n,
        "output_tokens_details": { "thinking_tokens": timings.reasoning_n },
    })
}

/// An error of this status in Anthropic's shape. `error` has OpenAI's.
#[must_use]
pub fn messages_error(status: u16, error: &Value) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let message = &error["error"]["message"];
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}
