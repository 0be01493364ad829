//! Filters for lists, dicts and other iterables.

use super::super::bind::Bound;
use super::super::compare::{equal, order};
use super::super::error::{Res, error};
use super::super::escape::escape_text;
use super::super::interp::Interp;
use super::super::operands::{undefined, wrong_type};
use super::super::ops::modulo;
use super::super::repr::to_str;
use super::super::value::{CallArgs, Iter, IterState as State, Path, Seq, Value, View};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::rc::Rc;

pub(super) fn filter(i: &Interp, name: &str, value: &Value, args: &mut Bound) -> Res<Value> {
    match name {
        "first" => {
            let first = i.advance(&i.iterate(value)?)?;
            Ok(first.unwrap_or_else(|| Value::undefined("No first item, sequence was empty.")))
        }
        "last" => {
            let last = i.collect(&reversed(i, value)?)?.into_iter().next();
            Ok(last.unwrap_or_else(|| Value::undefined("No last item, sequence was empty.")))
        }
        "reverse" => match value {
            Value::Str(text) | Value::Markup(text) => {
                i.meter.pay_bytes(text.len())?;
                let back: String = text.chars().rev().collect();
                Ok(if matches!(value, Value::Str(_)) {
                    Value::str(back)
                } else {
                    Value::Markup(back.into())
                })
            }
            _ => match reversed(i, value) {
                Ok(reversed) => Ok(reversed),
                Err(_) => {
                    let mut items = i
                        .collect(value)
                        .map_err(|_| error!(Runtime, "argument must be iterable"))?;
                    items.reverse();
                    Value::list(items)
                }
            },
        },
        "random" => match value.len() {
            Some(0) => Ok(Value::undefined("No random item, sequence was empty.")),
            Some(len) => {
                let at = i128::try_from(i.random_below(len)).unwrap_or(0);
                match i.item(value, &Value::Int(at))? {
                    Value::Undefined(_) => Err(error!(Lookup, "{at}")),
                    item => Ok(item),
                }
            }
            None => Err(error!(Type, "object of type '{}' has no len()", value.type_name())),
        },
        "items" => match value {
            Value::Undefined(_) => Ok(Value::Iter(Iter::of_items(Vec::new())?)),
            Value::Dict(dict) => {
                let state = State::Dict(Rc::clone(dict), View::Items, 0);
                Ok(Value::Iter(Iter::new(state, dict.depth)?))
            }
            _ => Err(error!(Type, "Can only get item pairs from a mapping.")),
        },
        "join" => join(i, value, args),
        "sort" => {
            let reverse = args.truthy(0);
            let case_sensitive = args.truthy(1);
            let paths = multi_path(i, args.some(2));
            let key = |item: &Value| -> Res<Value> {
                let keys = paths.iter().map(|path| i.sort_key(item, path, case_sensitive));
                Value::list(keys.collect::<Res<_>>()?)
            };
            Value::list(sorted(i, i.collect(value)?, key, reverse)?)
        }
        "dictsort" => {
            let case_sensitive = args.truthy(0);
            let by = args.given(1).unwrap_or_else(|| Value::str("key"));
            let position = match by.as_str().map(|b| &**b) {
                Some("key") => 0,
                Some("value") => 1,
                _ => {
                    return Err(error!(
                        Runtime,
                        "You can only sort by either \"key\" or \"value\""
                    ));
                }
            };
            let Value::Dict(dict) = value else {
                return Err(wrong_type(value, "dictsort needs a mapping"));
            };
            i.meter.pay(dict.map.len())?;
            let pairs = dict.map.values().map(|(k, v)| Value::tuple(vec![k.clone(), v.clone()]));
            let path = vec![Value::Int(position)];
            let key = |pair: &Value| i.sort_key(pair, &path, case_sensitive);
            Value::list(sorted(i, pairs.collect::<Res<_>>()?, key, args.truthy(2))?)
        }
        "min" | "max" => {
            let case_sensitive = args.truthy(0);
            let path = i.path(args.some(1));
            let iter = i.iterate(value)?;
            let mut best: Option<(Value, Value)> = None;
            while let Some(item) = i.advance(&iter)? {
                let key = i.sort_key(&item, &path, case_sensitive)?;
                let better = match &best {
                    None => true,
                    Some((other, _)) if name == "min" => {
                        order(&i.meter, &key, other, "<")?.is_some_and(Ordering::is_lt)
                    }
                    Some((other, _)) => {
                        order(&i.meter, &key, other, ">")?.is_some_and(Ordering::is_gt)
                    }
                };
                if better {
                    best = Some((key, item));
                }
            }
            let empty = || Value::undefined("No aggregated item, sequence was empty.");
            Ok(best.map_or_else(empty, |(_, item)| item))
        }
        "unique" => {
            let case_sensitive = args.truthy(0);
            let (path, source) = (i.path(args.some(1)), i.iterate(value)?);
            let depth = source.depth;
            let state = State::Unique { source, path, case_sensitive, seen: HashSet::new() };
            Ok(Value::Iter(Iter::new(state, depth)?))
        }
        "groupby" => group(i, value, args),
        "batch" => {
            let count = args.take(0);
            let count = count.as_int().or(count.as_number().map(|_| -1)).unwrap_or(-1);
            let fill = args.take(1);
            let source = i.iterate(value)?;
            let depth = source.depth.max(fill.depth()) + 1;
            let state = State::Batch { source, count, fill, held: None };
            Ok(Value::Iter(Iter::new(state, depth)?))
        }
        _ => slices(i, value, args),
    }
}

