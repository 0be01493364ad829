//! Filters for numbers.

use super::super::ast::Operator;
use super::super::bind::Bound;
use super::super::convert::{float_to_int, to_float, to_int};
use super::super::error::{Class, Res, error};
use super::super::interp::Interp;
use super::super::numbers::{round, round_int};
use super::super::operands::{undefined, wrong_type};
use super::super::value::Value;

pub(super) fn filter(i: &Interp, name: &str, value: &Value, args: &mut Bound) -> Res<Value> {
    match name {
        "abs" => match value {
            Value::Float(float) => Ok(Value::Float(float.abs())),
            _ => match value.as_int() {
                Some(int) => int
                    .checked_abs()
                    .map(Value::Int)
                    .ok_or_else(|| error!(Limit, "an integer of more than 128 bits")),
                None => Err(wrong_type(value, "bad operand type for abs()")),
            },
        },
        "float" => {
            let default = args.given(0).unwrap_or(Value::Float(0.0));
            match to_float(value) {
                Ok(float) => Ok(Value::Float(float)),
                Err(e) if matches!(e.class(), Class::Type | Class::Value) => Ok(default),
                Err(e) => Err(e),
            }
        }
        "int" => {
            let default = args.given(0).unwrap_or(Value::Int(0));
            let base = args.int(1, 10)?;
            i.meter.pay_bytes(value.as_str().map_or(0, |t| t.len()))?;
            let error = match to_int(value, base) {
                Ok(int) => return Ok(Value::Int(int)),
                Err(error) => error,
            };
            if !matches!(error.class(), Class::Type | Class::Value) {
                return Err(error);
            }
            match to_float(value).and_then(float_to_int) {
                Ok(int) => Ok(Value::Int(int)),
                Err(e) if matches!(e.class(), Class::Type | Class::Value | Class::Arithmetic) => {
                    Ok(default)
                }
                Err(e) => Err(e),
            }
        }
        "round" => rounded(i, value, args),
        "sum" => {
            let path = i.path(args.some(0));
            let mut sum = args.given(1).unwrap_or(Value::Int(0));
            if sum.as_str().is_some() {
                return Err(error!(Type, "sum() can't sum strings [use ''.join(seq) instead]"));
            }
            let iter = i.iterate(value)?;
            while let Some(item) = i.advance(&iter)? {
                let item = i.follow(item, &path, None)?;
                sum = i.binary(Operator::Add, &sum, &item)?;
            }
            Ok(sum)
        }
        _ => size(value, args.truthy(0)),
    }
}

fn rounded(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let precision = args.given(0).unwrap_or(Value::Int(0));
    let method = args.given(1).unwrap_or_else(|| Value::str("common"));
    let method = method.as_str().cloned().unwrap_or_default();
    if !["common", "ceil", "floor"].contains(&&*method) {
        return Err(error!(Runtime, "method must be common, ceil or floor"));
    }
    if value.is_undefined() {
        return Err(undefined(value));
    }
    if &*method == "common" {
        return match (value, &precision) {
            // Python's round() without digits returns an integer.
            (Value::Float(float), Value::None) => {
                float_to_int(float.round_ties_even()).map(Value::Int)
            }
            (Value::Float(float), digits) => {
                let digits =
                    digits.as_int().ok_or_else(|| wrong_type(digits, "an integer is required"))?;
                Ok(Value::Float(round(*float, digits)))
            }
            (value, digits) => {
                let int = value.as_int().ok_or_else(|| {
                    error!(Type, "type {} doesn't define __round__ method", value.type_name())
                })?;
                let digits = match digits {
                    Value::None => 0,
                    digits => digits
                        .as_int()
                        .ok_or_else(|| wrong_type(digits, "an integer is required"))?,
                };
                Ok(Value::Int(round_int(int, digits)))
            }
        };
    }
    let power = i.binary(Operator::Pow, &Value::Int(10), &precision)?;
    let scaled = i.binary(Operator::Mul, value, &power)?;
    let whole = match &scaled {
        Value::Float(float) => {
            let float = if &*method == "ceil" { float.ceil() } else { float.floor() };
            Value::Int(float_to_int(float)?)
        }
        other => {
            Value::Int(other.as_int().ok_or_else(|| wrong_type(other, "must be real number"))?)
        }
    };
    i.binary(Operator::Div, &whole, &power)
}

fn size(value: &Value, binary: bool) -> Res<Value> {
    let bytes = to_float(value)?;
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let units = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
    if bytes == 1.0 {
        return Ok(Value::str("1 Byte"));
    }
    if bytes < base {
        let whole = float_to_int(bytes)?;
        return Ok(Value::str(format!("{whole} Bytes")));
    }
    let mut unit = base;
    let mut text = String::new();
    for prefix in units {
        unit *= base;
        let prefix =
            if binary { format!("{}iB", prefix.to_uppercase()) } else { format!("{prefix}B") };
        text = format!("{:.1} {prefix}", base * bytes / unit);
        if bytes < unit {
            break;
        }
    }
    // Python writes `nan`.
    let text = text.replacen("NaN", "nan", 1);
    Ok(Value::str(text))
}
