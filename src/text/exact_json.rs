//! Parses conversations and requests without rounding the numbers of tool calls.
//!
//! `serde_json::Value` turns an integer beyond 64 bits into a float. Arguments of past calls and answers
//! of tools with such a number stay JSON text instead, which every template accepts.

use serde_json::Value;

use super::literal::Literal;
use crate::formats::json_bytes;

/// Parses a conversation or request.
///
/// # Errors
/// The text is not JSON.
pub(crate) fn request_json(json: &str) -> Result<Value, serde_json::Error> {
    let bytes = json_bytes(json.as_bytes());
    let mut value = serde_json::from_slice(&bytes)?;
    if may_be_rounded(&value)
        && let Some(exact) = Literal::of_json(json)
    {
        restore(&mut value, &exact);
    }
    Ok(value)
}

/// Replaces rounded arguments and rounded answers of tools with their JSON text.
fn restore(request: &mut Value, exact: &Literal) {
    let (messages, exact) = match request {
        Value::Object(fields) => (fields.get_mut("messages"), exact.field("messages")),
        list => (Some(list), Some(exact)),
    };
    for (message, exact) in pairs(messages, exact) {
        if message.get("role").and_then(Value::as_str) == Some("tool")
            && let (Some(content), Some(exact)) =
                (message.get_mut("content"), exact.field("content"))
            && may_be_rounded(content)
        {
            *content = exact.to_spaced_json().into();
        }
        // Calls of Anthropic's format are blocks of the content.
        for (block, exact) in pairs(message.get_mut("content"), exact.field("content")) {
            if let (Some(input), Some(exact)) = (block.get_mut("input"), exact.field("input"))
                && may_be_rounded(input)
            {
                *input = exact.to_json().into();
            }
        }
        restore_arguments(message.get_mut("function_call"), exact.field("function_call"));
        for (call, exact) in pairs(message.get_mut("tool_calls"), exact.field("tool_calls")) {
            restore_arguments(call.get_mut("function"), exact.field("function"));
            restore_arguments(Some(call), Some(exact));
        }
    }
}

fn restore_arguments(function: Option<&mut Value>, exact: Option<&Literal>) {
    if let Some(given) = function.and_then(|function| function.get_mut("arguments"))
        && let Some(exact) = exact.and_then(|function| function.field("arguments"))
        && may_be_rounded(given)
    {
        *given = exact.to_json().into();
    }
}

/// The items of a list, each with the same item as an exact value.
fn pairs<'a>(
    list: Option<&'a mut Value>,
    exact: Option<&'a Literal>,
) -> impl Iterator<Item = (&'a mut Value, &'a Literal)> {
    let items = list.and_then(Value::as_array_mut).into_iter().flatten();
    let exact = match exact {
        Some(Literal::List(exact)) => exact.as_slice(),
        _ => &[],
    };
    items.zip(exact)
}

/// Whether a value holds a float beyond the 64-bit integers. It may be an integer that was rounded
/// when JSON was parsed into a [`Value`].
pub(super) fn may_be_rounded(value: &Value) -> bool {
    // 2^64, the least integer above u64; and -2^63, to which the next integer below i64 is rounded.
    const TOO_GREAT: f64 = 18_446_744_073_709_551_616.0;
    const TOO_SMALL: f64 = -9_223_372_036_854_775_808.0;
    match value {
        Value::Number(number) => number
            .as_f64()
            .is_some_and(|float| number.is_f64() && (float <= TOO_SMALL || float >= TOO_GREAT)),
        Value::Array(items) => items.iter().any(may_be_rounded),
        Value::Object(fields) => fields.values().any(may_be_rounded),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "123456789012345678901234567890";

    #[test]
    fn long_numbers_of_calls_and_of_tools_answers_are_kept() {
        let json = format!(
            r#"{{"messages": [
                {{"role": "assistant", "tool_calls": [
                    {{"function": {{"name": "f", "arguments": {{"id": {LONG}, "b": [1, -{LONG}]}}}}}},
                    {{"name": "g", "arguments": {{"id": {LONG}}}}},
                    {{"function": {{"name": "h", "arguments": {{"id": 7}}}}}}]}},
                {{"role": "tool", "content": {{"é": {LONG}, "x": 1e30}}}},
                {{"role": "assistant", "function_call": {{"name": "f", "arguments": {{"id": {LONG}}}}}}}
            ], "temperature": 1e300}}"#
        );
        let value = request_json(&json).unwrap();
        let calls = &value["messages"][0]["tool_calls"];
        let text = format!(r#"{{"id":{LONG},"b":[1,-{LONG}]}}"#);
        assert_eq!(calls[0]["function"]["arguments"], text.as_str());
        assert_eq!(calls[1]["arguments"], format!(r#"{{"id":{LONG}}}"#).as_str());
        assert_eq!(calls[2]["function"]["arguments"], serde_json::json!({"id": 7}));
        let content = value["messages"][1]["content"].as_str().unwrap();
        assert!(content.starts_with(&format!(r#"{{"é": {LONG}, "x": 1e"#)), "{content}");
        let arguments = value["messages"][2]["function_call"]["arguments"].as_str().unwrap();
        assert_eq!(arguments, format!(r#"{{"id":{LONG}}}"#));
        assert_eq!(value["temperature"], 1e300);
    }

    #[test]
    fn lists_of_messages_are_restored_too_and_other_json_is_unchanged() {
        let json = format!(r#"[{{"role": "tool", "content": {LONG}}}]"#);
        assert_eq!(request_json(&json).unwrap()[0]["content"], LONG);
        for json in ["null", "1e300", r#"{"messages": 1e300}"#, "[1e300]", r#"[{"role": 1e300}]"#] {
            let plain: Value = serde_json::from_str(json).unwrap();
            assert_eq!(request_json(json).unwrap(), plain);
        }
        assert!(request_json("{").is_err());
    }
}
