//! Converts numbers to text and back, as Python does.

use super::unicode::{decimal, is_space};

/// `repr` of a float.
pub(in crate::text) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        // Rust writes the shortest digits too.
        let fixed = format!("{value}");
        return if fixed.contains('.') { fixed } else { fixed + ".0" };
    }
    exponent(&format!("{value:e}"))
}

/// Converts Rust's `1.5e-7` to C's `1.5e-07`.
fn exponent(text: &str) -> String {
    let Some((digits, exponent)) = text.split_once('e') else {
        return text.to_owned();
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// No float has more digits after the point.
const MAX_FRACTION: usize = 1100;

fn fixed(value: f64, precision: usize) -> String {
    let known = precision.min(MAX_FRACTION);
    format!("{value:.known$}") + &"0".repeat(precision - known)
}

fn scientific(value: f64, precision: usize) -> String {
    let known = precision.min(MAX_FRACTION);
    let text = format!("{value:.known$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    exponent(&format!("{digits}{}e{power}", "0".repeat(precision - known)))
}

/// Formats a float without its sign in one of C's formats: `e`, `f` or `g`.
///
/// `alternate` keeps the point and trailing zeros. `point` makes `g` show a fraction.
pub(super) fn float_format(
    value: f64,
    kind: char,
    precision: usize,
    alternate: bool,
    point: bool,
) -> String {
    let value = value.abs();
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return "inf".to_owned();
    }
    match kind {
        'e' => {
            let text = scientific(value, precision);
            if alternate && precision == 0 { text.replacen('e', ".e", 1) } else { text }
        }
        'f' => {
            let text = fixed(value, precision);
            if alternate && precision == 0 { text + "." } else { text }
        }
        _ => {
            let precision = precision.max(1);
            let text = scientific(value, precision - 1);
            let power: i64 = text.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
            let digits = i64::try_from(precision).unwrap_or(i64::MAX);
            if power < -4 || power >= digits - i64::from(point) {
                let (mantissa, power) = text.split_once('e').unwrap_or((&text, "+00"));
                return format!("{}e{power}", trimmed(mantissa, alternate));
            }
            let text = fixed(value, usize::try_from(digits - 1 - power).unwrap_or(0));
            let text = trimmed(&text, alternate);
            if point && !text.contains('.') { text + ".0" } else { text }
        }
    }
}

/// Removes trailing zeros of a fraction, unless `alternate` is set.
fn trimmed(digits: &str, alternate: bool) -> String {
    match (digits.contains('.'), alternate) {
        (true, false) => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        (false, true) => format!("{digits}."),
        _ => digits.to_owned(),
    }
}

/// `int(text, base)`; `None` for a `ValueError`.
pub(super) fn parse_int(text: &str, base: u32) -> Option<Result<i128, ()>> {
    let text = text.trim_matches(is_space);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixes = [("0b", 2), ("0o", 8), ("0x", 16)];
    let prefix = prefixes.into_iter().find(|(prefix, of)| {
        let here = text.get(..2).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
        here && (base == 0 || base == *of)
    });
    let (radix, digits) = match prefix {
        Some((_, radix)) => {
            let rest = text.get(2..)?;
            (radix, rest.strip_prefix('_').unwrap_or(rest))
        }
        None if base == 0 => {
            // Only zero itself may have leading zeros.
            if text.starts_with('0') && text.chars().any(|c| c != '0' && c != '_') {
                return None;
            }
            (10, text)
        }
        None => (base, text),
    };
    let plain = without_underscores(digits)?;
    let mut value = Some(0i128);
    for c in plain.chars() {
        let digit = c.to_digit(36).or_else(|| decimal(c)).filter(|d| *d < radix)?;
        let times = |v: i128| v.checked_mul(i128::from(radix))?.checked_add(i128::from(digit));
        value = value.and_then(times);
    }
    Some(value.map(|v| if negative { -v } else { v }).ok_or(()))
}

/// Removes underscores, which must be between digits.
fn without_underscores(text: &str) -> Option<String> {
    if text.is_empty() || text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    Some(text.replace('_', ""))
}

/// `float(text)`; `None` for a `ValueError`.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let ascii: String = text
        .chars()
        .map(|c| decimal(c).and_then(|d| char::from_digit(d, 10)).unwrap_or(c))
        .collect();
    let (negative, body) = match ascii.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, ascii.strip_prefix('+').unwrap_or(&ascii)),
    };
    let value = match body.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => f64::NAN,
        lower => {
            let bytes = lower.as_bytes();
            let digit =
                |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
            let allowed =
                |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-' | b'_');
            if !bytes.iter().all(allowed) || lower.starts_with(['+', '-']) {
                return None;
            }
            for (i, _) in lower.match_indices('_') {
                if !digit(i.checked_sub(1)) || !digit(Some(i + 1)) {
                    return None;
                }
            }
            lower.replace('_', "").parse().ok()?
        }
    };
    Some(if negative { -value } else { value })
}

/// `round(value, digits)`
pub(super) fn round(value: f64, digits: i128) -> f64 {
    if !value.is_finite() || digits > 323 {
        return value;
    }
    if digits >= 0 {
        let digits = usize::try_from(digits).unwrap_or(0);
        return format!("{value:.digits$}").parse().unwrap_or(value);
    }
    if digits < -308 {
        return 0.0f64.copysign(value);
    }
    let power = 10f64.powi(i32::try_from(-digits).unwrap_or(308));
    (value / power).round_ties_even() * power
}

/// `round(value, digits)` of an integer.
pub(super) fn round_int(value: i128, digits: i128) -> i128 {
    if digits >= 0 {
        return value;
    }
    let Some(power) = u32::try_from(-digits).ok().and_then(|d| 10i128.checked_pow(d)) else {
        return 0;
    };
    let down = value - value.rem_euclid(power);
    let twice = value.rem_euclid(power).saturating_mul(2);
    let even = (down / power) % 2 == 0;
    if twice > power || (twice == power && !even) { down.saturating_add(power) } else { down }
}