/// Python's `reversed(value)`.
fn reversed(i: &Interp, value: &Value) -> Res<Value> {
    let seq = match value {
        Value::List(seq) | Value::Tuple(seq) | Value::Group(seq) => Rc::clone(seq),
        Value::Str(_)
        | Value::Markup(_)
        | Value::Bytes(_)
        | Value::Range(_)
        | Value::Dict(_)
        | Value::View(..) => Seq::new(i.collect(value)?)?,
        Value::Undefined(_) => return Err(undefined(value)),
        other => return Err(error!(Type, "'{}' object is not reversible", other.type_name())),
    };
    let depth = seq.depth;
    Ok(Value::Iter(Iter::new(State::Backwards(seq, 0), depth)?))
}

/// Sorts items by key. The sort is stable.
fn sorted(
    i: &Interp,
    items: Vec<Value>,
    key: impl Fn(&Value) -> Res<Value>,
    reverse: bool,
) -> Res<Vec<Value>> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        i.meter.pay(1)?;
        keyed.push((key(&item)?, item));
    }
    let mut failed = None;
    keyed.sort_by(|(a, _), (b, _)| {
        if failed.is_some() {
            return Ordering::Equal;
        }
        match order(&i.meter, a, b, "<") {
            Ok(order) if reverse => order.unwrap_or(Ordering::Equal).reverse(),
            Ok(order) => order.unwrap_or(Ordering::Equal),
            Err(e) => {
                failed = Some(e);
                Ordering::Equal
            }
        }
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

fn multi_path(i: &Interp, attribute: Option<Value>) -> Vec<Path> {
    match attribute {
        Some(value) => match value.as_str() {
            Some(text) => text.split(',').map(|part| i.path(Some(Value::str(part)))).collect(),
            None => vec![i.path(Some(value))],
        },
        None => vec![Vec::new()],
    }
}

fn join(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let separator = args.given(0).unwrap_or_else(|| Value::str(""));
    let path = i.path(args.some(1));
    let iter = i.iterate(value)?;
    let mut items = Vec::new();
    while let Some(item) = i.advance(&iter)? {
        items.push(i.follow(item, &path, None)?);
    }
    let is_safe = |v: &Value| matches!(v, Value::Markup(_));
    let safe = i.autoescape.get() && (is_safe(&separator) || items.iter().any(is_safe));
    let text = |value: &Value| -> Res<std::sync::Arc<str>> {
        let text = to_str(i, value)?;
        Ok(if safe && !is_safe(value) { escape_text(&text).into() } else { text })
    };
    let separator = text(&separator)?;
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        let item = text(item)?;
        let separator = if at > 0 { &*separator } else { "" };
        i.meter.pay((separator.len() + item.len()) / 64)?;
        out.push_str(separator);
        out.push_str(&item);
    }
    Ok(if safe { Value::Markup(out.into()) } else { Value::str(out) })
}

fn group(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let path = i.path(args.some(0));
    let default = args.some(1);
    let case_sensitive = args.truthy(2);
    let plain = |item: &Value| i.follow(item.clone(), &path, default.as_ref());
    let key = |item: &Value| i.sort_key(&plain(item)?, &Vec::new(), case_sensitive);
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in sorted(i, i.collect(value)?, key, false)? {
        let key = key(&item)?;
        match groups.last_mut() {
            Some((last, items)) if equal(&i.meter, last, &key)? => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let pairs = groups.into_iter().map(|(key, items)| {
        let key = match items.first() {
            Some(first) if !case_sensitive => plain(first)?,
            _ => key,
        };
        Ok(Value::Group(Seq::new(vec![key, Value::list(items)?])?))
    });
    Value::list(pairs.collect::<Res<_>>()?)
}

fn slices(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let count = args.int(0, 0)?;
    let fill = args.some(1);
    let items = i.collect(value)?;
    let length = i128::try_from(items.len()).unwrap_or(0);
    if count == 0 {
        return Err(error!(Arithmetic, "integer division or modulo by zero"));
    }
    let (each, extra) = (length.div_euclid(count), modulo(length, count));
    let mut made = Vec::new();
    let mut offset = 0;
    for number in 0..count.max(0) {
        i.meter.pay(1)?;
        let start = offset + number * each;
        if number < extra {
            offset += 1;
        }
        let end = offset + (number + 1) * each;
        let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        let mut slice = items.get(range).unwrap_or_default().to_vec();
        if let Some(fill) = &fill
            && number >= extra
        {
            slice.push(fill.clone());
        }
        made.push(Value::list(slice)?);
    }
    Ok(Value::Iter(Iter::of_items(made)?))
}

pub(super) fn map(i: &Interp, value: &Value, args: CallArgs) -> Res<Value> {
    if !value.truthy() {
        return Ok(Value::Iter(Iter::of_items(Vec::new())?));
    }
    let CallArgs { mut positional, mut named } = args;
    let source = i.iterate(value)?;
    let depth = source.depth;
    let is_attribute = named.iter().any(|(name, _)| &**name == "attribute");
    let state = if positional.is_empty() && is_attribute {
        let mut take = |name: &str| {
            let at = named.iter().position(|(other, _)| &**other == name)?;
            Some(named.remove(at).1).filter(|v| !matches!(v, Value::None))
        };
        let (path, default) = (i.path(take("attribute")), take("default"));
        if let Some((unknown, _)) = named.first() {
            return Err(error!(Runtime, "Unexpected keyword argument '{unknown}'"));
        }
        State::MapAttr { source, path, default }
    } else {
        if positional.is_empty() {
            return Err(error!(Runtime, "map requires a filter argument"));
        }
        let name = positional.remove(0);
        let Some(name) = name.as_str().cloned() else {
            return Err(error!(Runtime, "No filter named {}.", short(&name)));
        };
        State::MapFilter { source, name, args: CallArgs { positional, named } }
    };
    Ok(Value::Iter(Iter::new(state, depth)?))
}

fn short(value: &Value) -> String {
    value.as_str().map_or_else(|| value.type_name().to_owned(), |text| format!("'{text}'"))
}

pub(super) fn select(
    i: &Interp,
    value: &Value,
    args: CallArgs,
    keep: bool,
    attribute: bool,
) -> Res<Value> {
    if !value.truthy() {
        return Ok(Value::Iter(Iter::of_items(Vec::new())?));
    }
    let CallArgs { mut positional, named } = args;
    let source = i.iterate(value)?;
    let depth = source.depth;
    let mut path = Vec::new();
    if attribute {
        if positional.is_empty() {
            return Err(error!(Runtime, "Missing parameter for attribute name"));
        }
        path = i.path(Some(positional.remove(0)).filter(|v| !matches!(v, Value::None)));
    }
    let test = match positional.is_empty() {
        true => None,
        false => {
            let name = positional.remove(0);
            let Some(name) = name.as_str().cloned() else {
                return Err(error!(Runtime, "No test named {}.", short(&name)));
            };
            Some((name, CallArgs { positional, named }))
        }
    };
    Ok(Value::Iter(Iter::new(State::Select { source, path, test, keep }, depth)?))
}
