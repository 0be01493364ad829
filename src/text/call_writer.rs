//! Writes tool calls in a model's own form, so that they can be read back. Templates may drop calls or
//! quote strings without escaping.

use super::literal::Literal;
use super::literal_reader::name_of;
use super::markers::{CALL_END, CALL_START};
use super::xml_calls;

/// A model's form of tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallForm {
    /// `<|tool_call_start|>[f(a="x")]<|tool_call_end|>`
    Python,
    /// `<tool_call><function=f><parameter=a>…`
    Xml,
}

/// A call of an earlier turn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PastCall {
    pub(super) name: String,
    /// The arguments, or the given text if it is not a JSON object.
    pub(super) arguments: Result<Vec<(String, Literal)>, String>,
}

/// Writes the calls with their markers.
pub(super) fn write_calls(form: CallForm, calls: &[PastCall]) -> String {
    match form {
        CallForm::Python => format!("{CALL_START}{}{CALL_END}", list(calls)),
        CallForm::Xml => calls.iter().map(xml).collect::<Vec<_>>().join("\n"),
    }
}

fn list(calls: &[PastCall]) -> String {
    let nameable = |call: &PastCall| name_of(&call.name) == call.name && !call.name.is_empty();
    let write = if calls.iter().all(nameable) { python } else { json };
    format!("[{}]", calls.iter().map(write).collect::<Vec<_>>().join(", "))
}

/// Escapes markers in values, so that they stay text. The escape is valid in Python and JSON.
fn without_markers(literal: &str) -> String {
    literal.replace("<|", "\\u003c|")
}

fn python(call: &PastCall) -> String {
    let arguments = match &call.arguments {
        Ok(fields) => fields.iter().map(|(key, value)| argument(key, value)).collect::<Vec<_>>(),
        Err(raw) => vec![raw.clone()],
    };
    format!("{}({})", call.name, arguments.join(", "))
}

fn argument(key: &str, value: &Literal) -> String {
    if name_of(key) != key || key.is_empty() {
        // Python's syntax for a key that is not a name.
        let field = Literal::Map(vec![(key.to_owned(), value.clone())]);
        return format!("**{}", without_markers(&field.to_python()));
    }
    let text = match value {
        // As in the templates: objects as JSON, other values as Python.
        Literal::Map(_) => value.to_spaced_json(),
        other => other.to_python(),
    };
    format!("{key}={}", without_markers(&text))
}

/// Writes a call as JSON, for a tool whose name is not valid before a parenthesis.
fn json(call: &PastCall) -> String {
    let arguments = match &call.arguments {
        Ok(fields) => Literal::Map(fields.clone()),
        Err(raw) => Literal::String(raw.clone()),
    };
    let name = Literal::String(call.name.clone());
    let fields = [("name".to_owned(), name), ("arguments".to_owned(), arguments)];
    without_markers(&Literal::Map(fields.into()).to_spaced_json())
}

