//! `str.format` and `str.format_map` under the rules of jinja2's sandbox.

use super::error::{Res, error};
use super::escape::escape_text;
use super::format_spec as spec;
use super::interp::Interp;
use super::repr::{escaped, repr, to_str};
use super::unicode::is_digit;
use super::value::{CallArgs, Key, Value};
use std::cell::Cell;
use std::sync::Arc;

struct Fields<'a> {
    positional: &'a [Value],
    named: &'a dyn Fn(&Arc<str>) -> Res<Option<Value>>,
    /// The index for the next field without a number.
    next: Cell<usize>,
    numbered: Cell<bool>,
    markup: bool,
}

/// `text.format(*args, **kwargs)`
pub(super) fn format(i: &Interp, text: &Arc<str>, markup: bool, args: &CallArgs) -> Res<Value> {
    let named = |name: &Arc<str>| {
        Ok(args.named.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone()))
    };
    whole(i, text, markup, &args.positional, &named)
}

/// `text.format_map(mapping)`
pub(super) fn format_map(i: &Interp, text: &Arc<str>, markup: bool, args: &CallArgs) -> Res<Value> {
    let ([mapping], true) = (&args.positional[..], args.named.is_empty()) else {
        return Err(error!(Type, "format_map() takes exactly one argument"));
    };
    let named = |name: &Arc<str>| match mapping {
        Value::Dict(dict) => Ok(dict.map.get(&Key::Str(Arc::clone(name))).map(|(_, v)| v.clone())),
        Value::Undefined(_) => Err(super::operands::undefined(mapping)),
        other => Err(error!(Type, "'{}' object is not a mapping", other.type_name())),
    };
    whole(i, text, markup, &[], &named)
}

fn whole(
    i: &Interp,
    text: &Arc<str>,
    markup: bool,
    positional: &[Value],
    named: &dyn Fn(&Arc<str>) -> Res<Option<Value>>,
) -> Res<Value> {
    let fields =
        Fields { positional, named, next: Cell::new(0), numbered: Cell::new(false), markup };
    let out = fill(i, text, &fields, 2)?;
    i.meter.pay_bytes(out.len())?;
    Ok(if markup { Value::Markup(out.into()) } else { Value::str(out) })
}

fn fill(i: &Interp, text: &str, fields: &Fields, depth: u32) -> Res<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        if after.starts_with("{{") || after.starts_with("}}") {
            out.push_str(after.get(..1).unwrap_or_default());
            rest = after.get(2..).unwrap_or_default();
            continue;
        }
        let Some(inner) = after.strip_prefix('{') else {
            return Err(error!(Value, "Single '}}' encountered in format string"));
        };
        let mut nesting = 1;
        let mut brackets = false;
        let end = inner.char_indices().find(|(at, c)| {
            match c {
                // Braces within the brackets of a name are part of it.
                '[' if nesting == 1 && !inner.get(..*at).is_some_and(|t| t.contains(':')) => {
                    brackets = true
                }
                ']' => brackets = false,
                '{' if !brackets => nesting += 1,
                '}' if !brackets => nesting -= 1,
                _ => {}
            }
            nesting == 0
        });
        let Some((end, _)) = end else {
            let problem = if inner.is_empty() {
                "Single '{' encountered in format string"
            } else {
                "expected '}' before end of string"
            };
            return Err(error!(Value, "{problem}"));
        };
        let (field, left) = inner.split_at(end);
        rest = left.get(1..).unwrap_or_default();
        if depth == 0 {
            return Err(error!(Value, "Max string recursion exceeded"));
        }
        let made = one(i, field, fields, depth)?;
        i.meter.pay(1 + made.len() / 64)?;
        out.push_str(&made);
    }
    out.push_str(rest);
    Ok(out)
}

