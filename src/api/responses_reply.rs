//! Answers in the format of OpenAI's Responses API.

use serde_json::{Map, Value, json};

use super::reply::{ReplyHead, call_id};
use super::responses::{Namespaced, ResponsesRequest};
use super::turns::Turn;
use crate::engine::{Completed, Delta, Engine, FinishReason, Timings};
use crate::error::Error;
use crate::text::{Answer, ToolCall};

/// Writes the reply to a request: a whole response, or the events of a streamed one.
pub struct ResponsesReply {
    head: ReplyHead,
    /// Fields of the response that repeat the request's, as JSON: parsed, they would take many times as many bytes
    /// while the answer waits.
    echo: String,
    namespaces: Vec<Namespaced>,
    /// The items that have ended.
    output: Vec<Value>,
    open: Option<Open>,
    /// The text of the open item.
    text: String,
    calls: usize,
    events: u64,
    /// The conversation as a JSON list, if the response is stored.
    messages: Option<String>,
    turn: Turn,
    response: Value,
}

/// A stored response.
pub struct StoredResponse {
    /// Its id.
    pub id: String,
    /// The response as JSON.
    pub response: String,
    /// The messages of the conversation up to its end as JSON, for [`ResponsesRequest::read`].
    pub messages: String,
}

/// The item that has not ended.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Reasoning,
    Message,
}

impl Open {
    /// Beginning of the names of its events.
    fn events(self) -> &'static str {
        match self {
            Self::Reasoning => "response.reasoning_text",
            Self::Message => "response.output_text",
        }
    }

    fn part(self, text: &str) -> Value {
        match self {
            Self::Reasoning => json!({ "type": "reasoning_text", "text": text }),
            Self::Message => {
                json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
            }
        }
    }

    fn item(self, id: &str, status: &str, content: &[Value]) -> Value {
        match self {
            Self::Reasoning => json!({
                "id": id, "type": "reasoning", "summary": [], "content": content, "status": status,
            }),
            Self::Message => json!({
                "id": id, "type": "message", "role": "assistant", "content": content, "status": status,
            }),
        }
    }
}

impl ResponsesReply {
    /// The reply to a request on `engine`.
    ///
    /// # Errors
    /// As [`ChatRequest::options`](super::ChatRequest::options).
    pub fn new(engine: &Engine, head: ReplyHead, request: ResponsesRequest) -> Result<Self, Error> {
        let mut echo = request.echo;
        let own = request.chat.options(engine)?.sampling.unwrap_or_default();
        for (key, value) in [
            ("temperature", own.temperature),
            ("top_p", own.top_p),
            ("presence_penalty", own.presence_penalty),
            ("frequency_penalty", own.frequency_penalty),
        ] {
            // By its decimal digits, since 0.1 with 32 bits is not 0.1 with 64.
            let value = value.to_string().parse::<f64>().unwrap_or(f64::from(value));
            let field = echo.entry(key).or_insert(Value::Null);
            if field.is_null() {
                *field = value.into();
            }
        }
        for (key, value) in [
            ("top_logprobs", json!(0)),
            ("truncation", json!("disabled")),
            ("background", json!(false)),
            ("service_tier", json!("default")),
        ] {
            echo.insert(key.to_owned(), value);
        }
        let messages = request.chat.conversation.messages.into_iter().skip(request.instructions);
        let messages =
            request.stores.then(|| Value::from_iter(messages.map(Value::from)).to_string());
        Ok(Self {
            head,
            echo: Value::Object(echo).to_string(),
            namespaces: request.namespaces,
            output: Vec::new(),
            open: None,
            text: String::new(),
            calls: 0,
            events: 0,
            messages,
            turn: Turn::default(),
            response: Value::Null,
        })
    }

    /// The whole response, which ended at this time in seconds since 1970.
    pub fn whole(&mut self, completed: Completed, now: u64) -> Value {
        let Answer { content: text, reasoning, tool_calls } = completed.answer;
        self.step(&Delta { text, reasoning, tool_calls, ..Delta::default() });
        self.end(completed.finish, &completed.timings, now);
        self.response.clone()
    }

    /// The events before the first step of a stream.
    pub fn begin(&mut self) -> Vec<Value> {
        let response = self.object("in_progress", None);
        let created = self.event("response.created", json!({ "response": response }));
        vec![created, self.event("response.in_progress", json!({ "response": response }))]
    }

    /// The events of a step, often none.
    pub fn step(&mut self, delta: &Delta) -> Vec<Value> {
        let mut events = Vec::new();
        self.turn.reasoning.push_str(&delta.reasoning);
        self.turn.content.push_str(&delta.text);
        self.add(Open::Reasoning, &delta.reasoning, &mut events);
        self.add(Open::Message, &delta.text, &mut events);
        for call in &delta.tool_calls {
            self.close("completed", &mut events);
            self.call(call, &mut events);
        }
        events
    }

    /// The events at the end of a stream, at this time in seconds since 1970.
    pub fn end(&mut self, finish: Option<FinishReason>, timings: &Timings, now: u64) -> Vec<Value> {
        let mut events = Vec::new();
        let cut = finish == Some(FinishReason::Length);
        let status = if cut { "incomplete" } else { "completed" };
        self.close(status, &mut events);
        let mut response = self.object(status, Some(timings));
        match cut {
            true => response["incomplete_details"] = json!({ "reason": "max_output_tokens" }),
            false => response["completed_at"] = now.into(),
        }
        self.response = response.clone();
        events.push(self.event(&format!("response.{status}"), json!({ "response": response })));
        events
    }

