//! transformers' filter `tojson`, which is Python's `json.dumps`.

use super::bind::Signature;
use super::compare::order;
use super::error::{Class, Res, error};
use super::interp::Interp;
use super::numbers::float_repr;
use super::operands::wrong_type;
use super::value::{CallArgs, Pair, Value};
use std::cmp::Ordering;
use std::fmt::Write as _;

struct Writer<'i, 'p> {
    i: &'i Interp<'p>,
    out: String,
    paid: usize,
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort: bool,
}

/// `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`
pub(super) fn dumps(i: &Interp, value: &Value, args: CallArgs) -> Res<Value> {
    let params = &["ensure_ascii", "indent", "separators", "sort_keys"];
    let mut args = Signature { name: "tojson", params, required: 0, positional: 0 }.bind(args)?;
    let ascii = args.truthy(0);
    let indent = match args.some(1) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_string(),
            None => {
                let width = indent
                    .as_int()
                    .ok_or_else(|| wrong_type(&indent, "tojson: indent must be int or str"))?;
                let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
                i.meter.pay_bytes(width)?;
                " ".repeat(width)
            }
        }),
    };
    let (mut item, mut key) =
        (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    if let Some(separators) = args.some(2) {
        let given = i.collect(&separators)?;
        let [first, second] = &given[..] else {
            return Err(error!(Value, "tojson: separators must be two strings"));
        };
        let (Some(first), Some(second)) = (first.as_str(), second.as_str()) else {
            return Err(error!(Type, "tojson: separators must be two strings"));
        };
        (item, key) = (first.to_string(), second.to_string());
    }
    let sort = args.truthy(3);
    let mut writer = Writer { i, out: String::new(), paid: 0, ascii, indent, item, key, sort };
    writer.value(value, 0)?;
    Ok(Value::str(writer.out))
}

fn number(float: f64) -> String {
    match float {
        f if f.is_nan() => "NaN".to_owned(),
        f if f.is_infinite() => if f > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        f => float_repr(f),
    }
}

impl Writer<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Res<()> {
        self.pay()?;
        match value {
            Value::None => self.out.push_str("null"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(int) => self.out.push_str(&int.to_string()),
            Value::Float(float) => self.out.push_str(&number(*float)),
            Value::Str(text) | Value::Markup(text) => self.string(text)?,
            Value::List(seq) | Value::Tuple(seq) | Value::Group(seq) => {
                self.out.push('[');
                for (at, item) in seq.items.iter().enumerate() {
                    self.begin(at, depth)?;
                    self.value(item, depth + 1)?;
                }
                self.end(']', seq.items.is_empty(), depth)?;
            }
            Value::Dict(dict) => {
                let mut pairs: Vec<&Pair> = dict.map.values().collect();
                if self.sort {
                    self.sort(&mut pairs)?;
                }
                self.out.push('{');
                for (at, (key, value)) in pairs.into_iter().enumerate() {
                    self.begin(at, depth)?;
                    match key {
                        Value::Str(text) | Value::Markup(text) => self.string(text)?,
                        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                            self.out.push('"');
                            self.value(key, depth)?;
                            self.out.push('"');
                        }
                        other => {
                            let kind = other.type_name();
                            return Err(error!(
                                Type,
                                "keys must be str, int, float, bool or None, not {kind}"
                            ));
                        }
                    }
                    let separator = self.key.clone();
                    self.out.push_str(&separator);
                    self.value(value, depth + 1)?;
                }
                self.end('}', dict.map.is_empty(), depth)?;
            }
            Value::Undefined(undefined) => {
                let hint = &undefined.hint;
                return Err(error!(Type, "tojson: undefined is not JSON serializable: {hint}"));
            }
            other => {
                let kind = other.type_name();
                return Err(error!(Type, "tojson: Object of type {kind} is not JSON serializable"));
            }
        }
        Ok(())
    }

    fn sort(&self, pairs: &mut [&Pair]) -> Res<()> {
        let mut failed = None;
        pairs.sort_by(|a, b| match order(&self.i.meter, &a.0, &b.0, "<") {
            Ok(order) => order.unwrap_or(Ordering::Equal),
            Err(e) => {
                let worse = e.class() == Class::Fuel || failed.is_none();
                if worse {
                    failed = Some(e);
                }
                Ordering::Equal
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Writes the separator and line break before an item.
    fn begin(&mut self, at: usize, depth: usize) -> Res<()> {
        if at > 0 {
            let separator = self.item.clone();
            self.out.push_str(&separator);
        }
        self.new_line(depth + 1)
    }

    fn end(&mut self, bracket: char, empty: bool, depth: usize) -> Res<()> {
        if !empty {
            self.new_line(depth)?;
        }
        self.out.push(bracket);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) -> Res<()> {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
        self.pay()
    }

    fn string(&mut self, text: &str) -> Res<()> {
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
                c if c < ' ' || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
        self.pay()
    }

    /// Pays for one step and for the text written since the last call, one unit for 64 bytes.
    fn pay(&mut self) -> Res<()> {
        let new = self.out.len() - self.paid;
        self.paid = self.out.len();
        self.i.meter.pay(1 + new / 64)
    }
}
