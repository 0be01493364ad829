//! Grammars as text. `web/structure` compiles this file too.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A grammar as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The name by which other grammars refer to it, as `@name`.
    pub name: Option<String>,
    /// The grammar.
    pub form: Form,
}

/// The language of a grammar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The variant of Lark's syntax that llguidance defines.
    Lark(String),
    /// A JSON schema.
    JsonSchema(Value),
    /// A regular expression.
    Regex(String),
}

impl From<Form> for Source {
    fn from(form: Form) -> Self {
        Self { name: None, form }
    }
}
