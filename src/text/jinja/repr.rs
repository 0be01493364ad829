//! Python's `str`, `repr` and `pprint`.

use super::compare::order;
use super::error::{Class, Res, error};
use super::interp::Interp;
use super::numbers::float_repr;
use super::split::{split_lines, words_with_space};
use super::unicode::is_printable;
use super::value::{Function, MAX_DEPTH, Pair, Value, View};
use std::cmp::Ordering;
use std::sync::Arc;

/// `str(value)`
pub(super) fn to_str(i: &Interp, value: &Value) -> Res<Arc<str>> {
    match value {
        Value::Str(text) | Value::Markup(text) => Ok(Arc::clone(text)),
        Value::Undefined(_) => Ok(Arc::from("")),
        other => Ok(Arc::from(repr(i, other)?)),
    }
}

/// `repr(value)`
pub(super) fn repr(i: &Interp, value: &Value) -> Res<String> {
    let mut writer = Writer { i, out: String::new(), paid: 0, sorted: false };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'i, 'p> {
    i: &'i Interp<'p>,
    out: String,
    paid: usize,
    /// Sort dicts by key, as `pprint` does.
    sorted: bool,
}

impl Writer<'_, '_> {
    fn pay(&mut self) -> Res<()> {
        let new = self.out.len() - self.paid;
        self.paid = self.out.len();
        self.i.meter.pay(1 + new / 64)
    }

    fn value(&mut self, value: &Value, depth: u16) -> Res<()> {
        self.pay()?;
        if depth > MAX_DEPTH {
            return Err(error!(Limit, "a value is nested too deeply"));
        }
        match value {
            Value::Undefined(_) => self.out.push_str("Undefined"),
            Value::None => self.out.push_str("None"),
            Value::Bool(true) => self.out.push_str("True"),
            Value::Bool(false) => self.out.push_str("False"),
            Value::Int(int) => self.out.push_str(&int.to_string()),
            Value::Float(float) => self.out.push_str(&float_repr(*float)),
            Value::Str(text) => quoted(text, &mut self.out),
            Value::Markup(text) => {
                self.out.push_str("Markup(");
                quoted(text, &mut self.out);
                self.out.push(')');
            }
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::List(seq) => self.items("[", &seq.items, "]", depth)?,
            Value::Tuple(seq) | Value::Group(seq) => {
                let close = if seq.items.len() == 1 { ",)" } else { ")" };
                self.items("(", &seq.items, close, depth)?;
            }
            Value::Dict(dict) => {
                let mut pairs: Vec<&Pair> = dict.map.values().collect();
                if self.sorted {
                    sort_pairs(self.i, &mut pairs)?;
                }
                self.pairs(pairs, depth)?;
            }
            Value::Range(range) => {
                let (start, stop) = (range.start, range.stop);
                self.out.push_str(&match range.step {
                    1 => format!("range({start}, {stop})"),
                    step => format!("range({start}, {stop}, {step})"),
                });
            }
            Value::View(view, dict) => {
                let (name, items): (_, Vec<Value>) = match view {
                    View::Keys => ("dict_keys([", dict.map.values().map(|p| p.0.clone()).collect()),
                    View::Values => ("dict_values([", dict.map.values().map(|p| p.1.clone()).collect()),
                    View::Items => {
                        let pairs = dict.map.values().map(|(k, v)| Value::tuple(vec![k.clone(), v.clone()]));
                        ("dict_items([", pairs.collect::<Res<_>>()?)
                    }
                };
                self.items(name, &items, "])", depth)?;
            }
            Value::Namespace(namespace) => {
                self.out.push_str("<Namespace ");
                let fields = namespace.fields.borrow().clone();
                self.pairs(fields.values().collect(), depth)?;
                self.out.push('>');
            }
            Value::Loop(inner) => {
                let index = inner.state.borrow().index0 + 1;
                let length = self.i.loop_length(inner)?;
                self.out.push_str(&format!("<LoopContext {index}/{length}>"));
            }
            Value::Macro(inner) => match &inner.node.name {
                Some(name) => {
                    self.out.push_str("<Macro ");
                    quoted(name, &mut self.out);
                    self.out.push('>');
                }
                None => self.out.push_str("<Macro anonymous>"),
            },
            Value::Function(Function::Cycler) => self.out.push_str("<class 'jinja2.utils.Cycler'>"),
            Value::Function(Function::Joiner) => self.out.push_str("<class 'jinja2.utils.Joiner'>"),
            Value::Function(Function::Namespace) => self.out.push_str(
                "<class 'transformers.utils.chat_template_utils._cached_compile_jinja_template.<locals>.TemplateNamespace'>",
            ),
            Value::Template => self.out.push_str("<TemplateReference None>"),
            other => {
                let kind = other.type_name();
                return Err(error!(Limit, "a {kind} prints as its address in Python (add | list to print a generator)"));
            }
        }
        Ok(())
    }

    fn items(&mut self, open: &str, items: &[Value], close: &str, depth: u16) -> Res<()> {
        self.out.push_str(open);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.value(item, depth + 1)?;
        }
        self.out.push_str(close);
        Ok(())
    }

    fn pairs(&mut self, pairs: Vec<&Pair>, depth: u16) -> Res<()> {
        self.out.push('{');
        for (i, (key, value)) in pairs.into_iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.value(key, depth + 1)?;
            self.out.push_str(": ");
            self.value(value, depth + 1)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
        self.out.push('b');
        self.out.push(quote);
        for byte in bytes {
            match char::from(*byte) {
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c == quote || c == '\\' => self.out.extend(['\\', c]),
                c @ ' '..='~' => self.out.push(c),
                _ => self.out.push_str(&format!("\\x{byte:02x}")),
            }
        }
        self.out.push(quote);
    }
}

