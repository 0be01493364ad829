//! Exact values of tool calls: literals of Python or JSON with numbers as written.
//!
//! `serde_json::Value` turns integers above 64 bits into floats, but an id of 20 digits must not
//! change. serde_json's feature `arbitrary_precision` would change numbers in every crate of the
//! build, the tokenizer's among them.

use super::jinja::numbers::float_repr;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    /// A number as JSON text.
    Number(String),
    String(String),
    List(Vec<Literal>),
    /// Fields in the order of the text, with unique keys.
    Map(Vec<(String, Literal)>),
}

impl Literal {
    /// An object of these fields. A repeated key keeps its first position and its last value, as in
    /// Python.
    pub(super) fn object(fields: Vec<(String, Literal)>) -> Self {
        let mut places = HashMap::with_capacity(fields.len());
        let mut unique: Vec<(String, Literal)> = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            match places.get(&key).and_then(|at: &usize| unique.get_mut(*at)) {
                Some(earlier) => earlier.1 = value,
                None => {
                    places.insert(key.clone(), unique.len());
                    unique.push((key, value));
                }
            }
        }
        Self::Map(unique)
    }

    /// A field of an object.
    pub(super) fn field(&self, key: &str) -> Option<&Self> {
        let Self::Map(fields) = self else { return None };
        fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn from_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(match number.as_f64() {
                Some(float) if number.is_f64() => float_repr(float),
                _ => number.to_string(),
            }),
            Value::String(text) => Self::String(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from_value).collect()),
            Value::Object(fields) => {
                Self::Map(fields.iter().map(|(k, v)| (k.clone(), Self::from_value(v))).collect())
            }
        }
    }

    /// Converts the value for templates; `None` if that would change a number.
    pub(super) fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(text) => Value::Number(number(text)?),
            Self::String(text) => Value::String(text.clone()),
            Self::List(items) => items.iter().map(Self::to_value).collect::<Option<_>>()?,
            Self::Map(fields) => {
                let fields = fields.iter().map(|(k, v)| Some((k.clone(), v.to_value()?)));
                Value::Object(fields.collect::<Option<Map<_, _>>>()?)
            }
        })
    }

    /// JSON without spaces, as OpenAI's API writes arguments.
    pub(super) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &Style::JSON);
        out
    }

    /// JSON as Python's `json.dumps` writes it, which models were trained on.
    pub(super) fn to_spaced_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &Style::SPACED_JSON);
        out
    }

    /// A Python literal.
    pub(super) fn to_python(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &Style::PYTHON);
        out
    }

    fn write(&self, out: &mut String, style: &Style) {
        match self {
            Self::Null => out.push_str(style.null),
            Self::Bool(true) => out.push_str(style.yes),
            Self::Bool(false) => out.push_str(style.no),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => (style.string)(out, text),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { style.comma } else { "" });
                    item.write(out, style);
                }
                out.push(']');
            }
            Self::Map(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if i > 0 { style.comma } else { "" });
                    (style.string)(out, key);
                    out.push_str(style.colon);
                    value.write(out, style);
                }
                out.push('}');
            }
        }
    }
}

/// Parses a number; `None` for an integer beyond 64 bits and an infinite float.
fn number(text: &str) -> Option<Number> {
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    // An integer beyond 64 bits would be rounded.
    let whole = !text.contains(['.', 'e', 'E']);
    if whole { None } else { Number::from_f64(text.parse().ok()?) }
}

struct Style {
    null: &'static str,
    yes: &'static str,
    no: &'static str,
    comma: &'static str,
    colon: &'static str,
    string: fn(&mut String, &str),
}

impl Style {
    const JSON: Self = Self {
        null: "null",
        yes: "true",
        no: "false",
        comma: ",",
        colon: ":",
        string: json_string,
    };
    const SPACED_JSON: Self = Self { comma: ", ", colon: ": ", ..Self::JSON };
    const PYTHON: Self =
        Self { null: "None", yes: "True", no: "False", string: python_string, ..Self::SPACED_JSON };
}

fn json_string(out: &mut String, text: &str) {
    out.push_str(&Value::from(text).to_string());
}

/// Writes a string in quotes that the text does not contain, or else with escapes.
fn python_string(out: &mut String, text: &str) {
    let quote = if text.contains('"') && !text.contains('\'') { '\'' } else { '"' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_objects_are_read_exactly_and_other_texts_are_refused() {
        let text = r#" {"b": 123456789012345678901234567890, "a": [1.50, -0, "\u00e9\ud83d\ude00\/"], "b": {"c": null}, "h": "\ud83d"} "#;
        let object = Literal::object_of_json(text).unwrap();
        assert_eq!(
            object.to_json(),
            "{\"b\":{\"c\":null},\"a\":[1.50,0,\"é😀/\"],\"h\":\"\u{fffd}\"}"
        );
        for text in ["", "[]", "{'a': 1}", "{\"a\": 1", "{\"a\": 1} x", "null", "{\"a\": 01}"] {
            assert_eq!(Literal::object_of_json(text), None, "{text}");
        }
    }

    #[test]
    fn only_exact_numbers_go_to_templates() {
        let number = |text: &str| Literal::Number(text.to_owned()).to_value();
        assert_eq!(number("18446744073709551615"), Some(18446744073709551615u64.into()));
        assert_eq!(number("-5"), Some((-5).into()));
        assert_eq!(number("1.5"), Some(1.5.into()));
        assert_eq!(number("18446744073709551616"), None);
        assert_eq!(number("1e999"), None);
    }

    #[test]
    fn python_strings_take_the_quotes_they_do_not_contain() {
        for (text, literal) in [
            ("plain", "\"plain\""),
            ("it's", "\"it's\""),
            ("say \"x\"", "'say \"x\"'"),
            ("it's \"x\"", "\"it's \\\"x\\\"\""),
            ("a\\n\n\t\r\0\u{1b}é😀", "\"a\\\\n\\n\\t\\r\\x00\\x1bé😀\""),
        ] {
            assert_eq!(Literal::String(text.to_owned()).to_python(), literal);
        }
        let nested = Literal::object_of_json(r#"{"a": [true, null, {"b": "it's"}], "n": 1}"#);
        let nested = nested.unwrap();
        assert_eq!(nested.to_python(), r#"{"a": [True, None, {"b": "it's"}], "n": 1}"#);
        assert_eq!(nested.to_spaced_json(), r#"{"a": [true, null, {"b": "it's"}], "n": 1}"#);
    }
}
