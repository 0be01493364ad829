//! A tool call.

use super::literal::Literal;
use serde_json::{Value, json};

/// A tool that the model calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments: the text of a JSON object, in the model's order, numbers exact.
    pub arguments: String,
}

impl ToolCall {
    pub(super) fn new(name: &str, arguments: Vec<(String, Literal)>) -> Self {
        Self { name: name.to_owned(), arguments: Literal::object(arguments).to_json() }
    }

    /// The call as OpenAI's API spells it.
    #[must_use]
    pub fn to_json(&self, id: &str) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": id, "type": "function", "function": function })
    }
}