/// Writes text in Python's quotes.
pub(super) fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote || c == '\\' => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&escaped(c)),
        }
    }
    out.push(quote);
}

/// A character as `\x07`, `\u200b` or `\U000e0001`.
pub(super) fn escaped(c: char) -> String {
    match u32::from(c) {
        code @ 0..=0xff => format!("\\x{code:02x}"),
        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// Sorts pairs by key. Keys without an order are sorted by the names of their types.
fn sort_pairs(i: &Interp, pairs: &mut [&Pair]) -> Res<()> {
    let mut failed = None;
    pairs.sort_by(|a, b| match order(&i.meter, &a.0, &b.0, "<") {
        Ok(order) => order.unwrap_or(Ordering::Equal),
        Err(e) if e.class() == Class::Fuel => {
            failed = Some(e);
            Ordering::Equal
        }
        Err(_) => a.0.type_name().cmp(b.0.type_name()),
    });
    failed.map_or(Ok(()), Err)
}

/// `pprint.pformat(value)`: 80 columns, dicts sorted.
pub(super) fn pretty(i: &Interp, value: &Value) -> Res<String> {
    let mut out = String::new();
    pretty_at(i, value, 0, 0, 1, &mut out)?;
    Ok(out)
}

const WIDTH: i64 = 80;

fn chars(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn spaces(count: i64) -> String {
    " ".repeat(usize::try_from(count).unwrap_or(0))
}

fn sorted_repr(i: &Interp, value: &Value) -> Res<String> {
    let mut writer = Writer { i, out: String::new(), paid: 0, sorted: true };
    writer.value(value, 0)?;
    Ok(writer.out)
}

fn pretty_at(
    i: &Interp,
    value: &Value,
    indent: i64,
    allowance: i64,
    level: u32,
    out: &mut String,
) -> Res<()> {
    let text = sorted_repr(i, value)?;
    if chars(&text) <= WIDTH - indent - allowance {
        out.push_str(&text);
        return Ok(());
    }
    let (open, close, items): (_, _, &[Value]) = match value {
        Value::List(seq) => ("[", "]", &seq.items),
        Value::Tuple(seq) => ("(", if seq.items.len() == 1 { ",)" } else { ")" }, &seq.items),
        Value::Str(text) => return pretty_text(i, text, indent, allowance, level, out),
        Value::Dict(dict) => {
            let mut pairs: Vec<&Pair> = dict.map.values().collect();
            sort_pairs(i, &mut pairs)?;
            out.push('{');
            let last = pairs.len().saturating_sub(1);
            for (at, (key, value)) in pairs.into_iter().enumerate() {
                let key = sorted_repr(i, key)?;
                out.push_str(&key);
                out.push_str(": ");
                let inner = indent + 1 + chars(&key) + 2;
                pretty_at(
                    i,
                    value,
                    inner,
                    if at == last { allowance + 1 } else { 1 },
                    level + 1,
                    out,
                )?;
                if at < last {
                    i.meter.pay(1)?;
                    out.push_str(",\n");
                    out.push_str(&spaces(indent + 1));
                }
            }
            out.push('}');
            return Ok(());
        }
        _ => {
            out.push_str(&text);
            return Ok(());
        }
    };
    out.push_str(open);
    let last = items.len().saturating_sub(1);
    for (at, item) in items.iter().enumerate() {
        let more = if at == last { allowance + chars(close) } else { 1 };
        pretty_at(i, item, indent + 1, more, level + 1, out)?;
        if at < last {
            out.push_str(",\n");
            out.push_str(&spaces(indent + 1));
        }
    }
    out.push_str(close);
    Ok(())
}

/// Writes long text in pieces that end at lines and words.
fn pretty_text(
    i: &Interp,
    text: &str,
    indent: i64,
    allowance: i64,
    level: u32,
    out: &mut String,
) -> Res<()> {
    let outermost = level == 1;
    let (indent, allowance) = match outermost {
        true => (indent + 1, allowance + 1),
        false => (indent, allowance),
    };
    let repr = |text: &str| {
        let mut out = String::new();
        quoted(text, &mut out);
        out
    };
    let width = WIDTH - indent;
    let lines = split_lines(text, true);
    let mut chunks = Vec::new();
    let mut whole = String::new();
    for (at, line) in lines.iter().enumerate() {
        let last_line = at + 1 == lines.len();
        whole = repr(line);
        i.meter.pay(1 + whole.len() / 64)?;
        if chars(&whole) <= width - if last_line { allowance } else { 0 } {
            chunks.push(whole.clone());
            continue;
        }
        let words = words_with_space(line);
        let mut current = String::new();
        for (at, word) in words.iter().enumerate() {
            let last = last_line && at + 1 == words.len();
            let candidate = format!("{current}{word}");
            i.meter.pay(1 + candidate.len() / 64)?;
            if chars(&repr(&candidate)) > width - if last { allowance } else { 0 } {
                if !current.is_empty() {
                    chunks.push(repr(&current));
                }
                current = (*word).to_owned();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(repr(&current));
        }
    }
    if chunks.len() == 1 {
        out.push_str(&whole);
        return Ok(());
    }
    let separator = format!("\n{}", spaces(indent));
    let joined = chunks.join(&separator);
    i.meter.pay_bytes(joined.len())?;
    out.push_str(&if outermost { format!("({joined})") } else { joined });
    Ok(())
}
