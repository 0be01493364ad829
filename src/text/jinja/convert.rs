//! `int(value)` and `float(value)`.

use super::error::{Res, error};
use super::numbers::{parse_float, parse_int};
use super::operands::undefined;
use super::value::{self, Value};

/// `int(float)`
pub(super) fn float_to_int(float: f64) -> Res<i128> {
    if float.is_nan() {
        return Err(error!(Value, "cannot convert float NaN to integer"));
    }
    if float.is_infinite() {
        return Err(error!(Arithmetic, "cannot convert float infinity to integer"));
    }
    value::float_to_int(float.trunc())
        .ok_or_else(|| error!(Limit, "an integer of more than 128 bits"))
}

/// `int(value, base)`
pub(super) fn to_int(value: &Value, base: i128) -> Res<i128> {
    match value {
        Value::Undefined(_) => Err(undefined(value)),
        Value::Float(float) => float_to_int(*float),
        Value::Str(text) | Value::Markup(text) => {
            let base = u32::try_from(base).ok().filter(|b| *b == 0 || (2..=36).contains(b));
            let base = base.ok_or_else(|| error!(Value, "int() base must be >= 2 and <= 36, or 0"))?;
            match parse_int(text, base) {
                Some(Ok(int)) => Ok(int),
                Some(Err(())) => Err(error!(Limit, "an integer of more than 128 bits")),
                None => Err(error!(Value, "invalid literal for int()")),
            }
        }
        Value::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes).ok();
            match text.and_then(|t| parse_int(t, 10)) {
                Some(Ok(int)) => Ok(int),
                _ => Err(error!(Value, "invalid literal for int()")),
            }
        }
        other => other.as_int().ok_or_else(|| {
            let kind = other.type_name();
            error!(Type, "int() argument must be a string, a bytes-like object or a real number, not '{kind}'")
        }),
    }
}

/// `float(value)`
pub(super) fn to_float(value: &Value) -> Res<f64> {
    match value {
        Value::Undefined(_) => Err(undefined(value)),
        Value::Str(text) | Value::Markup(text) => {
            parse_float(text).ok_or_else(|| error!(Value, "could not convert string to float"))
        }
        Value::Bytes(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(parse_float)
            .ok_or_else(|| error!(Value, "could not convert bytes to float")),
        other => other.as_number().ok_or_else(|| {
            error!(
                Type,
                "float() argument must be a string or a real number, not '{}'",
                other.type_name()
            )
        }),
    }
}