    /// The events of an error. `error` has the shape of OpenAI's API.
    pub fn failed(&mut self, error: &Value) -> Vec<Value> {
        let mut events = Vec::new();
        self.close("incomplete", &mut events);
        let error = &error["error"];
        let mut response = self.object("failed", None);
        response["error"] = json!({ "code": error["code"], "message": error["message"] });
        let failed = self.event("response.failed", json!({ "response": response }));
        let fields = json!({
            "code": error["code"], "message": error["message"], "param": error["param"], "error": error,
        });
        events.push(failed);
        events.push(self.event("error", fields));
        events
    }

    /// The response, once, if it has ended and is to be stored.
    pub fn stored(&mut self) -> Option<StoredResponse> {
        if self.response.is_null() {
            return None;
        }
        let mut messages = self.messages.take()?;
        if let Some(message) = std::mem::take(&mut self.turn).message() {
            messages.pop();
            if messages.len() > 1 {
                messages.push(',');
            }
            messages.push_str(&format!("{message}]"));
        }
        Some(StoredResponse { id: self.id(), response: self.response.to_string(), messages })
    }

    fn id(&self) -> String {
        format!("resp_{}", self.head.id)
    }

    /// The id of the item that is the next to end.
    fn item_id(&self, kind: &str) -> String {
        format!("{kind}_{}_{}", self.head.id, self.output.len())
    }

    fn open_id(&self, kind: Open) -> String {
        self.item_id(if kind == Open::Reasoning { "rs" } else { "msg" })
    }

    fn event(&mut self, kind: &str, fields: Value) -> Value {
        let mut event = json!({ "type": kind, "sequence_number": self.events });
        self.events += 1;
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        event
    }

    /// An event of the text of the open item.
    fn text_event(&mut self, name: &str, kind: Open, field: &str, value: Value) -> Value {
        let mut fields = json!({
            "item_id": self.open_id(kind), "output_index": self.output.len(), "content_index": 0,
        });
        fields[field] = value;
        if kind == Open::Message && field != "part" {
            fields["logprobs"] = json!([]);
        }
        self.event(name, fields)
    }

    /// Adds text to the open item, or begins another one.
    fn add(&mut self, kind: Open, text: &str, events: &mut Vec<Value>) {
        if text.is_empty() {
            return;
        }
        if self.open != Some(kind) {
            self.close("completed", events);
            self.open = Some(kind);
            let item = kind.item(&self.open_id(kind), "in_progress", &[]);
            let fields = json!({ "output_index": self.output.len(), "item": item });
            events.push(self.event("response.output_item.added", fields));
            let part = kind.part("");
            events.push(self.text_event("response.content_part.added", kind, "part", part));
        }
        self.text.push_str(text);
        let name = format!("{}.delta", kind.events());
        events.push(self.text_event(&name, kind, "delta", text.into()));
    }

    /// Ends the open item.
    fn close(&mut self, status: &str, events: &mut Vec<Value>) {
        let Some(kind) = self.open.take() else { return };
        let text = std::mem::take(&mut self.text);
        let name = format!("{}.done", kind.events());
        events.push(self.text_event(&name, kind, "text", text.as_str().into()));
        let part = kind.part(&text);
        events.push(self.text_event("response.content_part.done", kind, "part", part.clone()));
        let item = kind.item(&self.open_id(kind), status, &[part]);
        self.done(item, events);
    }

    /// Adds an item that has ended.
    fn done(&mut self, item: Value, events: &mut Vec<Value>) {
        let fields = json!({ "output_index": self.output.len(), "item": item });
        events.push(self.event("response.output_item.done", fields));
        self.output.push(item);
    }

    /// Adds the call of a tool.
    fn call(&mut self, call: &ToolCall, events: &mut Vec<Value>) {
        let ToolCall { name, arguments } = call;
        let id = call_id(&self.head.id, 0, self.calls);
        self.calls += 1;
        self.turn.call(&id, name, arguments.as_str().into());
        let (item_id, output_index) = (self.item_id("fc"), self.output.len());
        let mut item = json!({
            "id": item_id, "type": "function_call", "call_id": id, "name": name, "arguments": "",
            "status": "in_progress",
        });
        if let Some(of) = self.namespaces.iter().find(|of| of.flat == *name) {
            item["name"] = of.name.as_str().into();
            item["namespace"] = of.namespace.as_str().into();
        }
        let fields = json!({ "output_index": output_index, "item": item });
        events.push(self.event("response.output_item.added", fields));
        let name = "response.function_call_arguments";
        let mut fields = json!({ "item_id": item_id, "output_index": output_index });
        fields["delta"] = arguments.as_str().into();
        events.push(self.event(&format!("{name}.delta"), fields));
        let mut fields = json!({ "item_id": item_id, "output_index": output_index });
        fields["name"] = item["name"].clone();
        fields["arguments"] = arguments.as_str().into();
        events.push(self.event(&format!("{name}.done"), fields));
        item["arguments"] = arguments.as_str().into();
        item["status"] = "completed".into();
        self.done(item, events);
    }

    /// The response. Clients demand all of its fields.
    fn object(&self, status: &str, timings: Option<&Timings>) -> Value {
        let mut response = json!({
            "id": self.id(),
            "object": "response",
            "created_at": self.head.created,
            "completed_at": null,
            "status": status,
            "incomplete_details": null,
            "error": null,
            "model": self.head.model,
            "output": self.output,
            "usage": timings.map(usage),
        });
        let echo = serde_json::from_str::<Map<String, Value>>(&self.echo).unwrap_or_default();
        if let Some(response) = response.as_object_mut() {
            response.extend(echo);
        }
        response
    }
}

fn usage(timings: &Timings) -> Value {
    let input = timings.cache_n + timings.prompt_n;
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": timings.cache_n },
        "output_tokens": timings.predicted_n,
        "output_tokens_details": { "reasoning_tokens": timings.reasoning_n },
        "total_tokens": input + timings.predicted_n,
    })
}
