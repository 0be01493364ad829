//! Attributes, items and slices under the rules of jinja2's sandbox.

use super::error::{Class, Res, error};
use super::interp::Interp;
use super::operands::defined;
use super::value::{CallArgs, Function, Key, Method, Undefined, Value};
use std::rc::Rc;
use std::sync::Arc;

const STR: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
const MARKUP: &[&str] = &["unescape", "striptags", "escape"];
const LIST: &[&str] = &["copy", "count", "index"];
const LIST_UNSAFE: &[&str] =
    &["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
const TUPLE: &[&str] = &["count", "index"];
const DICT: &[&str] = &["copy", "fromkeys", "get", "items", "keys", "values"];
const DICT_UNSAFE: &[&str] = &["clear", "pop", "popitem", "setdefault", "update"];
const INT: &[&str] =
    &["as_integer_ratio", "bit_count", "bit_length", "conjugate", "from_bytes", "to_bytes"];
const FLOAT: &[&str] = &["as_integer_ratio", "conjugate", "fromhex", "hex", "is_integer"];
const BYTES: &[&str] = &["decode", "hex"];
const VIEW: &[&str] = &["isdisjoint"];
const LOOP: &[&str] = &["cycle", "changed"];
const CYCLER: &[&str] = &["next", "reset"];

/// Whether a name is one of the attributes of every Python object, which the sandbox hides.
fn is_internal(name: &str) -> bool {
    name.starts_with("__") && name.ends_with("__") && name.len() > 4
}

impl Interp<'_> {
    /// Python's `getattr`; `None` for an `AttributeError`.
    fn own_attribute(&self, value: &Value, name: &Arc<str>) -> Res<Option<Value>> {
        let methods = |lists: &[&[&str]]| {
            let known = lists.iter().any(|list| list.contains(&&**name));
            known.then(|| {
                Value::Method(Rc::new(Method { of: value.clone(), name: Arc::clone(name) }))
            })
        };
        Ok(match value {
            Value::Str(_) => methods(&[STR]),
            Value::Markup(_) => methods(&[STR, MARKUP]),
            Value::List(_) => methods(&[LIST, LIST_UNSAFE]),
            Value::Group(seq) => match &**name {
                "grouper" => seq.items.first().cloned(),
                "list" => seq.items.get(1).cloned(),
                _ => methods(&[TUPLE]),
            },
            Value::Tuple(_) => methods(&[TUPLE]),
            Value::Dict(_) => methods(&[DICT, DICT_UNSAFE]),
            Value::Int(_) | Value::Bool(_) => match &**name {
                "real" | "numerator" => value.as_int().map(Value::Int),
                "imag" => Some(Value::Int(0)),
                "denominator" => Some(Value::Int(1)),
                _ => methods(&[INT]),
            },
            Value::Float(_) => match &**name {
                "real" => Some(value.clone()),
                "imag" => Some(Value::Float(0.0)),
                _ => methods(&[FLOAT]),
            },
            Value::Bytes(_) => methods(&[BYTES]),
            Value::Range(range) => match &**name {
                "start" => Some(Value::Int(range.start)),
                "stop" => Some(Value::Int(range.stop)),
                "step" => Some(Value::Int(range.step)),
                _ => methods(&[TUPLE]),
            },
            Value::View(..) => methods(&[VIEW]),
            Value::Namespace(namespace) => {
                let fields = namespace.fields.borrow();
                fields.get(&Key::Str(Arc::clone(name))).map(|(_, value)| value.clone())
            }
            Value::Loop(inner) => match self.loop_attribute(inner, name)? {
                Some(value) => Some(value),
                None => methods(&[LOOP]),
            },
            Value::Macro(inner) => match &**name {
                "name" => Some(match &inner.node.name {
                    Some(name) => Value::Str(Arc::clone(name)),
                    None => Value::None,
                }),
                "arguments" => {
                    let names =
                        inner.node.params.iter().map(|(name, _)| Value::Str(Arc::clone(name)));
                    Some(Value::tuple(names.collect())?)
                }
                "catch_kwargs" => Some(Value::Bool(inner.node.uses_kwargs)),
                "catch_varargs" => Some(Value::Bool(inner.node.uses_varargs)),
                "caller" => Some(Value::Bool(inner.node.uses_caller)),
                "explicit_caller" => {
                    Some(Value::Bool(inner.node.params.iter().any(|(name, _)| &**name == "caller")))
                }
                _ => None,
            },
            Value::Cycler(cycler) => match &**name {
                "current" => cycler.items.items.get(cycler.at.get()).cloned(),
                "pos" => Some(Value::Int(i128::try_from(cycler.at.get()).unwrap_or(0))),
                "items" => Some(Value::Tuple(Rc::clone(&cycler.items))),
                _ => methods(&[CYCLER]),
            },
            Value::Joiner(joiner) => match &**name {
                "sep" => Some(joiner.separator.clone()),
                "used" => Some(Value::Bool(joiner.used.get())),
                _ => None,
            },
            Value::Function(Function::Dict) if &**name == "fromkeys" => {
                Some(Value::Function(Function::DictFromKeys))
            }
            _ => None,
        })
    }

    /// The attribute if the sandbox allows it, else an undefined value.
    fn safe_attribute(&self, value: &Value, name: &Arc<str>) -> Res<Option<Value>> {
        if is_internal(name) {
            return Ok(Some(unsafe_undefined(value, name)));
        }
        let Some(found) = self.own_attribute(value, name)? else {
            return Ok(None);
        };
        let mutable = match value {
            Value::List(_) => LIST_UNSAFE.contains(&&**name),
            Value::Dict(_) => DICT_UNSAFE.contains(&&**name),
            _ => false,
        };
        Ok(Some(if mutable || name.starts_with('_') {
            unsafe_undefined(value, name)
        } else {
            found
        }))
    }

    /// `value.name`: an attribute or, failing that, an item.
    pub(super) fn attribute(&self, value: &Value, name: &Arc<str>) -> Res<Value> {
        defined(value)?;
        if let Some(found) = self.safe_attribute(value, name)? {
            return Ok(found);
        }
        let item = match value {
            Value::Dict(dict) => dict.get_str(name).cloned(),
            Value::Template => self.block_named(name),
            _ => None,
        };
        Ok(item.unwrap_or_else(|| missing(value, &Value::Str(Arc::clone(name)))))
    }

    /// `value[index]`: an item or, failing that, an attribute.
    pub(super) fn item(&self, value: &Value, index: &Value) -> Res<Value> {
        defined(value)?;
        if let Some(item) = self.own_item(value, index)? {
            return Ok(item);
        }
        if let Some(name) = index.as_str()
            && let Some(found) = self.safe_attribute(value, name)?
        {
            return Ok(found);
        }
        Ok(missing(value, index))
    }

    fn block_named(&self, name: &str) -> Option<Value> {
        self.blocks.contains_key(name).then(|| Value::Block(Arc::from(name)))
    }

    /// Python's `value[index]`; `None` for a `TypeError`, `KeyError` or `IndexError`.
    fn own_item(&self, value: &Value, index: &Value) -> Res<Option<Value>> {
        let at = |len: usize| -> Option<usize> {
            let len = i128::try_from(len).ok()?;
            let index = index.as_int()?;
            let index = if index < 0 { index.checked_add(len)? } else { index };
            usize::try_from(index).ok().filter(|_| index < len)
        };
        Ok(match value {
            Value::Dict(dict) => match Key::of(index) {
                Ok(key) => dict.map.get(&key).map(|(_, value)| value.clone()),
                Err(e) if e.class() == Class::Type => None,
                Err(e) => return Err(e),
            },
            Value::List(seq) | Value::Tuple(seq) | Value::Group(seq) => {
                at(seq.items.len()).and_then(|i| seq.items.get(i)).cloned()
            }
            Value::Str(text) | Value::Markup(text) => {
                if index.as_int().is_none() {
                    return Ok(None);
                }
                self.meter.pay_bytes(text.len())?;
                let c = at(text.chars().count()).and_then(|i| text.chars().nth(i));
                let c = c.map(|c| Arc::from(c.encode_utf8(&mut [0; 4]) as &str));
                c.map(
                    |c| {
                        if matches!(value, Value::Str(_)) {
                            Value::Str(c)
                        } else {
                            Value::Markup(c)
                        }
                    },
                )
            }
            Value::Bytes(bytes) => {
                at(bytes.len()).and_then(|i| bytes.get(i)).map(|b| Value::Int(i128::from(*b)))
            }
            Value::Range(range) => at(usize::try_from(range.len()).unwrap_or(usize::MAX))
                .and_then(|i| i128::try_from(i).ok())
                .map(|i| range.get(i)),
            Value::Template => index.as_str().and_then(|name| self.block_named(name)),
            _ => None,
        })
    }

    /// `value[start:stop:step]`
    pub(super) fn slice(
        &self,
        value: &Value,
        start: Option<Value>,
        stop: Option<Value>,
        step: Option<Value>,
    ) -> Res<Value> {
        defined(value)?;
        let bound = |bound: Option<Value>| match bound {
            None | Some(Value::None) => Ok(None),
            Some(other) => other.as_int().map(Some).ok_or_else(|| {
                error!(Type, "slice indices must be integers or None or have an __index__ method")
            }),
        };
        let (start, stop, step) = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
        if step == 0 {
            return Err(error!(Value, "slice step cannot be zero"));
        }
        let indices = |len: usize| slice_indices(len, start, stop, step);
        Ok(match value {
            Value::List(seq) | Value::Tuple(seq) | Value::Group(seq) => {
                let indices = indices(seq.items.len());
                self.meter.pay_values(indices.len())?;
                let items = indices.into_iter().filter_map(|i| seq.items.get(i)).cloned().collect();
                if matches!(value, Value::List(_)) {
                    Value::list(items)?
                } else {
                    Value::tuple(items)?
                }
            }
            Value::Str(text) | Value::Markup(text) => {
                self.meter.pay_bytes(text.len().saturating_mul(2))?;
                let chars: Vec<char> = text.chars().collect();
                let part: String =
                    indices(chars.len()).into_iter().filter_map(|i| chars.get(i)).collect();
                if matches!(value, Value::Str(_)) {
                    Value::str(part)
                } else {
                    Value::Markup(part.into())
                }
            }
            Value::Bytes(bytes) => {
                let part = indices(bytes.len()).into_iter().filter_map(|i| bytes.get(i)).copied();
                Value::Bytes(part.collect())
            }
            Value::Range(range) => {
                let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
                let indices = indices(len);
                let start = indices.first().copied().unwrap_or(0);
                let count = i128::try_from(indices.len()).unwrap_or(0);
                let first = range.start + range.step * i128::try_from(start).unwrap_or(0);
                let step = range.step.saturating_mul(step);
                let stop = first.saturating_add(step.saturating_mul(count));
                Value::Range(Rc::new(super::value::Range { start: first, stop, step }))
            }
            Value::Dict(_) => return Err(error!(Type, "unhashable type: 'slice'")),
            other => {
                return Err(error!(Type, "'{}' object is not subscriptable", other.type_name()));
            }
        })
    }

    /// Calls a method of a value.
    pub(super) fn call_method(&self, method: &Method, args: CallArgs) -> Res<Value> {
        let name = &*method.name;
        match &method.of {
            Value::Str(text) => self.str_method(text, false, name, args),
            Value::Markup(text) => self.str_method(text, true, name, args),
            Value::Loop(inner) if name == "cycle" => self.loop_cycle(inner, &args.positional),
            Value::Loop(inner) => self.loop_changed(inner, args.positional),
            Value::Cycler(cycler) => {
                let current = cycler.items.items.get(cycler.at.get()).cloned();
                if name == "reset" {
                    cycler.at.set(0);
                    return Ok(Value::None);
                }
                cycler.at.set((cycler.at.get() + 1) % cycler.items.items.len().max(1));
                Ok(current.unwrap_or(Value::None))
            }
            other => self.other_method(other, name, args),
        }
    }
}