fn xml(call: &PastCall) -> String {
    match &call.arguments {
        Ok(fields) => xml_calls::write(&call.name, fields),
        Err(raw) => {
            format!("<tool_call>\n<function={}>\n{raw}\n</function>\n</tool_call>", call.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::{AnswerFormat, AnswerReader, Calls};
    use super::super::tool_call::ToolCall;
    use super::super::tools::Tools;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    /// Texts that break quoting.
    fn text() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "'",
            "\"",
            "\\",
            "\n",
            "\r",
            "\t",
            "\0",
            "\u{7f}",
            "\u{2028}",
            "😀",
            "é",
            "a",
            " ",
            "\\n",
            "\\x41",
            "\\u00e9",
            "{",
            "}",
            "[",
            "]",
            "(",
            ")",
            ",",
            "=",
            ":",
            "b='c'",
            "'''",
            "\"\"\"",
            "#",
            "<|tool_call_end|>",
            "<|im_end|>",
            "</parameter>",
            "</function>",
            "</tool_call>",
            "<think>",
            "None",
            "1",
            "%",
        ]);
        prop::collection::vec(parts, 0..8).prop_map(|parts| parts.concat())
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e6..1e6f64).prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((text(), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    type Fields = Map<String, Value>;

    /// Names and arguments of calls.
    fn calls(
        name: &'static str,
        key: impl Strategy<Value = String>,
    ) -> impl Strategy<Value = Vec<(String, Fields)>> {
        let arguments = prop::collection::vec((key, value()), 0..4);
        let arguments = arguments.prop_map(|fields| fields.into_iter().collect::<Fields>());
        prop::collection::vec((name, arguments), 1..4)
    }

    fn past(calls: &[(String, Fields)]) -> Vec<PastCall> {
        let call = |(name, fields): &(String, Fields)| {
            let fields = fields.iter().map(|(k, v)| (k.clone(), Literal::from_value(v))).collect();
            PastCall { name: name.clone(), arguments: Ok(fields) }
        };
        calls.iter().map(call).collect()
    }

    fn read(text: &str, calls: Calls) -> Vec<ToolCall> {
        let format = AnswerFormat { thinks: true, begins_in_reasoning: false, calls };
        let mut reader = AnswerReader::new(format);
        let mut answer = reader.push(text);
        answer.append(reader.finish());
        assert_eq!((answer.content.as_str(), answer.reasoning.as_str()), ("", ""), "{text}");
        answer.tool_calls
    }

    fn expected(calls: &[PastCall]) -> Vec<ToolCall> {
        let call = |c: &PastCall| ToolCall::new(&c.name, c.arguments.clone().unwrap_or_default());
        calls.iter().map(call).collect()
    }

    /// The schema of a value, with which its XML text is read back as the same type.
    fn schema(value: &Value) -> Value {
        json!({ "type": match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        } })
    }

    fn values(calls: &[ToolCall]) -> Vec<(String, Value)> {
        let value = |c: &ToolCall| (c.name.clone(), serde_json::from_str(&c.arguments).unwrap());
        calls.iter().map(value).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]
        #[test]
        fn calls_in_python_are_read_back(calls in calls("[a-zA-Z_][a-z0-9_.-]{0,8}|[ -~é]{1,4}", text())) {
            let calls = past(&calls);
            let text = write_calls(CallForm::Python, &calls);
            prop_assert_eq!(read(&text, Calls::Any), expected(&calls), "{}", text);
        }

        #[test]
        fn calls_in_xml_are_read_back(calls in calls("[a-zA-Z_][a-z0-9_.-]{0,8}", "[a-z_]{1,6}")) {
            // A schema has one type for a parameter.
            let named = calls.iter().enumerate().map(|(i, (name, fields))| (format!("{name}{i}"), fields.clone()));
            let calls: Vec<(String, Fields)> = named.collect();
            let tool = |(name, fields): &(String, Fields)| {
                let properties: Fields = fields.iter().map(|(key, value)| (key.clone(), schema(value))).collect();
                json!({ "name": name, "parameters": { "properties": properties } })
            };
            let tools: Vec<Value> = calls.iter().map(tool).collect();
            // A value with all end tags in a row ends the call: the form is ambiguous there.
            let fields: Vec<_> = calls.iter().map(|(_, fields)| Value::from(fields.clone()).to_string()).collect();
            let ends = fields.concat().replace("\\n", "").replace("\\t", "").replace("\\r", "");
            let ends: String = ends.chars().filter(|c| !c.is_whitespace()).collect();
            prop_assume!(!ends.contains("</parameter></function></tool_call>"));
            let calls = past(&calls);
            let text = write_calls(CallForm::Xml, &calls);
            let read = read(&text, Calls::Of(Tools::new(&tools).into()));
            prop_assert_eq!(values(&read), values(&expected(&calls)), "{}", text);
        }
    }
}
