//! Python's iterators and generators, which are lazy and run once.

use super::error::{Res, error};
use super::interp::Interp;
use super::value::{Iter, IterState as State, Key, Value, View};
use std::rc::Rc;
use std::sync::Arc;

impl Interp<'_> {
    /// Python's `iter(value)`.
    pub(super) fn iterate(&self, value: &Value) -> Res<Rc<Iter>> {
        let state = match value {
            Value::Iter(iter) => return Ok(Rc::clone(iter)),
            Value::Undefined(_) => State::Items(Vec::new().into_iter()),
            Value::Str(text) | Value::Markup(text) => State::Text(Arc::clone(text), 0),
            Value::Bytes(bytes) => State::Bytes(Rc::clone(bytes), 0),
            Value::List(seq) => State::Seq(Rc::clone(seq), 0),
            Value::Tuple(seq) | Value::Group(seq) => State::Seq(Rc::clone(seq), 0),
            Value::Dict(dict) => State::Dict(Rc::clone(dict), View::Keys, 0),
            Value::View(view, dict) => State::Dict(Rc::clone(dict), *view, 0),
            Value::Range(range) => State::Range(Rc::clone(range), 0),
            Value::Loop(_) => State::Loop(value.clone()),
            other => return Err(error!(Type, "'{}' object is not iterable", other.type_name())),
        };
        let depth = value.depth().saturating_sub(1);
        Iter::new(state, depth)
    }

    /// Python's `next(iter)`.
    pub(super) fn advance(&self, iter: &Rc<Iter>) -> Res<Option<Value>> {
        self.meter.pay(1)?;
        let Ok(mut state) = iter.state.try_borrow_mut() else {
            return Err(error!(Value, "generator already executing"));
        };
        let step = |at: &mut usize| {
            *at += 1;
            *at - 1
        };
        Ok(match &mut *state {
            State::Items(items) => items.next(),
            State::Seq(seq, at) => seq.items.get(step(at)).cloned(),
            State::Backwards(seq, at) => {
                let index = seq.items.len().checked_sub(step(at) + 1);
                index.and_then(|i| seq.items.get(i)).cloned()
            }
            State::Text(text, at) => {
                let c = text.get(*at..).and_then(|rest| rest.chars().next());
                c.map(|c| {
                    *at += c.len_utf8();
                    Value::str(c.encode_utf8(&mut [0; 4]) as &str)
                })
            }
            State::Bytes(bytes, at) => bytes.get(step(at)).map(|b| Value::Int(i128::from(*b))),
            State::Range(range, at) => {
                *at += 1;
                (*at <= range.len()).then(|| range.get(*at - 1))
            }
            State::Dict(dict, view, at) => match dict.map.get_index(step(at)) {
                None => None,
                Some((_, (key, value))) => Some(match view {
                    View::Keys => key.clone(),
                    View::Values => value.clone(),
                    View::Items => Value::tuple(vec![key.clone(), value.clone()])?,
                }),
            },
            State::MapAttr { source, path, default } => match self.advance(source)? {
                Some(item) => Some(self.follow(item, path, default.as_ref())?),
                None => None,
            },
            State::MapFilter { source, name, args } => match self.advance(source)? {
                Some(item) => Some(self.filter(name, item, args.clone())?),
                None => None,
            },
            State::Select { source, path, test, keep } => loop {
                let Some(item) = self.advance(source)? else {
                    break None;
                };
                let looked_at = self.follow(item.clone(), path, None)?;
                let passed = match test {
                    Some((name, args)) => self.test(name, looked_at, args.clone())?,
                    None => looked_at.truthy(),
                };
                if passed == *keep {
                    break Some(item);
                }
            },
            State::Unique { source, path, case_sensitive, seen } => loop {
                let Some(item) = self.advance(source)? else {
                    break None;
                };
                let key = self.sort_key(&item, path, *case_sensitive)?;
                if seen.insert(Key::of(&key)?) {
                    break Some(item);
                }
            },
            State::Batch { source, count, fill, held } => {
                let mut batch: Vec<Value> = held.take().into_iter().collect();
                let full = |len: usize| i128::try_from(len).unwrap_or(0) == *count;
                while let Some(item) = self.advance(source)? {
                    // As in jinja2, this check precedes the push: with a count of 0 the first
                    // batch is empty.
                    if full(batch.len()) {
                        *held = Some(item);
                        return Ok(Some(Value::list(batch)?));
                    }
                    batch.push(item);
                }
                if batch.is_empty() {
                    return Ok(None);
                }
                let missing = usize::try_from(*count).unwrap_or(0).saturating_sub(batch.len());
                if !matches!(fill, Value::None) {
                    self.meter.pay(missing)?;
                    batch.extend(std::iter::repeat_n(&*fill, missing).cloned());
                }
                Some(Value::list(batch)?)
            }
            State::Filtered { source, node, scope } => loop {
                let Some(item) = self.advance(source)? else {
                    break None;
                };
                if self.loop_test(node, scope, &item)? {
                    break Some(item);
                }
            },
            State::Loop(value) => match value {
                Value::Loop(inner) => match self.loop_next(inner)? {
                    Some(item) => Some(Value::tuple(vec![item, value.clone()])?),
                    None => None,
                },
                _ => None,
            },
        })
    }

    /// The remaining items, as Python's `list(value)`.
    pub(super) fn collect(&self, value: &Value) -> Res<Vec<Value>> {
        if let Some(seq) = value.as_seq() {
            self.meter.pay_values(seq.items.len())?;
            return Ok(seq.items.clone());
        }
        let iter = self.iterate(value)?;
        let mut items = Vec::new();
        while let Some(item) = self.advance(&iter)? {
            items.push(item);
        }
        Ok(items)
    }
}
