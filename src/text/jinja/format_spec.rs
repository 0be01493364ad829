//! Python's format specifications, as in `'{:>10,.2f}'`.

use super::error::{Error, Res, error};
use super::interp::Interp;
use super::numbers::{float_format, float_repr};
use super::repr::to_str;
use super::value::Value;

#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    no_negative_zero: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Parses a width or precision. Each digit of output costs fuel.
pub(super) fn number(i: &Interp, digits: &str) -> Res<usize> {
    let number =
        digits.parse().map_err(|_| error!(Value, "too many decimal digits in format string"))?;
    i.meter.pay_bytes(number)?;
    Ok(number)
}

fn parse(i: &Interp, text: &str) -> Res<Spec> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let mut spec = Spec::default();
    let peek = |at: usize| chars.get(at).copied();
    let is_align = |c: Option<char>| matches!(c, Some('<' | '>' | '=' | '^'));
    if is_align(peek(1)) {
        (spec.fill, spec.align, at) = (peek(0), peek(1), 2);
    } else if is_align(peek(0)) {
        (spec.align, at) = (peek(0), 1);
    }
    if let Some(sign @ ('+' | '-' | ' ')) = peek(at) {
        spec.sign = Some(sign);
        at += 1;
    }
    let flag = |at: &mut usize, c: char| {
        let found = peek(*at) == Some(c);
        *at += usize::from(found);
        found
    };
    spec.no_negative_zero = flag(&mut at, 'z');
    spec.alternate = flag(&mut at, '#');
    spec.zero = spec.fill.is_none() && flag(&mut at, '0');
    let digits = |at: &mut usize| {
        let start = *at;
        while peek(*at).is_some_and(|c| c.is_ascii_digit()) {
            *at += 1;
        }
        chars.get(start..*at).unwrap_or_default().iter().collect::<String>()
    };
    let width = digits(&mut at);
    if !width.is_empty() {
        spec.width = number(i, &width)?;
    }
    if let Some(c @ (',' | '_')) = peek(at) {
        spec.grouping = Some(c);
        at += 1;
    }
    if peek(at) == Some('.') {
        at += 1;
        let precision = digits(&mut at);
        if precision.is_empty() {
            return Err(error!(Value, "Format specifier missing precision"));
        }
        spec.precision = Some(number(i, &precision)?);
    }
    spec.kind = peek(at);
    if chars.len() > at + 1 {
        return Err(error!(Value, "Invalid format specifier '{text}'"));
    }
    Ok(spec)
}

/// `format(value, spec)`
pub(super) fn format(i: &Interp, value: &Value, spec: &str) -> Res<String> {
    if spec.is_empty() {
        return Ok(to_str(i, value)?.to_string());
    }
    match value {
        Value::Str(text) | Value::Markup(text) => format_text(&parse(i, spec)?, text),
        Value::Float(float) => format_float(&parse(i, spec)?, *float),
        Value::Int(_) | Value::Bool(_) => {
            let spec = parse(i, spec)?;
            format_int(&spec, value.as_int().unwrap_or(0))
        }
        other => {
            let kind = other.type_name();
            Err(error!(Type, "unsupported format string passed to {kind}.__format__"))
        }
    }
}

fn unknown(spec: &Spec, kind: &str) -> Error {
    let code = spec.kind.unwrap_or('?');
    error!(Value, "Unknown format code '{code}' for object of type '{kind}'")
}

fn pad(spec: &Spec, body: &str, default: char) -> String {
    let missing = spec.width.saturating_sub(body.chars().count());
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    let (left, right) = match spec.align.unwrap_or(default) {
        '<' => (0, missing),
        '^' => (missing / 2, missing - missing / 2),
        _ => (missing, 0),
    };
    let side = |count: usize| std::iter::repeat_n(fill, count);
    side(left).chain(body.chars()).chain(side(right)).collect()
}

fn format_text(spec: &Spec, text: &str) -> Res<String> {
    if !matches!(spec.kind, None | Some('s')) {
        return Err(unknown(spec, "str"));
    }
    if spec.sign.is_some() || spec.alternate || spec.no_negative_zero {
        return Err(error!(Value, "Sign, '#' or 'z' not allowed in string format specifier"));
    }
    if spec.align == Some('=') {
        return Err(error!(Value, "'=' alignment not allowed in string format specifier"));
    }
    if let Some(grouping) = spec.grouping {
        return Err(error!(Value, "Cannot specify '{grouping}' with 's'."));
    }
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    Ok(pad(spec, &cut, '<'))
}

