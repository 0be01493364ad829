//! The structure that a request demands of its answer: `response_format`, `structured_outputs`, and rules for tool
//! calls.

use serde_json::{Value, json};

use super::fields::{Fields, wrong};
use super::tool_choice::ToolChoice;
use crate::error::Error;
use crate::formats::one_line;
use crate::text::function_of;

/// The structure of an answer's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Wanted {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that a schema describes.
    JsonSchema(Value),
    /// Text that a regular expression matches.
    Regex(String),
    /// Text of a grammar in Lark's syntax.
    Grammar(String),
}

impl Wanted {
    /// Takes OpenAI's `response_format` and vLLM's `structured_outputs`.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Error> {
        let format = Self::response_format(fields)?;
        match (format, Self::structured_outputs(fields)?) {
            (Self::Text, other) | (other, Self::Text) => Ok(other),
            _ => Err(wrong("structured_outputs", "excludes response_format: give one of them")),
        }
    }

    fn response_format(fields: &mut Fields) -> Result<Self, Error> {
        let key = "response_format";
        let need = "must be {\"type\": \"text\"}, {\"type\": \"json_object\"} or {\"type\": \"json_schema\", \
                    \"json_schema\": {\"schema\": {...}}}";
        let Some(value) = fields.take(key) else { return Ok(Self::Text) };
        match value.get("type").and_then(Value::as_str) {
            Some("text") => Ok(Self::Text),
            // llama-server and older servers take a schema here too.
            Some("json_object") => match value.get("schema").filter(|schema| !schema.is_null()) {
                Some(schema) => Ok(Self::JsonSchema(schema.clone())),
                None => Ok(Self::JsonObject),
            },
            Some("json_schema") => {
                let schema = value.get("json_schema").and_then(|format| format.get("schema"));
                let schema = schema.filter(|schema| schema.is_object() || schema.is_boolean());
                let schema = schema.ok_or_else(|| wrong(key, "json_schema.schema is missing"))?;
                Ok(Self::JsonSchema(schema.clone()))
            }
            _ => Err(wrong(key, need)),
        }
    }

    fn structured_outputs(fields: &mut Fields) -> Result<Self, Error> {
        let key = "structured_outputs";
        let need = "must have one of json, json_object, regex, choice and grammar (Lark)";
        let Some(value) = fields.take(key) else { return Ok(Self::Text) };
        let Value::Object(all) = value else { return Err(wrong(key, "must be an object")) };
        let mut given = all.into_iter().filter(|(_, value)| !value.is_null());
        let (Some((kind, value)), None) = (given.next(), given.next()) else {
            return Err(wrong(key, need));
        };
        match (kind.as_str(), value) {
            ("json", schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Self::JsonSchema(schema)),
            ("json", Value::String(text)) => {
                let schema = serde_json::from_str(&text);
                schema
                    .map(Self::JsonSchema)
                    .map_err(|e| wrong(key, format!("json: {}", one_line(&e))))
            }
            ("json_object", Value::Bool(true)) => Ok(Self::JsonObject),
            ("regex", Value::String(regex)) => Ok(Self::Regex(regex)),
            ("grammar", Value::String(grammar)) => Ok(Self::Grammar(grammar)),
            ("choice", Value::Array(choices)) => {
                let texts: Option<Vec<&str>> = choices.iter().map(Value::as_str).collect();
                let texts = texts.filter(|texts| !texts.is_empty());
                let texts = texts.ok_or_else(|| wrong(key, "choice must be a list of strings"))?;
                let quoted = texts.iter().map(|text| quoted(text));
                Ok(Self::Grammar(format!("start: {}", quoted.collect::<Vec<_>>().join(" | "))))
            }
            _ => Err(wrong(key, need)),
        }
    }
}

/// A text in a Lark grammar. Characters of its syntax are escaped, since limits of grammars count them.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '(' | ')' | '[' | ']' | '{' | '}' | '~' | ':' | '|' | '%' | '&' => {
            format!("\\u{:04x}", u32::from(c))
        }
        other => other.to_string(),
    };
    json!(text).to_string().chars().map(escaped).collect()
}

/// Rules for the tool calls of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolRules {
    /// Whether an answer may have several calls.
    pub(super) parallel: bool,
    /// Whether a tool demands that its arguments follow its schema.
    pub(super) strict: bool,
}

impl ToolRules {
    pub(super) fn take(
        fields: &mut Fields,
        choice: &ToolChoice,
        tools: Option<&[Value]>,
    ) -> Result<Self, Error> {
        let parallel = fields.bool("parallel_tool_calls")?.unwrap_or(true);
        let is_strict =
            |tool: &Value| function_of(tool).get("strict").and_then(Value::as_bool) == Some(true);
        let strict = tools.unwrap_or_default().iter().any(is_strict);
        Ok(Self { parallel, strict: strict && *choice != ToolChoice::None })
    }
}

impl Wanted {
    /// The field that asks for it.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Text | Self::JsonObject | Self::JsonSchema(_) => "response_format",
            Self::Regex(_) | Self::Grammar(_) => "structured_outputs",
        }
    }
}
