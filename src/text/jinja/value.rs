//! Python's values, as far as templates need them.
//!
//! Lists, tuples and dicts never change after their creation: transformers' sandbox refuses all
//! methods that would change them. Mutable values (namespaces, loops, cyclers, generators) use cells.
//! Every container records its depth, which is at most [`MAX_DEPTH`], so that no recursion over
//! values overflows the stack.

use super::ast::{For, Macro};
use super::error::{Class, Res, error};
use indexmap::IndexMap;
use serde_json::Value as Json;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// Maximum nesting of values. Parsed JSON has at most 128 levels.
pub(super) const MAX_DEPTH: u16 = 160;

#[derive(Clone)]
pub(super) enum Value {
    Undefined(Rc<Undefined>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    /// Text that is safe as HTML.
    Markup(Arc<str>),
    Bytes(Rc<[u8]>),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    /// A pair made by `groupby`, whose two items have names.
    Group(Rc<Seq>),
    Dict(Rc<Dict>),
    Range(Rc<Range>),
    View(View, Rc<Dict>),
    Iter(Rc<Iter>),
    Namespace(Rc<Namespace>),
    Loop(Rc<Loop>),
    Macro(Rc<MacroValue>),
    Function(Function),
    Method(Rc<Method>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
    /// `self`, through which a template calls its blocks.
    Template,
    Block(Arc<str>),
}

/// The error for the use of an undefined value.
#[derive(Debug)]
pub(super) struct Undefined {
    pub class: Class,
    pub hint: String,
}

/// The items of a list or tuple.
pub(super) struct Seq {
    pub items: Vec<Value>,
    pub depth: u16,
}

pub(super) struct Dict {
    pub map: IndexMap<Key, (Value, Value)>,
    pub depth: u16,
}

/// A dict's key, with Python's equality and hash: `1`, `1.0` and `True` are the same key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    None,
    Undefined,
    Int(i128),
    Float(u64),
    Str(Arc<str>),
    Bytes(Rc<[u8]>),
    Tuple(Vec<Key>),
    Range(Option<(i128, i128, i128)>),
    /// A value that only equals itself, by its address.
    Object(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

pub(super) struct Namespace {
    pub fields: RefCell<IndexMap<Key, (Value, Value)>>,
}

/// The variables of a frame.
pub(super) struct Scope {
    pub vars: RefCell<HashMap<Arc<str>, Option<Value>>>,
    pub parent: Option<Rc<Scope>>,
    /// Whether this is the outermost frame, whose assignments blocks see too.
    pub outermost: bool,
}

pub(super) struct MacroValue {
    pub node: Arc<Macro>,
    pub scope: Rc<Scope>,
    pub autoescape: bool,
}

pub(super) struct Method {
    pub of: Value,
    pub name: Arc<str>,
}

pub(super) struct Cycler {
    pub items: Rc<Seq>,
    pub at: Cell<usize>,
}

pub(super) struct Joiner {
    pub separator: Value,
    pub used: Cell<bool>,
}

pub(super) struct Loop {
    pub state: RefCell<LoopState>,
    /// The loop's statement and outer frame, if the loop may be called.
    pub recursive: Option<(Arc<For>, Rc<Scope>)>,
    pub depth0: usize,
    pub nesting: u16,
}

pub(super) struct LoopState {
    pub iterable: Value,
    pub iter: Rc<Iter>,
    /// -1 before the first item.
    pub index0: i128,
    pub length: Option<i128>,
    /// The next item if it was read ahead; `Some(None)` at the end.
    pub after: Option<Option<Value>>,
    pub current: Option<Value>,
    pub before: Option<Value>,
    pub changed: Option<Rc<Seq>>,
}

/// Arguments of a call.
#[derive(Clone, Default)]
pub(super) struct CallArgs {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

pub(super) struct Iter {
    pub state: RefCell<IterState>,
    pub depth: u16,
}

/// An attribute path of a filter: the parts of `a.b.0`.
pub(super) type Path = Vec<Value>;

pub(super) enum IterState {
    Items(std::vec::IntoIter<Value>),
    Seq(Rc<Seq>, usize),
    /// In reverse order.
    Backwards(Rc<Seq>, usize),
    Text(Arc<str>, usize),
    Bytes(Rc<[u8]>, usize),
    Range(Rc<Range>, i128),
    Dict(Rc<Dict>, View, usize),
    MapAttr {
        source: Rc<Iter>,
        path: Path,
        default: Option<Value>,
    },
    MapFilter {
        source: Rc<Iter>,
        name: Arc<str>,
        args: CallArgs,
    },
    Select {
        source: Rc<Iter>,
        path: Path,
        test: Option<(Arc<str>, CallArgs)>,
        keep: bool,
    },
    Unique {
        source: Rc<Iter>,
        path: Path,
        case_sensitive: bool,
        seen: HashSet<Key>,
    },
    Batch {
        source: Rc<Iter>,
        count: i128,
        fill: Value,
        held: Option<Value>,
    },
    /// The items of a loop that pass its `if`.
    Filtered {
        source: Rc<Iter>,
        node: Arc<For>,
        scope: Rc<Scope>,
    },
    Loop(Value),
}

impl Iter {
    pub(super) fn new(state: IterState, inner: u16) -> Res<Rc<Self>> {
        Ok(Rc::new(Self { state: RefCell::new(state), depth: deeper(inner)? }))
    }

    pub(super) fn of_items(items: Vec<Value>) -> Res<Rc<Self>> {
        let inner = items.iter().map(Value::depth).max().unwrap_or(0);
        Self::new(IterState::Items(items.into_iter()), inner)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Range,
    Dict,
    DictFromKeys,
    Lipsum,
    Cycler,
    Joiner,
    Namespace,
    RaiseException,
    StrftimeNow,
    Generation,
}

impl Seq {
    pub(super) fn new(items: Vec<Value>) -> Res<Rc<Self>> {
        let inner = items.iter().map(Value::depth).max().unwrap_or(0);
        Ok(Rc::new(Self { items, depth: deeper(inner)? }))
    }
}

impl Dict {
    pub(super) fn from_map(map: IndexMap<Key, (Value, Value)>) -> Res<Rc<Self>> {
        let depths = map.values().map(|(k, v)| k.depth().max(v.depth()));
        let depth = deeper(depths.max().unwrap_or(0))?;
        Ok(Rc::new(Self { map, depth }))
    }

    pub(super) fn get(&self, key: &Value) -> Res<Option<&Value>> {
        Ok(self.map.get(&Key::of(key)?).map(|(_, value)| value))
    }

    pub(super) fn get_str(&self, key: &Arc<str>) -> Option<&Value> {
        self.map.get(&Key::Str(Arc::clone(key))).map(|(_, value)| value)
    }
}

/// The depth of a container whose deepest item has depth `inner`.
pub(super) fn deeper(inner: u16) -> Res<u16> {
    if inner >= MAX_DEPTH {
        return Err(error!(Limit, "a value is nested too deeply"));
    }
    Ok(inner + 1)
}

impl Key {
    pub(super) fn of(value: &Value) -> Res<Self> {
        Ok(match value {
            Value::Undefined(_) => Self::Undefined,
            Value::None => Self::None,
            Value::Bool(b) => Self::Int(i128::from(*b)),
            Value::Int(i) => Self::Int(*i),
            Value::Float(f) => match float_to_int(*f) {
                Some(int) => Self::Int(int),
                None => Self::Float(f.to_bits()),
            },
            Value::Str(s) | Value::Markup(s) => Self::Str(Arc::clone(s)),
            Value::Bytes(b) => Self::Bytes(Rc::clone(b)),
            Value::Tuple(seq) | Value::Group(seq) => {
                Self::Tuple(seq.items.iter().map(Self::of).collect::<Res<_>>()?)
            }
            Value::Range(range) => Self::Range(match range.len() {
                0 => None,
                1 => Some((range.start, 0, 1)),
                len => Some((range.start, range.step, len)),
            }),
            Value::List(_) | Value::Dict(_) | Value::View(..) => {
                return Err(error!(Type, "unhashable type: '{}'", value.type_name()));
            }
            other => Self::Object(other.identity()),
        })
    }
}

/// A float without a fraction as an integer.
pub(super) fn float_to_int(float: f64) -> Option<i128> {
    let whole = float.fract() == 0.0 && float.abs() < 1e38;
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^127")]
    whole.then_some(float as i128)
}

impl Range {
    pub(super) fn len(&self) -> i128 {
        let (start, stop, step) = (self.start, self.stop, self.step);
        let span = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
        let step = step.saturating_abs().max(1);
        if span <= 0 { 0 } else { (span - 1) / step + 1 }
    }

    pub(super) fn get(&self, index: i128) -> Value {
        Value::Int(self.start.saturating_add(self.step.saturating_mul(index)))
    }
}

pub(super) type Pair = (Value, Value);

impl Value {
    pub(super) fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    pub(super) fn list(items: Vec<Value>) -> Res<Self> {
        Ok(Self::List(Seq::new(items)?))
    }

    pub(super) fn tuple(items: Vec<Value>) -> Res<Self> {
        Ok(Self::Tuple(Seq::new(items)?))
    }

    pub(super) fn dict(pairs: Vec<Pair>) -> Res<Self> {
        let mut map = IndexMap::with_capacity(pairs.len());
        for (key, value) in pairs {
            insert(&mut map, key, value)?;
        }
        Ok(Self::Dict(Dict::from_map(map)?))
    }

    pub(super) fn undefined(hint: impl Into<String>) -> Self {
        Self::Undefined(Rc::new(Undefined { class: Class::Undefined, hint: hint.into() }))
    }

    /// Converts parsed JSON.
    pub(super) fn from_json(json: &Json) -> Res<Self> {
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(number) => match number.as_i128() {
                Some(int) => Self::Int(int),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::str(text.as_str()),
            Json::Array(items) => {
                Self::list(items.iter().map(Self::from_json).collect::<Res<_>>()?)?
            }
            Json::Object(fields) => {
                let pair = |(key, value): (&String, &Json)| {
                    Ok((Self::str(key.as_str()), Self::from_json(value)?))
                };
                Self::dict(fields.iter().map(pair).collect::<Res<_>>()?)?
            }
        })
    }
}

/// Adds a pair to a dict under construction. An existing key keeps its position and its type.
pub(super) fn insert(map: &mut IndexMap<Key, Pair>, key: Value, value: Value) -> Res<()> {
    match map.entry(Key::of(&key)?) {
        indexmap::map::Entry::Occupied(mut entry) => entry.get_mut().1 = value,
        indexmap::map::Entry::Vacant(entry) => {
            entry.insert((key, value));
        }
    }
    Ok(())
}
