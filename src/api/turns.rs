//! The turns of a conversation in another API's format, as messages of a chat request.

use serde_json::{Value, json};

/// The messages so far. Those of the assistant are put together from several parts.
#[derive(Default)]
pub(super) struct Turns {
    messages: Vec<Value>,
    /// The place of each message in the request.
    places: Vec<String>,
    turn: Option<Turn>,
}

/// A turn of the assistant.
#[derive(Default)]
pub(super) struct Turn {
    place: String,
    pub(super) reasoning: String,
    pub(super) content: String,
    /// Whether it has a text, which may be empty.
    pub(super) says: bool,
    pub(super) calls: Vec<Value>,
}

impl Turn {
    /// Adds text.
    pub(super) fn say(&mut self, text: &str) {
        self.says = true;
        self.content.push_str(text);
    }

    /// Adds the call of a tool. Its arguments are an object, or JSON text.
    pub(super) fn call(&mut self, id: &str, name: &str, arguments: Value) {
        let function = json!({ "name": name, "arguments": arguments });
        self.calls.push(json!({ "id": id, "type": "function", "function": function }));
    }

    /// The message of the assistant. A turn of nothing but reasoning has none: its answer was cut.
    pub(super) fn message(self) -> Option<Value> {
        if !self.says && self.content.is_empty() && self.calls.is_empty() {
            return None;
        }
        let silent = self.content.is_empty() && !self.calls.is_empty();
        let content = if silent { Value::Null } else { self.content.into() };
        let mut message = json!({ "role": "assistant", "content": content });
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.into();
        }
        if !self.calls.is_empty() {
            message["tool_calls"] = self.calls.into();
        }
        Some(message)
    }
}

impl Turns {
    /// Adds a message of the system or the user.
    pub(super) fn says(&mut self, role: &str, text: &str, place: &str) {
        self.push(json!({ "role": role, "content": text }), place);
    }

    /// Adds the result of a tool.
    pub(super) fn result(&mut self, call: &str, text: &str, place: &str) {
        self.push(json!({ "role": "tool", "tool_call_id": call, "content": text }), place);
    }

    /// Adds a message of a chat request.
    pub(super) fn push(&mut self, message: Value, place: &str) {
        self.end_turn();
        self.messages.push(message);
        self.places.push(place.to_owned());
    }

    /// The assistant's turn, which begins if none is open.
    pub(super) fn turn(&mut self, place: &str) -> &mut Turn {
        self.turn.get_or_insert_with(|| Turn { place: place.to_owned(), ..Turn::default() })
    }

    /// Ends the assistant's turn if one is open.
    pub(super) fn end_turn(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let place = turn.place.clone();
        if let Some(message) = turn.message() {
            self.places.push(place);
            self.messages.push(message);
        }
    }

    /// The messages, and the place of each in the request.
    pub(super) fn finish(mut self) -> (Vec<Value>, Vec<String>) {
        self.end_turn();
        (self.messages, self.places)
    }
}
