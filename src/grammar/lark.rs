//! Grammars in Lark's syntax, as llguidance reads them, with grammars of JSON values.

use serde_json::{Value, json};

use super::source::{Form, Source};
use crate::text::Tokenizer;

/// White space in the JSON of arguments: one space, as Python's `json.dumps` writes it, or none.
const SPACE: &str = " ";

/// A Lark grammar in the making, with the grammars of its JSON values.
pub(super) struct Lark<'a> {
    pub tokenizer: &'a Tokenizer,
    pub rules: String,
    values: Vec<Source>,
}

impl<'a> Lark<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, rules: String::new(), values: Vec::new() }
    }

    /// The grammar, and those that it refers to.
    pub fn finish(self) -> Vec<Source> {
        let mut all = vec![Form::Lark(self.rules).into()];
        all.extend(self.values);
        all
    }

    /// Adds a rule.
    pub fn rule(&mut self, name: &str, body: &str) {
        self.rules.push_str(&format!("{name}: {body}\n"));
    }

    /// The JSON of a schema.
    pub fn json(&mut self, schema: &Value) -> String {
        let name = format!("json{}", self.values.len());
        let form = Form::JsonSchema(with_space(schema, SPACE));
        self.values.push(Source { name: Some(name.clone()), form });
        format!("@{name}")
    }
}

/// A marker in a Lark grammar: its token, or its text if it has none.
pub(super) fn marker(tokenizer: &Tokenizer, text: &str) -> String {
    match tokenizer.token_id(text) {
        Some(id) => format!("<[{id}]>"),
        None => literal(text),
    }
}

/// A text in a Lark grammar.
pub(super) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// The schema with a choice of white space.
pub(super) fn with_space(schema: &Value, space: &str) -> Value {
    let mut schema = match schema {
        // The schema that all JSON meets.
        Value::Bool(true) => json!({}),
        other => other.clone(),
    };
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("x-guidance".to_owned(), json!({ "whitespace_pattern": space }));
    }
    schema
}
