//! Filters for text.

use super::super::ast::Operator;
use super::super::bind::Bound;
use super::super::error::{Res, error};
use super::super::escape::escape;
use super::super::interp::Interp;
use super::super::operands::wrong_type;
use super::super::printf::percent;
use super::super::repr::{pretty, to_str};
use super::super::split::split_lines;
use super::super::unicode::{self, is_space};
use super::super::value::{CallArgs, Value};
use std::sync::Arc;

pub(super) fn filter(i: &Interp, name: &str, value: &Value, args: &mut Bound) -> Res<Value> {
    match name {
        "capitalize" | "lower" | "upper" => {
            let value = soft(i, value)?;
            method(i, &value, name, Vec::new())
        }
        "center" => {
            let value = soft(i, value)?;
            let width = args.given(0).unwrap_or(Value::Int(80));
            method(i, &value, "center", vec![width])
        }
        "trim" => {
            let value = soft(i, value)?;
            method(i, &value, "strip", args.given(0).into_iter().collect())
        }
        "string" => soft(i, value),
        "pprint" => pretty(i, value).map(Value::str),
        "title" => {
            let text = to_str(i, value)?;
            i.meter.pay_bytes(text.len())?;
            Ok(Value::str(title(&text)))
        }
        "wordcount" => {
            let text = to_str(i, value)?;
            i.meter.pay_bytes(text.len())?;
            let is_word = |c: char| c == '_' || unicode::is_alpha(c) || unicode::is_numeric(c);
            let words = text.split(|c| !is_word(c)).filter(|w| !w.is_empty()).count();
            Ok(Value::Int(i128::try_from(words).unwrap_or(0)))
        }
        "replace" => replace(i, value, args),
        "indent" => indent(i, value, args),
        _ => truncate(i, value, args),
    }
}

fn method(i: &Interp, value: &Value, name: &str, positional: Vec<Value>) -> Res<Value> {
    let Some(text) = value.as_str() else {
        return Err(wrong_type(value, "expected text"));
    };
    i.str_method(
        text,
        matches!(value, Value::Markup(_)),
        name,
        CallArgs { positional, named: Vec::new() },
    )
}

/// `value|format(*args, **kwargs)`
pub(super) fn format(i: &Interp, value: &Value, args: CallArgs) -> Res<Value> {
    if !args.positional.is_empty() && !args.named.is_empty() {
        return Err(error!(
            Runtime,
            "can't handle positional and keyword arguments at the same time"
        ));
    }
    let text = soft(i, value)?;
    let given = match args.named.is_empty() {
        true => Value::tuple(args.positional)?,
        false => {
            let pairs = args.named.into_iter().map(|(name, value)| (Value::Str(name), value));
            Value::dict(pairs.collect())?
        }
    };
    percent(i, &text, &given)
}

/// `value|title`: words begin after white space, `-`, `(`, `{`, `[` and `<`.
fn title(text: &str) -> String {
    let begins = |c: char| is_space(c) || "-({[<".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let between = rest.find(|c| !begins(c)).unwrap_or(rest.len());
        let (separator, after) = rest.split_at(between);
        out.push_str(&cased(separator));
        let word = after.find(begins).unwrap_or(after.len());
        let (word, left) = after.split_at(word);
        out.push_str(&cased(word));
        rest = left;
    }
    out
}

fn cased(word: &str) -> String {
    let mut chars = word.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    first + &unicode::lower(chars.as_str())
}

fn replace(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let (old, new) = (args.take(0), args.take(1));
    let count = match args.some(2) {
        None => -1,
        Some(count) => {
            count.as_int().ok_or_else(|| wrong_type(&count, "an integer is required"))?
        }
    };
    if !i.autoescape.get() {
        let (text, old, new) = (to_str(i, value)?, to_str(i, &old)?, to_str(i, &new)?);
        return i.replace(&text, &old, &new, count).map(Value::str);
    }
    let is_safe = |v: &Value| matches!(v, Value::Markup(_));
    let text = match is_safe(&old) || (is_safe(&new) && !is_safe(value)) {
        true => Value::Markup(escape(i, value)?),
        false => soft(i, value)?,
    };
    method(i, &text, "replace", vec![soft(i, &old)?, soft(i, &new)?, Value::Int(count)])
}

fn indent(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let width = args.given(0).unwrap_or(Value::Int(4));
    let (first, blank) = (args.truthy(1), args.truthy(2));
    let indention: Arc<str> = match width.as_str() {
        Some(text) => Arc::clone(text),
        None => {
            let width =
                width.as_int().ok_or_else(|| wrong_type(&width, "an integer is required"))?;
            let width = usize::try_from(width).unwrap_or(0);
            i.meter.pay_bytes(width)?;
            " ".repeat(width).into()
        }
    };
    let Some(text) = value.as_str() else {
        return Err(wrong_type(value, "can only concatenate str"));
    };
    let markup = matches!(value, Value::Markup(_));
    let with_end = format!("{text}\n");
    let lines = split_lines(&with_end, false);
    i.meter
        .pay_bytes(lines.len().saturating_mul(indention.len() + 1).saturating_add(text.len()))?;
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if (at > 0 && (blank || !line.is_empty())) || (at == 0 && first) {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(if markup { Value::Markup(out.into()) } else { Value::str(out) })
}

fn truncate(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let length = args.int(0, 255)?;
    let kill = args.truthy(1);
    let end = args.given(2).unwrap_or_else(|| Value::str("..."));
    let leeway = match args.some(3) {
        None => 5,
        Some(leeway) => {
            leeway.as_int().ok_or_else(|| wrong_type(&leeway, "an integer is required"))?
        }
    };
    let end_length =
        i128::try_from(end.len().ok_or_else(|| wrong_type(&end, "end must be text"))?).unwrap_or(0);
    if length < end_length {
        return Err(error!(Runtime, "expected length >= {end_length}, got {length}"));
    }
    if leeway < 0 {
        return Err(error!(Runtime, "expected leeway >= 0, got {leeway}"));
    }
    let Some(size) = value.len() else {
        return Err(wrong_type(value, "truncate needs text"));
    };
    if i128::try_from(size).unwrap_or(0) <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let cut = i.slice(value, None, Some(Value::Int(length - end_length)), None)?;
    let cut = match kill {
        true => cut,
        false => {
            let parts = method(i, &cut, "rsplit", vec![Value::str(" "), Value::Int(1)])?;
            i.item(&parts, &Value::Int(0))?
        }
    };
    i.binary(Operator::Add, &cut, &end)
}

/// `soft_str`: text unchanged, other values as `str` writes them.
fn soft(i: &Interp, value: &Value) -> Res<Value> {
    match value {
        Value::Str(_) | Value::Markup(_) => Ok(value.clone()),
        other => Ok(Value::Str(to_str(i, other)?)),
    }
}