/// Assembles a number. With `=` alignment, the padding is between sign and digits.
fn number_text(
    spec: &Spec,
    negative: bool,
    prefix: &str,
    digits: &str,
    rest: &str,
    group: usize,
) -> String {
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    };
    let align = spec.align.or(spec.zero.then_some('='));
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    let fixed = sign.len() + prefix.len() + rest.chars().count();
    let wanted = spec.width.saturating_sub(fixed);
    let inside = align == Some('=');
    let digits = match spec.grouping {
        Some(separator) => {
            grouped(digits, separator, group, if inside && fill == '0' { wanted } else { 0 })
        }
        None => digits.to_owned(),
    };
    if inside {
        let missing = wanted.saturating_sub(digits.chars().count());
        let padding: String = std::iter::repeat_n(fill, missing).collect();
        return format!("{sign}{prefix}{padding}{digits}{rest}");
    }
    pad(spec, &format!("{sign}{prefix}{digits}{rest}"), '>')
}

/// Digits in groups, with leading zeros up to a width of `least`.
fn grouped(digits: &str, separator: char, group: usize, least: usize) -> String {
    if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return digits.to_owned();
    }
    let mut reversed = Vec::new();
    let mut left = digits.chars().rev();
    let mut count = 0;
    loop {
        let next = left.next();
        if next.is_none() && (reversed.len() >= least && !reversed.is_empty()) {
            break;
        }
        if count > 0 && count % group == 0 {
            // A separator is never first: a digit precedes it.
            reversed.push(separator);
        }
        reversed.push(next.unwrap_or('0'));
        count += 1;
    }
    reversed.into_iter().rev().collect()
}

fn format_int(spec: &Spec, int: i128) -> Res<String> {
    let kind = spec.kind.unwrap_or('d');
    if matches!(kind, 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') {
        return format_float(spec, Value::Int(int).as_number().unwrap_or(0.0));
    }
    if spec.precision.is_some() {
        return Err(error!(Value, "Precision not allowed in integer format specifier"));
    }
    if spec.no_negative_zero {
        return Err(error!(Value, "Negative zero coercion (z) not allowed in integer format"));
    }
    let size = int.unsigned_abs();
    let (prefix, digits, group) = match kind {
        'd' => ("", size.to_string(), 3),
        'n' if spec.grouping.is_none() => ("", size.to_string(), 3),
        'b' => ("0b", format!("{size:b}"), 4),
        'o' => ("0o", format!("{size:o}"), 4),
        'x' => ("0x", format!("{size:x}"), 4),
        'X' => ("0X", format!("{size:X}"), 4),
        'c' => {
            if spec.sign.is_some() || spec.alternate {
                return Err(error!(Value, "Sign not allowed with integer format specifier 'c'"));
            }
            let c = u32::try_from(int).ok().and_then(char::from_u32);
            let c = c.ok_or_else(|| error!(Arithmetic, "%c arg not in range(0x110000)"))?;
            return Ok(pad(spec, &c.to_string(), '>'));
        }
        _ => return Err(unknown(spec, "int")),
    };
    if group == 4 && spec.grouping == Some(',') {
        return Err(error!(Value, "Cannot specify ',' with '{kind}'."));
    }
    let prefix = if spec.alternate { prefix } else { "" };
    Ok(number_text(spec, int < 0, prefix, &digits, "", group))
}

fn format_float(spec: &Spec, float: f64) -> Res<String> {
    let kind = spec.kind;
    let mut text = match kind {
        None => match spec.precision {
            None => float_repr(float.abs()),
            Some(precision) => float_format(float, 'g', precision, spec.alternate, true),
        },
        Some('n') if spec.grouping.is_some() => {
            return Err(error!(Value, "Cannot specify ',' with 'n'."));
        }
        Some('n') => float_format(float, 'g', spec.precision.unwrap_or(6), spec.alternate, false),
        Some('%') => {
            float_format(float * 100.0, 'f', spec.precision.unwrap_or(6), spec.alternate, false)
                + "%"
        }
        Some(c @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G')) => {
            let lower = c.to_ascii_lowercase();
            float_format(float, lower, spec.precision.unwrap_or(6), spec.alternate, false)
        }
        Some(_) => return Err(unknown(spec, "float")),
    };
    if kind.is_some_and(char::is_uppercase) {
        text = text.to_uppercase();
    }
    let zero = !text.contains(|c: char| c.is_ascii_digit() && c != '0')
        && !text.contains(char::is_alphabetic);
    let negative = float.is_sign_negative() && !float.is_nan() && !(spec.no_negative_zero && zero);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let (digits, rest) = if digits.is_empty() { (rest, "") } else { (digits, rest) };
    Ok(number_text(spec, negative, "", digits, rest, 3))
}
