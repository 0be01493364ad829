//! Methods of Python's `str` and of `Markup`.

use super::bind::{Bound, Signature};
use super::error::{Res, error};
use super::escape::{escape, escape_text};
use super::interp::Interp;
use super::operands::wrong_type;
use super::split::{split_at, split_lines, split_space};
use super::unicode::{self, Case, case, is_space};
use super::value::{CallArgs, Key, Value};
use super::{filters, str_format};
use std::sync::Arc;

/// A method's parameters, the number of required ones and the number of positional-only ones.
fn signature(name: &str) -> (&'static [&'static str], usize, usize) {
    match name {
        "center" | "ljust" | "rjust" => (&["width", "fillchar"], 1, 2),
        "count" | "find" | "index" | "rfind" | "rindex" => (&["sub", "start", "end"], 1, 3),
        "startswith" | "endswith" => (&["prefix", "start", "end"], 1, 3),
        "encode" => (&["encoding", "errors"], 0, 0),
        "expandtabs" => (&["tabsize"], 0, 0),
        "join" | "zfill" | "partition" | "rpartition" | "removeprefix" | "removesuffix"
        | "translate" | "escape" => (&["value"], 1, 1),
        "maketrans" => (&["x", "y", "z"], 1, 3),
        "replace" => (&["old", "new", "count"], 2, 3),
        "split" | "rsplit" => (&["sep", "maxsplit"], 0, 0),
        "splitlines" => (&["keepends"], 0, 0),
        "strip" | "lstrip" | "rstrip" => (&["chars"], 0, 1),
        _ => (&[], 0, 0),
    }
}

/// The length of a text in characters.
fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

