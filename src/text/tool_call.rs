//! The public type of a tool call.

use super::literal::Literal;
use serde_json::{Value, json};

/// A model's call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments: a JSON object as text, with fields in the model's order and exact numbers.
    pub arguments: String,
}

impl ToolCall {
    pub(super) fn new(name: &str, arguments: Vec<(String, Literal)>) -> Self {
        Self { name: name.to_owned(), arguments: Literal::object(arguments).to_json() }
    }

    /// The call in the format of OpenAI's API.
    #[must_use]
    pub fn to_json(&self, id: &str) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": id, "type": "function", "function": function })
    }
}
