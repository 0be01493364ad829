//! Converts messages of requests into messages that templates render correctly.

use super::call_writer::PastCall;
use super::conversation::{Message, kind, wrong};
use super::error::TextError;
use super::exact_json::may_be_rounded;
use super::literal::Literal;
use serde_json::{Map, Value};

/// Names of the fields that hold a message's reasoning.
pub(super) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A message's fields without null fields and without an empty list of calls.
pub(super) fn given_fields(message: &Message) -> Map<String, Value> {
    let is_given = |key: &str, value: &Value| match value {
        Value::Null => false,
        Value::Array(calls) => key != "tool_calls" || !calls.is_empty(),
        _ => true,
    };
    let fields = message.fields().iter().filter(|(key, value)| is_given(key, value));
    fields.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The text of a list of text parts; `None` for anything else.
pub(super) fn joined_text(content: &Value) -> Option<String> {
    let Value::Array(parts) = content else { return None };
    let text = |part: &Value| match part.get("type") {
        Some(Value::String(kind)) if kind == "text" => {
            part.get("text")?.as_str().map(str::to_owned)
        }
        _ => None,
    };
    parts.iter().map(text).collect()
}

/// A tool's answer as text. Values other than strings become JSON.
pub(super) fn tool_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        other => Literal::from_value(other).to_spaced_json(),
    }
}

/// Reads the calls of a message.
///
/// # Errors
/// [`TextError::Conversation`] that names the field of an invalid call.
pub(super) fn past_calls(
    fields: &Map<String, Value>,
    path: &str,
) -> Result<Vec<PastCall>, TextError> {
    let calls = match (fields.get("tool_calls"), fields.get("function_call")) {
        (Some(Value::Array(calls)), _) => calls.iter().collect(),
        (Some(other), _) => {
            let problem = format_args!("must be a list, not {}", kind(other));
            return Err(wrong(format_args!("{path}.tool_calls"), problem));
        }
        (None, Some(call)) => vec![call],
        (None, None) => Vec::new(),
    };
    let calls = calls.into_iter().enumerate();
    calls.map(|(i, call)| past_call(call, &format!("{path}.tool_calls[{i}]"))).collect()
}

fn past_call(call: &Value, path: &str) -> Result<PastCall, TextError> {
    let function = call.get("function").unwrap_or(call);
    let name = match function.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => return Err(wrong(format_args!("{path}.function.name"), "must be a string")),
    };
    let arguments = match function.get("arguments") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => match Literal::object_of_json(text) {
            Some(Literal::Map(fields)) => Ok(fields),
            _ => Err(text.clone()),
        },
        Some(other) if may_be_rounded(other) => {
            let problem = "has a number beyond 64 bits, which may have been rounded; pass the \
                           arguments as JSON text";
            return Err(wrong(format_args!("{path}.function.arguments"), problem));
        }
        Some(other) => match Literal::from_value(other) {
            Literal::Map(fields) => Ok(fields),
            value => Err(value.to_spaced_json()),
        },
    };
    Ok(PastCall { name, arguments })
}

/// The calls of a message with objects as arguments; `None` if that would change an argument.
pub(super) fn with_objects(calls: &[PastCall], fields: &Map<String, Value>) -> Option<Value> {
    let empty = Vec::new();
    let given = fields.get("tool_calls").and_then(Value::as_array).unwrap_or(&empty);
    let calls = calls.iter().enumerate().map(|(i, call)| {
        let arguments = Literal::Map(call.arguments.clone().ok()?).to_value()?;
        let mut whole = given.get(i).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut function = match whole.get_mut("function").map(Value::take) {
            Some(Value::Object(function)) => function,
            _ => std::mem::take(&mut whole),
        };
        function.insert("name".to_owned(), call.name.clone().into());
        function.insert("arguments".to_owned(), arguments);
        whole.entry("type").or_insert_with(|| "function".into());
        whole.insert("function".to_owned(), function.into());
        Some(Value::Object(whole))
    });
    calls.collect()
}