/// The indices that a slice selects.
pub(super) fn slice_indices(
    len: usize,
    start: Option<i128>,
    stop: Option<i128>,
    step: i128,
) -> Vec<usize> {
    let len = i128::try_from(len).unwrap_or(0);
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |bound: Option<i128>, default: i128| match bound {
        None => default,
        Some(b) if b < 0 => b.saturating_add(len).max(low),
        Some(b) => b.min(high),
    };
    let (mut at, stop) = match step > 0 {
        true => (clamp(start, 0), clamp(stop, len)),
        false => (clamp(start, len - 1), clamp(stop, -1)),
    };
    let mut indices = Vec::new();
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        indices.extend(usize::try_from(at));
        at = at.saturating_add(step);
    }
    indices
}

fn unsafe_undefined(value: &Value, name: &str) -> Value {
    let kind = value.type_name();
    let hint = format!("access to attribute '{name}' of '{kind}' object is unsafe.");
    Value::Undefined(Rc::new(Undefined { class: Class::Security, hint }))
}

fn missing(value: &Value, name: &Value) -> Value {
    let kind = match value {
        Value::None => "None".to_owned(),
        other => format!("{} object", other.type_name()),
    };
    Value::undefined(match name.as_str() {
        Some(name) => format!("'{kind}' has no attribute '{name}'"),
        None => format!("{kind} has no element {}", short(name)),
    })
}

fn short(value: &Value) -> String {
    match value {
        Value::Int(int) => int.to_string(),
        other => other.type_name().to_owned(),
    }
}
