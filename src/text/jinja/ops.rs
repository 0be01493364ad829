//! Python's operators.

use super::ast::{Comparison, Operator};
use super::compare::{equal, order};
use super::error::{Error, Res, error};
use super::escape::escape;
use super::interp::Interp;
use super::operands::undefined;
use super::printf::percent;
use super::value::{Key, Value, View};
use std::cmp::Ordering;
use std::sync::Arc;

impl Interp<'_> {
    pub(super) fn compare(&self, comparison: Comparison, a: &Value, b: &Value) -> Res<bool> {
        let m = &self.meter;
        let ordered =
            |sign: &str, test: fn(Ordering) -> bool| Ok(order(m, a, b, sign)?.is_some_and(test));
        match comparison {
            Comparison::Eq => equal(m, a, b),
            Comparison::Ne => Ok(!equal(m, a, b)?),
            Comparison::Gt => ordered(">", Ordering::is_gt),
            Comparison::Ge => ordered(">=", Ordering::is_ge),
            Comparison::Lt => ordered("<", Ordering::is_lt),
            Comparison::Le => ordered("<=", Ordering::is_le),
            Comparison::In => self.contains(b, a),
            Comparison::NotIn => Ok(!self.contains(b, a)?),
        }
    }

    /// `item in container`
    pub(super) fn contains(&self, container: &Value, item: &Value) -> Res<bool> {
        let m = &self.meter;
        match container {
            Value::Str(text) | Value::Markup(text) => match item.as_str() {
                Some(part) => {
                    m.pay_bytes(text.len())?;
                    Ok(text.contains(&**part))
                }
                None => Err(error!(
                    Type,
                    "'in <string>' requires string as left operand, not {}",
                    item.type_name()
                )),
            },
            Value::Dict(dict) | Value::View(View::Keys, dict) => {
                Ok(dict.map.contains_key(&Key::of(item)?))
            }
            Value::Range(range) if item.as_int().is_some() => {
                let item = item.as_int().unwrap_or(0);
                let offset = item.saturating_sub(range.start);
                let index = if offset % range.step == 0 { offset / range.step } else { -1 };
                Ok(index >= 0 && index < range.len())
            }
            _ => {
                let iter = self.iterate(container).map_err(|e| match container {
                    Value::Undefined(_) => e,
                    other => {
                        error!(Type, "argument of type '{}' is not iterable", other.type_name())
                    }
                })?;
                while let Some(other) = self.advance(&iter)? {
                    if other.is(item) || equal(m, &other, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    pub(super) fn binary(&self, op: Operator, a: &Value, b: &Value) -> Res<Value> {
        for operand in [a, b] {
            // Text on the left of % accepts any operand.
            if operand.is_undefined() && !(op == Operator::Mod && a.as_str().is_some()) {
                return Err(undefined(operand));
            }
        }
        match op {
            Operator::Add => self.add(a, b),
            Operator::Mul => self.multiply(a, b),
            Operator::Mod if a.as_str().is_some() => percent(self, a, b),
            _ => arithmetic(op, a, b),
        }
    }

    fn add(&self, a: &Value, b: &Value) -> Res<Value> {
        let joined = |a: &str, b: &str| -> Res<Arc<str>> {
            self.meter.pay_bytes(a.len() + b.len())?;
            Ok(Arc::from(format!("{a}{b}")))
        };
        Ok(match (a, b) {
            (Value::Str(a), Value::Str(b)) => Value::Str(joined(a, b)?),
            (Value::Markup(a), Value::Str(_) | Value::Markup(_)) => {
                Value::Markup(joined(a, &escape(self, b)?)?)
            }
            (Value::Str(_), Value::Markup(b)) => Value::Markup(joined(&escape(self, a)?, b)?),
            (Value::Bytes(a), Value::Bytes(b)) => Value::Bytes([&**a, &**b].concat().into()),
            (Value::List(x), Value::List(y))
            | (Value::Tuple(x) | Value::Group(x), Value::Tuple(y) | Value::Group(y)) => {
                self.meter.pay(x.items.len() + y.items.len())?;
                let items: Vec<Value> = x.items.iter().chain(&y.items).cloned().collect();
                if matches!(a, Value::List(_)) { Value::list(items)? } else { Value::tuple(items)? }
            }
            _ => return arithmetic(Operator::Add, a, b),
        })
    }

    fn multiply(&self, a: &Value, b: &Value) -> Res<Value> {
        let (of, times) = match (a.as_int(), b.as_int()) {
            (None, Some(times)) if a.as_number().is_none() => (a, times),
            (Some(times), None) if b.as_number().is_none() => (b, times),
            _ => return arithmetic(Operator::Mul, a, b),
        };
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        let text = |text: &str| -> Res<Arc<str>> {
            self.meter.pay_bytes(text.len().saturating_mul(times))?;
            Ok(Arc::from(text.repeat(if text.is_empty() { 0 } else { times })))
        };
        let items = |items: &[Value]| -> Res<Vec<Value>> {
            self.meter.pay(items.len().saturating_mul(times))?;
            Ok(items.iter().cycle().take(items.len().saturating_mul(times)).cloned().collect())
        };
        Ok(match of {
            Value::Str(s) => Value::Str(text(s)?),
            Value::Markup(s) => Value::Markup(text(s)?),
            Value::Bytes(bytes) => {
                self.meter.pay_bytes(bytes.len().saturating_mul(times))?;
                Value::Bytes(bytes.repeat(if bytes.is_empty() { 0 } else { times }).into())
            }
            Value::List(seq) => Value::list(items(&seq.items)?)?,
            Value::Tuple(seq) | Value::Group(seq) => Value::tuple(items(&seq.items)?)?,
            _ => return arithmetic(Operator::Mul, a, b),
        })
    }

    /// `-value` and `+value`
    pub(super) fn signed(&self, value: &Value, negative: bool) -> Res<Value> {
        match value {
            Value::Undefined(_) => Err(undefined(value)),
            Value::Float(float) => Ok(Value::Float(if negative { -float } else { *float })),
            _ => match value.as_int() {
                Some(int) if negative => int.checked_neg().map(Value::Int).ok_or_else(too_big),
                Some(int) => Ok(Value::Int(int)),
                None => {
                    let sign = if negative { '-' } else { '+' };
                    Err(error!(Type, "bad operand type for unary {sign}: '{}'", value.type_name()))
                }
            },
        }
    }
}

fn too_big() -> Error {
    error!(Limit, "an integer of more than 128 bits")
}

fn symbol(op: Operator) -> &'static str {
    match op {
        Operator::Add => "+",
        Operator::Sub => "-",
        Operator::Mul => "*",
        Operator::Div => "/",
        Operator::FloorDiv => "//",
        Operator::Mod => "%",
        Operator::Pow => "** or pow()",
    }
}

/// Applies an operator to numbers.
pub(super) fn arithmetic(op: Operator, a: &Value, b: &Value) -> Res<Value> {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return integers(op, x, y);
    }
    match (a.as_number(), b.as_number()) {
        (Some(x), Some(y)) => floats(op, x, y).map(Value::Float),
        _ => Err(error!(
            Type,
            "unsupported operand type(s) for {}: '{}' and '{}'",
            symbol(op),
            a.type_name(),
            b.type_name()
        )),
    }
}

fn integers(op: Operator, x: i128, y: i128) -> Res<Value> {
    let zero = || error!(Arithmetic, "division by zero");
    let int = match op {
        Operator::Add => x.checked_add(y),
        Operator::Sub => x.checked_sub(y),
        Operator::Mul => x.checked_mul(y),
        Operator::Div => {
            if y == 0 {
                return Err(zero());
            }
            return quotient(x, y).map(Value::Float);
        }
        Operator::FloorDiv => {
            if y == 0 {
                return Err(zero());
            }
            x.checked_div(y).map(|q| if x % y != 0 && (x < 0) != (y < 0) { q - 1 } else { q })
        }
        Operator::Mod => {
            if y == 0 {
                return Err(zero());
            }
            Some(modulo(x, y))
        }
        Operator::Pow => match u32::try_from(y) {
            Ok(y) => x.checked_pow(y),
            Err(_) if y < 0 => {
                let (x, y) = (Value::Int(x).as_number(), Value::Int(y).as_number());
                return floats(op, x.unwrap_or(0.0), y.unwrap_or(0.0)).map(Value::Float);
            }
            Err(_) => match x {
                0 | 1 => Some(x),
                -1 => Some(if y % 2 == 0 { 1 } else { -1 }),
                _ => None,
            },
        },
    };
    int.map(Value::Int).ok_or_else(too_big)
}

/// The remainder with the sign of the divisor.
pub(super) fn modulo(x: i128, y: i128) -> i128 {
    let rest = x.checked_rem(y).unwrap_or(0);
    if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
}

/// The correctly rounded quotient of two integers.
#[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
fn quotient(x: i128, y: i128) -> Res<f64> {
    let (mut a, mut b) = (x, y);
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    let (x, y) = (x.checked_div(a).unwrap_or(x), y.checked_div(a).unwrap_or(y));
    let exact = |v: i128| v.unsigned_abs().is_power_of_two() || v.unsigned_abs() < 1 << 53;
    // A power of two on either side only changes the exponent.
    if (exact(x) && exact(y)) || y.unsigned_abs().is_power_of_two() || x == 0 {
        return Ok(x as f64 / y as f64);
    }
    Err(error!(Limit, "a division of integers beyond 2^53"))
}

fn floats(op: Operator, x: f64, y: f64) -> Res<f64> {
    Ok(match op {
        Operator::Add => x + y,
        Operator::Sub => x - y,
        Operator::Mul => x * y,
        Operator::Pow => {
            if x == 0.0 && y < 0.0 {
                return Err(error!(Arithmetic, "0.0 cannot be raised to a negative power"));
            }
            if x < 0.0 && x.is_finite() && y.is_finite() && y.fract() != 0.0 {
                return Err(error!(Limit, "complex numbers are not supported"));
            }
            let power = x.powf(y);
            if power.is_infinite() && x.is_finite() && y.is_finite() {
                return Err(error!(Arithmetic, "(34, 'Numerical result out of range')"));
            }
            power
        }
        Operator::Div if y == 0.0 => return Err(error!(Arithmetic, "float division by zero")),
        Operator::Div => x / y,
        Operator::FloorDiv | Operator::Mod if y == 0.0 => {
            return Err(error!(Arithmetic, "float floor division or modulo by zero"));
        }
        Operator::FloorDiv | Operator::Mod => {
            let mut rest = x % y;
            let mut quotient = (x - rest) / y;
            if rest == 0.0 {
                rest = 0.0f64.copysign(y);
            } else if (rest < 0.0) != (y < 0.0) {
                rest += y;
                quotient -= 1.0;
            }
            if op == Operator::Mod {
                return Ok(rest);
            }
            if quotient == 0.0 {
                return Ok(0.0f64.copysign(x / y));
            }
            let floor = quotient.floor();
            if quotient - floor > 0.5 { floor + 1.0 } else { floor }
        }
    })
}
