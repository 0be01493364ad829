//! Properties of values: depth, length, truth, type, identity.

use super::value::{Seq, Value, View};
use std::rc::Rc;
use std::sync::Arc;

impl Value {
    pub(super) fn depth(&self) -> u16 {
        match self {
            Self::List(seq) | Self::Tuple(seq) | Self::Group(seq) => seq.depth,
            Self::Dict(dict) | Self::View(_, dict) => dict.depth,
            Self::Iter(iter) => iter.depth,
            Self::Loop(inner) => inner.nesting,
            Self::Method(method) => method.of.depth(),
            Self::Cycler(cycler) => cycler.items.depth,
            Self::Joiner(joiner) => joiner.separator.depth(),
            _ => 0,
        }
    }

    pub(super) fn as_str(&self) -> Option<&Arc<str>> {
        match self {
            Self::Str(text) | Self::Markup(text) => Some(text),
            _ => None,
        }
    }

    /// An integer; booleans are integers in Python.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    /// A number as a float.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(*float),
            #[expect(clippy::cast_precision_loss, reason = "Python rounds here too")]
            other => other.as_int().map(|int| int as f64),
        }
    }

    pub(super) fn as_seq(&self) -> Option<&Rc<Seq>> {
        match self {
            Self::List(seq) | Self::Tuple(seq) | Self::Group(seq) => Some(seq),
            _ => None,
        }
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    /// The number of items, for values with a length.
    pub(super) fn len(&self) -> Option<usize> {
        Some(match self {
            Self::Undefined(_) => 0,
            Self::Str(text) | Self::Markup(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(seq) | Self::Tuple(seq) | Self::Group(seq) => seq.items.len(),
            Self::Dict(dict) | Self::View(_, dict) => dict.map.len(),
            Self::Range(range) => usize::try_from(range.len()).unwrap_or(usize::MAX),
            _ => return None,
        })
    }

    pub(super) fn truthy(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(int) => *int != 0,
            Self::Float(float) => *float != 0.0,
            Self::Str(text) | Self::Markup(text) => !text.is_empty(),
            other => other.len() != Some(0),
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Markup(_) => "Markup",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Group(_) => "_GroupTuple",
            Self::Dict(_) => "dict",
            Self::Range(_) => "range",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Iter(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Macro(_) => "Macro",
            Self::Function(_) => "function",
            Self::Method(_) => "builtin_function_or_method",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
            Self::Template => "TemplateReference",
            Self::Block(_) => "BlockReference",
        }
    }

    /// The address of a value, for values that only equal themselves.
    pub(super) fn identity(&self) -> usize {
        match self {
            Self::List(seq) | Self::Tuple(seq) | Self::Group(seq) => Rc::as_ptr(seq).addr(),
            Self::Dict(dict) | Self::View(_, dict) => Rc::as_ptr(dict).addr(),
            Self::Str(text) | Self::Markup(text) => Arc::as_ptr(text).addr(),
            Self::Iter(iter) => Rc::as_ptr(iter).addr(),
            Self::Namespace(namespace) => Rc::as_ptr(namespace).addr(),
            Self::Loop(inner) => Rc::as_ptr(inner).addr(),
            Self::Macro(inner) => Rc::as_ptr(inner).addr(),
            Self::Function(function) => *function as usize,
            Self::Method(method) => Rc::as_ptr(method).addr(),
            Self::Cycler(cycler) => Rc::as_ptr(cycler).addr(),
            Self::Joiner(joiner) => Rc::as_ptr(joiner).addr(),
            Self::Range(range) => Rc::as_ptr(range).addr(),
            _ => 0,
        }
    }

    /// Python's `is`. Small integers and short equal strings are the same object.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b && (-5..=256).contains(a),
            (Self::Str(a), Self::Str(b)) => Arc::ptr_eq(a, b) || (a == b && a.len() < 2),
            (Self::Undefined(a), Self::Undefined(b)) => Rc::ptr_eq(a, b),
            (Self::Template, Self::Template) => true,
            (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => {
                a.identity() != 0 && a.identity() == b.identity()
            }
            _ => false,
        }
    }
}
