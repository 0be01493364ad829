//! Equality and order of values, as in Python.

use super::error::{Res, error};
use super::meter::Meter;
use super::operands::undefined;
use super::value::{Key, Value, View};
use std::cmp::Ordering;

/// `a == b`
pub(super) fn equal(m: &Meter, a: &Value, b: &Value) -> Res<bool> {
    m.pay(1)?;
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Str(a) | Value::Markup(a), Value::Str(b) | Value::Markup(b)) => {
            m.pay_bytes(a.len().min(b.len()))?;
            a == b
        }
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b))
        | (Value::Tuple(a) | Value::Group(a), Value::Tuple(b) | Value::Group(b)) => {
            if a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(m, a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.map.len() != b.map.len() {
                return Ok(false);
            }
            for (key, (_, value)) in &a.map {
                match b.map.get(key) {
                    Some((_, other)) if equal(m, value, other)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::View(View::Keys, a), Value::View(View::Keys, b)) => {
            m.pay_values(a.map.len())?;
            a.map.len() == b.map.len() && a.map.keys().all(|key| b.map.contains_key(key))
        }
        (Value::View(View::Items, a), Value::View(View::Items, b)) => {
            return equal(m, &Value::Dict(a.clone()), &Value::Dict(b.clone()));
        }
        (Value::Range(a), Value::Range(b)) => {
            let (a, b) = (Value::Range(a.clone()), Value::Range(b.clone()));
            Key::of(&a)? == Key::of(&b)?
        }
        _ => match number_order(a, b) {
            Some(order) => order == Some(Ordering::Equal),
            None => a.is(b),
        },
    })
}

/// The order of two numbers: `Some(None)` if one is NaN, `None` if one is not a number.
fn number_order(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Some(a.partial_cmp(b)),
        (Value::Float(a), b) => Some(int_float(b.as_int()?, *a).map(Ordering::reverse)),
        (a, Value::Float(b)) => Some(int_float(a.as_int()?, *b)),
        (a, b) => Some(Some(a.as_int()?.cmp(&b.as_int()?))),
    }
}

/// The exact order of an integer and a float.
#[expect(clippy::cast_possible_truncation, reason = "the float is whole and within range")]
fn int_float(int: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= 1.7e38 {
        return Some(Ordering::Less);
    }
    if float <= -1.7e38 {
        return Some(Ordering::Greater);
    }
    let whole = float.floor();
    Some(int.cmp(&(whole as i128)).then(if float > whole {
        Ordering::Less
    } else {
        Ordering::Equal
    }))
}

/// The order of two values; `None` if one is NaN. Values that Python cannot order are an error.
pub(super) fn order(m: &Meter, a: &Value, b: &Value, sign: &str) -> Res<Option<Ordering>> {
    m.pay(1)?;
    if let Some(order) = number_order(a, b) {
        return Ok(order);
    }
    match (a, b) {
        (Value::Str(a) | Value::Markup(a), Value::Str(b) | Value::Markup(b)) => {
            m.pay_bytes(a.len().min(b.len()))?;
            Ok(Some(a.cmp(b)))
        }
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Some(a.cmp(b))),
        (Value::List(a), Value::List(b))
        | (Value::Tuple(a) | Value::Group(a), Value::Tuple(b) | Value::Group(b)) => {
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(m, a, b)? {
                    return order(m, a, b, sign);
                }
            }
            Ok(Some(a.items.len().cmp(&b.items.len())))
        }
        (Value::Undefined(_), _) => Err(undefined(a)),
        (_, Value::Undefined(_)) => Err(undefined(b)),
        _ => Err(error!(
            Type,
            "'{sign}' not supported between instances of '{}' and '{}'",
            a.type_name(),
            b.type_name()
        )),
    }
}