fn one(i: &Interp, field: &str, fields: &Fields, depth: u32) -> Res<String> {
    // The name ends at a conversion or specification, but not within brackets.
    let mut brackets = false;
    let end = field.char_indices().find(|(_, c)| {
        match c {
            '[' => brackets = true,
            ']' => brackets = false,
            _ => {}
        }
        !brackets && matches!(c, ':' | '!')
    });
    let (name, after) = field.split_at(end.map_or(field.len(), |(at, _)| at));
    if name.contains('{') {
        return Err(error!(Value, "unexpected '{{' in field name"));
    }
    let (conversion, spec) = match after.strip_prefix('!') {
        None => (None, after.strip_prefix(':').unwrap_or_default()),
        Some(rest) => {
            let Some(c) = rest.chars().next() else {
                return Err(error!(Value, "end of string while looking for conversion specifier"));
            };
            let rest = rest.get(c.len_utf8()..).unwrap_or_default();
            match rest.strip_prefix(':') {
                Some(spec) => (Some(c), spec),
                None if rest.is_empty() => (Some(c), ""),
                None => return Err(error!(Value, "expected ':' after conversion specifier")),
            }
        }
    };
    let value = lookup(i, name, fields)?;
    let value = match conversion {
        None => value,
        Some('s') => Value::Str(to_str(i, &value)?),
        Some('r') => Value::str(repr(i, &value)?),
        Some('a') => {
            let text = repr(i, &value)?;
            let ascii = text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) });
            Value::str(ascii.collect::<String>())
        }
        Some(other) => return Err(error!(Value, "Unknown conversion specifier '{other}'")),
    };
    let spec = fill(i, spec, fields, depth - 1)?;
    if fields.markup {
        if let Value::Markup(text) = &value {
            if !spec.is_empty() {
                return Err(error!(
                    Value,
                    "Format specifier {spec} given, but Markup does not define __html_format__"
                ));
            }
            return Ok(text.to_string());
        }
        return Ok(escape_text(&spec::format(i, &value, &spec)?));
    }
    spec::format(i, &value, &spec)
}

fn lookup(i: &Interp, name: &str, fields: &Fields) -> Res<Value> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut rest) = name.split_at(end);
    let manual = !first.is_empty() && first.chars().all(is_digit);
    let mixed = || {
        error!(
            Value,
            "cannot switch between manual field specification and automatic field numbering"
        )
    };
    let index = if first.is_empty() {
        if fields.numbered.get() {
            return Err(mixed());
        }
        let next = fields.next.get();
        fields.next.set(next + 1);
        Some(next)
    } else if manual {
        if fields.next.get() > 0 {
            return Err(mixed());
        }
        fields.numbered.set(true);
        Some(first.parse().map_err(|_| error!(Value, "Too many decimal digits in format string"))?)
    } else {
        None
    };
    let mut value = match index {
        Some(index) => fields.positional.get(index).cloned().ok_or_else(|| {
            error!(Lookup, "Replacement index {index} out of range for positional args tuple")
        })?,
        None => (fields.named)(&Arc::from(first))?.ok_or_else(|| error!(Lookup, "'{first}'"))?,
    };
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (attribute, left) = after.split_at(end);
            if attribute.is_empty() {
                return Err(error!(Value, "Empty attribute in format string"));
            }
            value = i.attribute(&value, &Arc::from(attribute))?;
            rest = left;
        } else if let Some(after) = rest.strip_prefix('[') {
            let Some((key, left)) = after.split_once(']') else {
                return Err(error!(Value, "Missing ']' in format string"));
            };
            if key.is_empty() {
                return Err(error!(Value, "Empty attribute in format string"));
            }
            let key = match key.chars().all(is_digit) {
                true => key
                    .parse()
                    .map(Value::Int)
                    .map_err(|_| error!(Value, "Too many decimal digits"))?,
                false => Value::str(key),
            };
            value = i.item(&value, &key)?;
            rest = left;
        } else {
            return Err(error!(Value, "Only '.' or '[' may follow ']' in format field specifier"));
        }
    }
    Ok(value)
}