impl Interp<'_> {
    pub(super) fn str_method(
        &self,
        text: &Arc<str>,
        markup: bool,
        name: &str,
        args: CallArgs,
    ) -> Res<Value> {
        self.meter.pay(1 + text.len() / 64)?;
        match name {
            "format" => return str_format::format(self, text, markup, &args),
            "format_map" => return str_format::format_map(self, text, markup, &args),
            _ => {}
        }
        let (params, required, positional) = signature(name);
        let mut args = Signature { name, params, required, positional }.bind(args)?;
        // The result is safe text if the input is.
        let same = |text: String| -> Res<Value> {
            self.meter.pay_bytes(text.len())?;
            Ok(if markup { Value::Markup(text.into()) } else { Value::str(text) })
        };
        // Escapes an argument that joins safe text.
        let beside = |value: Value| -> Res<Arc<str>> {
            let text = value.as_str().ok_or_else(|| wrong_type(&value, "argument must be str"))?;
            let unsafe_text = markup && matches!(value, Value::Str(_));
            Ok(if unsafe_text { escape_text(text).into() } else { Arc::clone(text) })
        };
        match name {
            "capitalize" => same(unicode::capitalize(text)),
            "casefold" => same(unicode::casefold(text)),
            "lower" => same(unicode::lower(text)),
            "upper" => same(text.to_uppercase()),
            "title" => same(unicode::title(text)),
            "swapcase" => same(unicode::swap_case(text)),
            "center" | "ljust" | "rjust" => {
                let width = args.int(0, 0)?;
                let fill = match args.given(1) {
                    None => " ".into(),
                    Some(fill) => beside(fill)?,
                };
                let mut chars = fill.chars();
                let (Some(fill), None) = (chars.next(), chars.next()) else {
                    return Err(error!(
                        Type,
                        "The fill character must be exactly one character long"
                    ));
                };
                same(self.justify(text, width, fill, name)?)
            }
            "zfill" => {
                let width = args.int(0, 0)?;
                let sign = text.starts_with(['+', '-']);
                let (sign, digits) = text.split_at(usize::from(sign));
                let width = width.saturating_sub(i128::from(!sign.is_empty()));
                same(sign.to_owned() + &self.justify(digits, width, '0', "rjust")?)
            }
            "strip" | "lstrip" | "rstrip" => {
                let chars = match args.some(0) {
                    None => None,
                    Some(chars) => Some(beside(chars)?),
                };
                let cut = |c: char| match &chars {
                    None => is_space(c),
                    Some(chars) => chars.contains(c),
                };
                self.meter
                    .pay(chars.as_ref().map_or(0, |c| c.len().saturating_mul(text.len()) / 4096))?;
                let left = if name == "rstrip" { text } else { text.trim_start_matches(cut) };
                same(if name == "lstrip" { left } else { left.trim_end_matches(cut) }.to_owned())
            }
            "removeprefix" => {
                let prefix = beside(args.take(0))?;
                same(text.strip_prefix(&*prefix).unwrap_or(text).to_owned())
            }
            "removesuffix" => {
                let suffix = beside(args.take(0))?;
                same(text.strip_suffix(&*suffix).unwrap_or(text).to_owned())
            }
            "replace" => {
                let (old, new) = (beside(args.take(0))?, beside(args.take(1))?);
                let count = args.int(2, -1)?;
                same(self.replace(text, &old, &new, count)?)
            }
            "expandtabs" => {
                let size = args.int(0, 8)?;
                same(self.expand_tabs(text, usize::try_from(size).unwrap_or(0))?)
            }
            "translate" => {
                let table = args.take(0);
                same(self.translate(text, &table)?)
            }
            "maketrans" => self.make_table(&mut args),
            "count" | "find" | "index" | "rfind" | "rindex" => self.search(text, name, &mut args),
            "startswith" | "endswith" => self.has_affix(text, name == "startswith", &mut args),
            "join" => {
                let items = args.take(0);
                let items =
                    self.collect(&items).map_err(|_| error!(Type, "can only join an iterable"))?;
                let mut out = String::new();
                for (at, item) in items.into_iter().enumerate() {
                    if !markup && item.as_str().is_none() {
                        let kind = item.type_name();
                        return Err(error!(
                            Type,
                            "sequence item {at}: expected str instance, {kind} found"
                        ));
                    }
                    let separator = if at > 0 { &**text } else { "" };
                    let item = if markup { escape(self, &item)? } else { beside(item)? };
                    self.meter.pay(1 + (separator.len() + item.len()) / 64)?;
                    out.push_str(separator);
                    out.push_str(&item);
                }
                same(out)
            }
            "partition" | "rpartition" => {
                let separator = beside(args.take(0))?;
                if separator.is_empty() {
                    return Err(error!(Value, "empty separator"));
                }
                let first = name == "partition";
                let at = if first { text.find(&*separator) } else { text.rfind(&*separator) };
                let parts = match at {
                    Some(at) => {
                        let (before, after) = text.split_at(at);
                        [before, &separator, after.get(separator.len()..).unwrap_or_default()]
                    }
                    None if first => [&**text, "", ""],
                    None => ["", "", &**text],
                };
                Value::tuple(parts.into_iter().map(|p| same(p.to_owned())).collect::<Res<_>>()?)
            }
            "split" | "rsplit" => {
                let separator = match args.some(0) {
                    None => None,
                    Some(separator) => Some(beside(separator)?),
                };
                let most = usize::try_from(args.int(1, -1)?).ok();
                let from_end = name == "rsplit";
                let parts = match &separator {
                    None => {
                        self.meter
                            .pay(text.matches(is_space).count().min(most.unwrap_or(usize::MAX)))?;
                        split_space(text, most, from_end)
                    }
                    Some(separator) if separator.is_empty() => {
                        return Err(error!(Value, "empty separator"));
                    }
                    Some(separator) => {
                        self.meter.pay(
                            text.matches(&**separator).count().min(most.unwrap_or(usize::MAX)),
                        )?;
                        split_at(text, separator, most, from_end)
                    }
                };
                Value::list(parts.into_iter().map(|p| same(p.to_owned())).collect::<Res<_>>()?)
            }
            "splitlines" => {
                let keep = args.truthy(0);
                self.meter.pay(text.matches(|c: char| c.is_control() || c > '\u{2000}').count())?;
                let lines = split_lines(text, keep);
                Value::list(lines.into_iter().map(|p| same(p.to_owned())).collect::<Res<_>>()?)
            }
            "encode" => {
                let encoding = match args.given(0) {
                    None => "utf-8".into(),
                    Some(name) => name
                        .as_str()
                        .cloned()
                        .ok_or_else(|| wrong_type(&name, "encoding must be str"))?,
                };
                encode(text, &encoding)
            }
            "unescape" => Ok(Value::str(filters::html::unescape_checked(text)?)),
            "striptags" => Ok(Value::str(filters::html::strip_tags(self, text)?)),
            "escape" => {
                let value = args.take(0);
                Ok(Value::Markup(escape(self, &value)?))
            }
            _ => Ok(Value::Bool(is(text, name))),
        }
    }

    pub(super) fn justify(&self, text: &str, width: i128, fill: char, way: &str) -> Res<String> {
        let width = usize::try_from(width).unwrap_or(0);
        let missing = width.saturating_sub(length(text));
        self.meter.pay_bytes(missing.saturating_mul(fill.len_utf8()))?;
        let left = match way {
            "ljust" => 0,
            "rjust" => missing,
            // As in CPython: an odd space goes left if the width is odd.
            _ => missing / 2 + (missing & width & 1),
        };
        let side = |count: usize| std::iter::repeat_n(fill, count);
        Ok(side(left).chain(text.chars()).chain(side(missing - left)).collect())
    }

    pub(super) fn replace(&self, text: &str, old: &str, new: &str, count: i128) -> Res<String> {
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let found = if old.is_empty() { length(text) + 1 } else { text.matches(old).count() };
        self.meter
            .pay_bytes(found.min(most).saturating_mul(new.len()).saturating_add(text.len()))?;
        Ok(text.replacen(old, new, most))
    }

    fn expand_tabs(&self, text: &str, size: usize) -> Res<String> {
        self.meter.pay_bytes(text.matches('\t').count().saturating_mul(size))?;
        let mut out = String::new();
        let mut column = 0usize;
        for c in text.chars() {
            match c {
                '\t' => {
                    let missing = if size == 0 { 0 } else { size - column % size };
                    out.extend(std::iter::repeat_n(' ', missing));
                    column += missing;
                }
                '\n' | '\r' => {
                    column = 0;
                    out.push(c);
                }
                c => {
                    column += 1;
                    out.push(c);
                }
            }
        }
        Ok(out)
    }

    fn translate(&self, text: &str, table: &Value) -> Res<String> {
        let mut out = String::new();
        for c in text.chars() {
            let code = Value::Int(i128::from(u32::from(c)));
            let found = match table {
                Value::Dict(dict) => dict.map.get(&Key::of(&code)?).map(|(_, value)| value.clone()),
                Value::List(seq) | Value::Tuple(seq) => {
                    seq.items.get(usize::try_from(u32::from(c)).unwrap_or(usize::MAX)).cloned()
                }
                other => {
                    return Err(error!(
                        Type,
                        "'{}' object is not subscriptable",
                        other.type_name()
                    ));
                }
            };
            match found {
                None => out.push(c),
                Some(Value::None) => {}
                Some(value) => match (value.as_str(), value.as_int()) {
                    (Some(text), _) => {
                        self.meter.pay(1 + text.len() / 64)?;
                        out.push_str(text);
                    }
                    (_, Some(code)) => {
                        let c = u32::try_from(code).ok().and_then(char::from_u32);
                        out.push(c.ok_or_else(|| {
                            error!(Value, "character mapping must be in range(0x110000)")
                        })?);
                    }
                    _ => {
                        return Err(error!(
                            Type,
                            "character mapping must return integer, None or str"
                        ));
                    }
                },
            }
        }
        Ok(out)
    }

    fn make_table(&self, args: &mut Bound) -> Res<Value> {
        let code = |c: char| Value::Int(i128::from(u32::from(c)));
        let x = args.take(0);
        let Some(y) = args.given(1) else {
            let Value::Dict(dict) = &x else {
                return Err(error!(
                    Type,
                    "if you give only one argument to maketrans it must be a dict"
                ));
            };
            let pairs = dict.map.values().map(|(key, value)| {
                let key = match key.as_str() {
                    Some(text) => {
                        let mut chars = text.chars();
                        match (chars.next(), chars.next()) {
                            (Some(c), None) => code(c),
                            _ => {
                                return Err(error!(
                                    Value,
                                    "string keys in translate table must be of length 1"
                                ));
                            }
                        }
                    }
                    None if key.as_int().is_some() => key.clone(),
                    None => {
                        return Err(error!(
                            Type,
                            "keys in translate table must be strings or integers"
                        ));
                    }
                };
                Ok((key, value.clone()))
            });
            return Value::dict(pairs.collect::<Res<_>>()?);
        };
        let (Some(from), Some(to)) = (x.as_str(), y.as_str()) else {
            return Err(error!(Type, "maketrans arguments must be strings"));
        };
        if length(from) != length(to) {
            return Err(error!(Value, "the first two maketrans arguments must have equal length"));
        }
        let mut pairs: Vec<_> =
            from.chars().zip(to.chars()).map(|(a, b)| (code(a), code(b))).collect();
        if let Some(delete) = args.given(2) {
            let Some(delete) = delete.as_str() else {
                return Err(error!(Type, "maketrans arguments must be strings"));
            };
            pairs.extend(delete.chars().map(|c| (code(c), Value::None)));
        }
        Value::dict(pairs)
    }

    fn search(&self, text: &str, name: &str, args: &mut Bound) -> Res<Value> {
        let sub = args.text(0)?;
        let (start, end) = (range_bound(args.some(1))?, range_bound(args.some(2))?);
        let (part, offset) = match window(text, start, end) {
            Some((part, offset)) => (part, offset),
            None if name == "count" => return Ok(Value::Int(0)),
            None if name.ends_with("index") => return Err(error!(Value, "substring not found")),
            None => return Ok(Value::Int(-1)),
        };
        let count = |n: usize| Value::Int(i128::try_from(n).unwrap_or(0));
        if name == "count" {
            return Ok(count(if sub.is_empty() {
                length(part) + 1
            } else {
                part.matches(&*sub).count()
            }));
        }
        let at = if name.starts_with('r') { part.rfind(&*sub) } else { part.find(&*sub) };
        match at {
            Some(at) => Ok(count(offset + length(part.get(..at).unwrap_or_default()))),
            None if name.ends_with("index") => Err(error!(Value, "substring not found")),
            None => Ok(Value::Int(-1)),
        }
    }

    fn has_affix(&self, text: &str, starts: bool, args: &mut Bound) -> Res<Value> {
        let affix = args.take(0);
        let (start, end) = (range_bound(args.some(1))?, range_bound(args.some(2))?);
        let affixes = match &affix {
            Value::Tuple(seq) | Value::Group(seq) => seq.items.clone(),
            _ => vec![affix],
        };
        let part = window(text, start, end);
        for affix in affixes {
            let Some(affix) = affix.as_str() else {
                let method = if starts { "startswith" } else { "endswith" };
                return Err(wrong_type(
                    &affix,
                    &format!("{method} first arg must be str or a tuple of str"),
                ));
            };
            let found = part.as_ref().is_some_and(|(part, _)| {
                if starts { part.starts_with(&**affix) } else { part.ends_with(&**affix) }
            });
            if found {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }
}

fn range_bound(value: Option<Value>) -> Res<Option<i128>> {
    value
        .map(|v| v.as_int().ok_or_else(|| wrong_type(&v, "slice indices must be integers or None")))
        .transpose()
}

/// The part of a text between two indices, with its first index.
fn window(text: &str, start: Option<i128>, end: Option<i128>) -> Option<(&str, usize)> {
    if start.is_none() && end.is_none() {
        return Some((text, 0));
    }
    let len = i128::try_from(length(text)).unwrap_or(0);
    let clamp = |bound: i128| if bound < 0 { bound.saturating_add(len).max(0) } else { bound };
    let start = clamp(start.unwrap_or(0));
    let end = clamp(end.unwrap_or(len)).min(len);
    if start > end {
        return None;
    }
    let byte = |index: i128| {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
    };
    Some((text.get(byte(start)..byte(end))?, usize::try_from(start).ok()?))
}

/// The methods `isalpha`, `isupper` and so on.
pub(super) fn is(text: &str, name: &str) -> bool {
    let all = |test: fn(char) -> bool| !text.is_empty() && text.chars().all(test);
    match name {
        "isalnum" => {
            all(|c| unicode::is_alpha(c) || unicode::is_numeric(c) || unicode::is_digit(c))
        }
        "isalpha" => all(unicode::is_alpha),
        "isascii" => text.is_ascii(),
        "isdecimal" => all(|c| unicode::decimal(c).is_some()),
        "isdigit" => all(unicode::is_digit),
        "isidentifier" => unicode::is_identifier(text),
        "isnumeric" => all(unicode::is_numeric),
        "isprintable" => text.chars().all(unicode::is_printable),
        "isspace" => all(is_space),
        "islower" => {
            let mut cases = text.chars().map(case).filter(|c| *c != Case::None).peekable();
            cases.peek().is_some() && cases.all(|c| c == Case::Lower)
        }
        "isupper" => {
            let mut cases = text.chars().map(case).filter(|c| *c != Case::None).peekable();
            cases.peek().is_some() && cases.all(|c| c == Case::Upper)
        }
        "istitle" => {
            let mut inside = false;
            let mut any = false;
            for c in text.chars().map(case) {
                match c {
                    Case::Upper | Case::Title if inside => return false,
                    Case::Lower if !inside => return false,
                    Case::None => inside = false,
                    _ => (inside, any) = (true, true),
                }
            }
            any
        }
        _ => false,
    }
}

fn encode(text: &str, encoding: &str) -> Res<Value> {
    let name = encoding.to_ascii_lowercase().replace(['_', ' '], "-");
    let limit = |most: u32| -> Res<Vec<u8>> {
        let byte = |c: char| u8::try_from(u32::from(c)).ok().filter(|_| u32::from(c) <= most);
        let bytes = text.chars().map(byte).collect::<Option<Vec<u8>>>();
        bytes
            .ok_or_else(|| error!(Value, "'{encoding}' codec can't encode a character of the text"))
    };
    Ok(Value::Bytes(match &*name {
        "utf-8" | "utf8" | "u8" => text.as_bytes().into(),
        "ascii" | "us-ascii" => limit(127)?.into(),
        "latin-1" | "latin1" | "iso-8859-1" => limit(255)?.into(),
        _ => return Err(error!(Limit, "the encoding {encoding:?} is not supported")),
    }))
}
