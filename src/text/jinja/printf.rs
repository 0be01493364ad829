//! The operator `'...' % values`.

use super::convert::float_to_int;
use super::error::{Res, error};
use super::escape::escape_text;
use super::format_spec::number;
use super::interp::Interp;
use super::numbers::float_format;
use super::operands::undefined;
use super::repr::{escaped, repr, to_str};
use super::value::Value;
use std::iter::Peekable;
use std::str::Chars;

#[derive(Default)]
struct Field {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

struct Values<'v> {
    given: &'v [Value],
    next: usize,
    /// Values by name.
    mapping: Option<&'v Value>,
}

impl Values<'_> {
    fn next(&mut self) -> Res<Value> {
        let value = self.given.get(self.next).cloned();
        self.next += 1;
        value.ok_or_else(|| error!(Type, "not enough arguments for format string"))
    }
}

/// `format % value`
pub(super) fn percent(i: &Interp, format: &Value, value: &Value) -> Res<Value> {
    let Some(text) = format.as_str() else {
        return Err(error!(Type, "unsupported operand type(s) for %"));
    };
    let markup = matches!(format, Value::Markup(_));
    let alone = std::slice::from_ref(value);
    let (given, mapping) = match value {
        Value::Tuple(seq) | Value::Group(seq) => (&seq.items[..], None),
        Value::Dict(_)
        | Value::List(_)
        | Value::Undefined(_)
        | Value::Range(_)
        | Value::Bytes(_) => (alone, Some(value)),
        _ => (alone, None),
    };
    let mut values = Values { given, next: 0, mapping };
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let before = out.len();
        one(i, &mut chars, &mut values, markup, &mut out)?;
        i.meter.pay(1 + (out.len() - before) / 64)?;
    }
    i.meter.pay_bytes(out.len())?;
    if values.next < given.len() && mapping.is_none() {
        return Err(error!(Type, "not all arguments converted during string formatting"));
    }
    Ok(if markup { Value::Markup(out.into()) } else { Value::str(out) })
}

fn one(
    i: &Interp,
    chars: &mut Peekable<Chars>,
    values: &mut Values,
    markup: bool,
    out: &mut String,
) -> Res<()> {
    if chars.next_if_eq(&'%').is_some() {
        out.push('%');
        return Ok(());
    }
    let mut named = None;
    if chars.next_if_eq(&'(').is_some() {
        let mut depth = 1;
        let mut name = String::new();
        for c in chars.by_ref() {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            if depth == 0 {
                break;
            }
            name.push(c);
        }
        if depth != 0 {
            return Err(error!(Value, "incomplete format key"));
        }
        let Some(mapping) = values.mapping else {
            return Err(error!(Type, "format requires a mapping"));
        };
        let found = match mapping {
            Value::Dict(dict) => dict.get(&Value::str(name.as_str()))?.cloned(),
            Value::Undefined(_) => return Err(undefined(mapping)),
            other => return Err(error!(Type, "{} indices must be integers", other.type_name())),
        };
        named = Some(found.ok_or_else(|| error!(Lookup, "'{name}'"))?);
    }
    let mut field = Field::default();
    while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
        match flag {
            '-' => field.left = true,
            '+' => field.plus = true,
            ' ' => field.space = true,
            '#' => field.alternate = true,
            _ => field.zero = true,
        }
    }
    if let Some(width) = size(i, chars, values)? {
        field.left |= width.0;
        field.width = width.1;
    }
    if chars.next_if_eq(&'.').is_some() {
        field.precision = Some(match size(i, chars, values)? {
            Some((false, precision)) => precision,
            _ => 0,
        });
    }
    let _ = chars.next_if(|c| matches!(c, 'h' | 'l' | 'L'));
    let Some(kind) = chars.next() else {
        return Err(error!(Value, "incomplete format"));
    };
    let value = match named {
        Some(value) => value,
        None => values.next()?,
    };
    let (sign, body, numeric) = convert(i, &field, kind, &value, markup)?;
    let length = sign.chars().count() + body.chars().count();
    let missing = field.width.saturating_sub(length);
    let fill = |c: char| std::iter::repeat_n(c, missing);
    if field.left {
        out.push_str(&sign);
        out.push_str(&body);
        out.extend(fill(' '));
    } else if field.zero && numeric {
        out.push_str(&sign);
        out.extend(fill('0'));
        out.push_str(&body);
    } else {
        out.extend(fill(' '));
        out.push_str(&sign);
        out.push_str(&body);
    }
    Ok(())
}

