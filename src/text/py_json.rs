//! Values as Python writes them: `json.dumps` for the `tojson` filter, `repr` of floats.
//!
//! Chat templates were written against Python's output, and the model was trained on it: separators
//! are `", "` and `": "`, nothing is escaped for HTML, `1.0` stays `1.0` and 1e20 is `1e+20`.

use super::template_vm::MAX_DEPTH;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// The options of `json.dumps` that transformers passes on.
pub(super) struct Dumps {
    /// Escape everything outside ASCII.
    pub ensure_ascii: bool,
    /// What a level of nesting is indented with; `None` writes one line.
    pub indent: Option<String>,
    /// Between items.
    pub item_separator: String,
    /// Between a key and its value.
    pub key_separator: String,
    /// Keys in order of their code points, not in their own.
    pub sort_keys: bool,
}

impl Default for Dumps {
    fn default() -> Self {
        Self {
            ensure_ascii: false,
            indent: None,
            item_separator: ", ".to_owned(),
            key_separator: ": ".to_owned(),
            sort_keys: false,
        }
    }
}

impl Dumps {
    /// `json.dumps(value)`.
    ///
    /// The template pays fuel for every byte written, so that a small value with endless inner
    /// repetition cannot fill the memory.
    pub(super) fn dump(&self, value: &Value, state: &State) -> Result<String, Error> {
        let mut writer = Writer { options: self, state, out: String::new(), paid: 0 };
        writer.value(value, 0)?;
        Ok(writer.out)
    }
}

struct Writer<'a> {
    options: &'a Dumps,
    state: &'a State<'a, 'a>,
    out: String,
    paid: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.pay()?;
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth)?,
            ValueKind::Map => self.map(value, depth)?,
            other => {
                let problem = format!("tojson: a value of type {other} is not JSON serializable");
                return Err(Error::new(ErrorKind::InvalidOperation, problem));
            }
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        let mut empty = true;
        for item in value.try_iter()?.checked() {
            self.item(&mut empty, depth)?;
            self.value(&item?, depth + 1)?;
        }
        self.close(']', empty, depth)
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('{');
        let mut keys = Vec::new();
        for key in value.try_iter()?.checked() {
            let key = key?;
            self.state.consume_fuel(1)?;
            let text = match key.kind() {
                ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
                ValueKind::Number => number(&key),
                ValueKind::None => "null".to_owned(),
                ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
                _ => {
                    let problem = "tojson: keys must be strings, numbers, booleans or none";
                    return Err(Error::new(ErrorKind::InvalidOperation, problem));
                }
            };
            keys.push((text, key));
        }
        if self.options.sort_keys {
            keys.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let mut empty = true;
        for (text, key) in keys {
            self.item(&mut empty, depth)?;
            self.string(&text)?;
            self.out.push_str(&self.options.key_separator);
            self.value(&value.get_item(&key)?, depth + 1)?;
        }
        self.close('}', empty, depth)
    }

    /// What stands before an item.
    fn item(&mut self, empty: &mut bool, depth: usize) -> Result<(), Error> {
        if !std::mem::take(empty) {
            self.out.push_str(&self.options.item_separator);
        }
        self.new_line(depth + 1)
    }

    fn close(&mut self, bracket: char, empty: bool, depth: usize) -> Result<(), Error> {
        if !empty {
            self.new_line(depth)?;
        }
        self.out.push(bracket);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) -> Result<(), Error> {
        if let Some(indent) = &self.options.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
            self.pay()?;
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.options.ensure_ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
        self.pay()
    }

    /// Fuel for what was written since the last time: one for a step and one for 64 bytes.
    fn pay(&mut self) -> Result<(), Error> {
        let new = self.out.len() - self.paid;
        self.paid = self.out.len();
        self.state.consume_fuel(1 + u64::try_from(new / 64).unwrap_or(u64::MAX))
    }
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => match float {
            f if f.is_nan() => "NaN".to_owned(),
            f if f.is_infinite() => if f > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
            f => float_repr(f),
        },
        _ => value.to_string(),
    }
}

/// Python's `repr` of a finite float: the shortest digits that read back as the same number, fixed
/// from 1e-4 up to 1e16 and with an exponent of at least two digits beyond.
pub(super) fn float_repr(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        // Rust writes the shortest digits as well; {:?} keeps the ".0".
        let fixed = format!("{value}");
        return if fixed.contains('.') { fixed } else { fixed + ".0" };
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::{Environment, value::Serde};
    use serde_json::{Value as Json, json};

    fn dump(options: &Dumps, value: &Json) -> String {
        let env = Environment::new();
        options.dump(&Value::from(Serde(value)), &env.empty_state()).unwrap()
    }

    /// Expected texts are Python 3.11's own.
    #[test]
    fn values_are_written_as_python_writes_them() {
        let cases = [
            (json!(null), "null"),
            (json!([true, false]), "[true, false]"),
            (json!([]), "[]"),
            (json!({}), "{}"),
            (json!({"z": 1, "a": [1, {"b": "c"}]}), r#"{"z": 1, "a": [1, {"b": "c"}]}"#),
            (json!("é<&>'\"\\/\u{7f}中😀"), "\"é<&>'\\\"\\\\/\u{7f}中😀\""),
            (json!("\u{0}\u{1f}\n\r\t\u{8}\u{c}"), r#""\u0000\u001f\n\r\t\b\f""#),
            (
                json!([1.0, -0.0, 0.1, 1e20, 1e-7, 1.5e300, 1e15, 1e16, 123456.789]),
                "[1.0, -0.0, 0.1, 1e+20, 1e-07, 1.5e+300, 1000000000000000.0, 1e+16, 123456.789]",
            ),
            (
                json!([0.0001, 0.00001, 1.2345e-5, 5e-324, 1.7976931348623157e308]),
                "[0.0001, 1e-05, 1.2345e-05, 5e-324, 1.7976931348623157e+308]",
            ),
            (
                json!([0, -1, 9223372036854775807i64, 18446744073709551615u64]),
                "[0, -1, 9223372036854775807, 18446744073709551615]",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(dump(&Dumps::default(), &value), expected);
        }
    }

    #[test]
    fn options_are_those_of_json_dumps() {
        let value = json!({"b": [1, 2], "a": {}, "é😀": "ü\u{7f}"});
        let indent =
            Dumps { indent: Some("  ".into()), item_separator: ",".into(), ..Dumps::default() };
        assert_eq!(
            dump(&indent, &value),
            "{\n  \"b\": [\n    1,\n    2\n  ],\n  \"a\": {},\n  \"é😀\": \"ü\u{7f}\"\n}"
        );
        let ascii = Dumps { ensure_ascii: true, sort_keys: true, ..Dumps::default() };
        let expected = r#"{"a": {}, "b": [1, 2], "\u00e9\ud83d\ude00": "\u00fc\u007f"}"#;
        assert_eq!(dump(&ascii, &value), expected);
    }

    #[test]
    fn undefined_is_not_json() {
        let env = Environment::new();
        let error = Dumps::default().dump(&Value::UNDEFINED, &env.empty_state()).unwrap_err();
        assert!(error.to_string().contains("undefined"), "{error}");
    }
}
