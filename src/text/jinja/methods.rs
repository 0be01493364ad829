//! Methods of Python's lists, tuples, dicts, numbers and ranges.

use super::bind::Signature;
use super::compare::equal;
use super::error::{Res, error};
use super::interp::Interp;
use super::value::{CallArgs, Dict, Key, Value, View};
use std::rc::Rc;

impl Interp<'_> {
    pub(super) fn other_method(&self, value: &Value, name: &str, args: CallArgs) -> Res<Value> {
        let bind = |params: &[&str], required: usize, positional: usize, args: CallArgs| {
            Signature { name, params, required, positional }.bind(args)
        };
        match (value, name) {
            (_, "count") => {
                let item = bind(&["value"], 1, 1, args)?.take(0);
                let mut count = 0;
                for other in self.collect(value)? {
                    count += i128::from(other.is(&item) || equal(&self.meter, &other, &item)?);
                }
                Ok(Value::Int(count))
            }
            (_, "index") => self.index_of(value, args),
            (Value::List(seq), "copy") => {
                bind(&[], 0, 0, args)?;
                self.meter.pay_values(seq.items.len())?;
                Ok(value.clone())
            }
            (Value::Dict(dict), _) => self.dict_method(dict, name, args),
            (Value::View(_, dict), "isdisjoint") => {
                let other = bind(&["other"], 1, 1, args)?.take(0);
                for item in self.collect(&other)? {
                    if dict.map.contains_key(&Key::of(&item)?) {
                        return Ok(Value::Bool(false));
                    }
                }
                Ok(Value::Bool(true))
            }
            (Value::Float(float), _) => {
                let float = *float;
                if name == "fromhex" {
                    return Err(error!(Limit, "float.fromhex is not supported"));
                }
                bind(&[], 0, 0, args)?;
                match name {
                    "is_integer" => Ok(Value::Bool(float.is_finite() && float.fract() == 0.0)),
                    "conjugate" => Ok(value.clone()),
                    "hex" => Ok(Value::str(float_hex(float))),
                    _ => float_ratio(float),
                }
            }
            (Value::Int(_) | Value::Bool(_), _) => {
                self.int_method(value.as_int().unwrap_or(0), name, args)
            }
            (Value::Bytes(bytes), "decode") => {
                let mut args = bind(&["encoding", "errors"], 0, 0, args)?;
                let encoding = match args.given(0) {
                    Some(encoding) => {
                        encoding.as_str().map(|e| e.to_ascii_lowercase()).unwrap_or_default()
                    }
                    None => "utf-8".to_owned(),
                };
                match &*encoding {
                    "utf-8" | "utf8" | "ascii" => match std::str::from_utf8(bytes) {
                        Ok(text) if encoding != "ascii" || text.is_ascii() => Ok(Value::str(text)),
                        _ => Err(error!(Value, "'{encoding}' codec can't decode the bytes")),
                    },
                    "latin-1" | "latin1" | "iso-8859-1" => {
                        Ok(Value::str(bytes.iter().map(|b| char::from(*b)).collect::<String>()))
                    }
                    _ => Err(error!(Limit, "the encoding {encoding:?} is not supported")),
                }
            }
            (Value::Bytes(bytes), "hex") => {
                bind(&[], 0, 0, args)?;
                self.meter.pay_bytes(bytes.len())?;
                Ok(Value::str(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()))
            }
            _ => Err(error!(Limit, "the method {name} of {} is not supported", value.type_name())),
        }
    }

    fn index_of(&self, value: &Value, args: CallArgs) -> Res<Value> {
        let mut args = Signature {
            name: "index",
            params: &["value", "start", "stop"],
            required: 1,
            positional: 3,
        }
        .bind(args)?;
        let item = args.take(0);
        let items = self.collect(value)?;
        let len = i128::try_from(items.len()).unwrap_or(0);
        let clamp =
            |bound: i128| if bound < 0 { bound.saturating_add(len).max(0) } else { bound.min(len) };
        let (start, stop) = (clamp(args.int(1, 0)?), clamp(args.int(2, len)?));
        for (at, other) in items.iter().enumerate() {
            let at = i128::try_from(at).unwrap_or(0);
            if at >= start && at < stop && (other.is(&item) || equal(&self.meter, other, &item)?) {
                return Ok(Value::Int(at));
            }
        }
        Err(error!(Value, "the value is not in the {}", value.type_name()))
    }

    fn dict_method(&self, dict: &Rc<Dict>, name: &str, args: CallArgs) -> Res<Value> {
        let bind = |params: &[&str], required: usize, args: CallArgs| {
            Signature { name, params, required, positional: params.len() }.bind(args)
        };
        match name {
            "get" => {
                let mut args = bind(&["key", "default"], 1, args)?;
                let found = dict.get(&args.take(0))?.cloned();
                Ok(found.unwrap_or_else(|| args.take(1)))
            }
            "fromkeys" => self.keyed_dict(args),
            _ => {
                bind(&[], 0, args)?;
                self.meter.pay_values(dict.map.len())?;
                let view = |view| Ok(Value::View(view, Rc::clone(dict)));
                match name {
                    "items" => view(View::Items),
                    "keys" => view(View::Keys),
                    "values" => view(View::Values),
                    _ => Ok(Value::Dict(Rc::clone(dict))),
                }
            }
        }
    }

    /// `dict.fromkeys(keys, value)`
    pub(super) fn keyed_dict(&self, args: CallArgs) -> Res<Value> {
        let mut args = Signature {
            name: "fromkeys",
            params: &["iterable", "value"],
            required: 1,
            positional: 2,
        }
        .bind(args)?;
        let keys = self.collect(&args.take(0))?;
        let value = args.take(1);
        self.meter.pay(keys.len())?;
        Value::dict(keys.into_iter().map(|key| (key, value.clone())).collect())
    }

    fn int_method(&self, int: i128, name: &str, args: CallArgs) -> Res<Value> {
        let size = int.unsigned_abs();
        let number = |n: u32| Value::Int(i128::from(n));
        if matches!(name, "to_bytes" | "from_bytes") {
            return Err(error!(Limit, "int.{name} is not supported"));
        }
        Signature { name, params: &[], required: 0, positional: 0 }.bind(args)?;
        Ok(match name {
            "bit_length" => number(u128::BITS - size.leading_zeros()),
            "bit_count" => number(size.count_ones()),
            "as_integer_ratio" => return Value::tuple(vec![Value::Int(int), Value::Int(1)]),
            _ => Value::Int(int),
        })
    }
}

/// `float.hex`
fn float_hex(float: f64) -> String {
    if !float.is_finite() {
        return super::numbers::float_repr(float);
    }
    let bits = float.to_bits();
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let power = i64::try_from(exponent).unwrap_or(0);
    match (exponent, fraction) {
        (0, 0) => format!("{sign}0x0.0p+0"),
        (0, _) => format!("{sign}0x0.{fraction:013x}p-1022"),
        _ => format!("{sign}0x1.{fraction:013x}p{:+}", power - 1023),
    }
}

/// `float.as_integer_ratio`
fn float_ratio(float: f64) -> Res<Value> {
    if !float.is_finite() {
        return Err(error!(Arithmetic, "cannot convert infinity or NaN to integer ratio"));
    }
    let (mut top, mut bottom) = (float, 1i128);
    while top.fract() != 0.0 {
        top *= 2.0;
        bottom = bottom
            .checked_mul(2)
            .ok_or_else(|| error!(Limit, "an integer of more than 128 bits"))?;
    }
    let top = super::value::float_to_int(top);
    let top = top.ok_or_else(|| error!(Limit, "an integer of more than 128 bits"))?;
    Value::tuple(vec![Value::Int(top), Value::Int(bottom)])
}