/// Reads a width or precision, and whether it is negative.
fn size(
    i: &Interp,
    chars: &mut Peekable<Chars>,
    values: &mut Values,
) -> Res<Option<(bool, usize)>> {
    if chars.next_if_eq(&'*').is_some() {
        let value = values.next()?;
        let Some(int) = value.as_int() else {
            return Err(error!(Type, "* wants int"));
        };
        return Ok(Some((int < 0, number(i, &int.unsigned_abs().to_string())?)));
    }
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if digits.is_empty() { Ok(None) } else { Ok(Some((false, number(i, &digits)?))) }
}

/// Returns the sign with its prefix, the rest, and whether the field is a number.
fn convert(
    i: &Interp,
    field: &Field,
    kind: char,
    value: &Value,
    markup: bool,
) -> Res<(String, String, bool)> {
    let sign = |negative: bool| match (negative, field.plus, field.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let cut = |text: String| match field.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    };
    let html = |text: String, safe: bool| if markup && !safe { escape_text(&text) } else { text };
    match kind {
        's' => {
            let safe = matches!(value, Value::Markup(_));
            Ok((String::new(), cut(html(to_str(i, value)?.to_string(), safe)), false))
        }
        'r' => Ok((String::new(), cut(html(repr(i, value)?, false)), false)),
        'a' => {
            let text = html(repr(i, value)?, false);
            let ascii = text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) });
            Ok((String::new(), cut(ascii.collect()), false))
        }
        'c' => {
            let c = match value {
                Value::Str(text) if text.chars().count() == 1 => text.to_string(),
                _ => {
                    let int =
                        value.as_int().ok_or_else(|| error!(Type, "%c requires int or char"))?;
                    let c = u32::try_from(int).ok().and_then(char::from_u32);
                    c.ok_or_else(|| error!(Arithmetic, "%c arg not in range(0x110000)"))?
                        .to_string()
                }
            };
            Ok((String::new(), c, false))
        }
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => {
            let int = match value {
                Value::Float(float) if matches!(kind, 'd' | 'i' | 'u') => float_to_int(*float)?,
                Value::Undefined(_) => return Err(undefined(value)),
                other => other.as_int().ok_or_else(|| {
                    error!(
                        Type,
                        "%{kind} format: a real number is required, not {}",
                        other.type_name()
                    )
                })?,
            };
            let size = int.unsigned_abs();
            let (prefix, digits) = match kind {
                'o' => ("0o", format!("{size:o}")),
                'x' => ("0x", format!("{size:x}")),
                'X' => ("0X", format!("{size:X}")),
                _ => ("", size.to_string()),
            };
            let prefix = if field.alternate { prefix } else { "" };
            let zeros = "0".repeat(field.precision.unwrap_or(0).saturating_sub(digits.len()));
            Ok((format!("{}{prefix}", sign(int < 0)), zeros + &digits, true))
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let float = match value {
                Value::Undefined(_) => return Err(undefined(value)),
                other => other.as_number().ok_or_else(|| {
                    error!(Type, "must be real number, not {}", other.type_name())
                })?,
            };
            let lower = kind.to_ascii_lowercase();
            let text =
                float_format(float, lower, field.precision.unwrap_or(6), field.alternate, false);
            let text = if kind.is_uppercase() { text.to_uppercase() } else { text };
            let negative = float.is_sign_negative() && !float.is_nan();
            Ok((sign(negative).to_owned(), text, true))
        }
        other => Err(error!(Value, "unsupported format character '{other}'")),
    }
}
