//! Binds the arguments of a call to the parameters of a function, as Python does.

use super::error::{Res, error};
use super::operands::wrong_type;
use super::value::{CallArgs, Value};
use std::sync::Arc;

/// A function's parameters.
pub(super) struct Signature<'s> {
    pub name: &'s str,
    pub params: &'s [&'s str],
    /// Number of required parameters.
    pub required: usize,
    /// Number of positional-only parameters.
    pub positional: usize,
}

/// Arguments by parameter.
pub(super) struct Bound {
    values: Vec<Option<Value>>,
}

impl Signature<'_> {
    pub(super) fn bind(&self, args: CallArgs) -> Res<Bound> {
        let name = self.name;
        let CallArgs { positional, named } = args;
        if positional.len() > self.params.len() {
            let (most, given) = (self.params.len(), positional.len());
            return Err(error!(Type, "{name}() takes at most {most} arguments ({given} given)"));
        }
        let mut values: Vec<Option<Value>> = positional.into_iter().map(Some).collect();
        values.resize(self.params.len(), None);
        for (param, value) in named {
            let at =
                self.params.iter().position(|p| **p == *param).filter(|at| *at >= self.positional);
            let Some(slot) = at.and_then(|at| values.get_mut(at)) else {
                return Err(error!(Type, "{name}() got an unexpected keyword argument '{param}'"));
            };
            if slot.replace(value).is_some() {
                return Err(error!(Type, "{name}() got multiple values for argument '{param}'"));
            }
        }
        if let Some(at) = values.iter().take(self.required).position(Option::is_none) {
            let missing = self.params.get(at).unwrap_or(&"?");
            return Err(error!(Type, "{name}() is missing the argument '{missing}'"));
        }
        Ok(Bound { values })
    }
}

impl Bound {
    /// The argument, if it was given.
    pub(super) fn given(&mut self, at: usize) -> Option<Value> {
        self.values.get_mut(at).and_then(Option::take)
    }

    /// The argument, or `None`.
    pub(super) fn take(&mut self, at: usize) -> Value {
        self.given(at).unwrap_or(Value::None)
    }

    /// The argument, unless it is `None`.
    pub(super) fn some(&mut self, at: usize) -> Option<Value> {
        self.given(at).filter(|v| !matches!(v, Value::None))
    }

    pub(super) fn truthy(&mut self, at: usize) -> bool {
        self.given(at).is_some_and(|v| v.truthy())
    }

    pub(super) fn int(&mut self, at: usize, default: i128) -> Res<i128> {
        match self.given(at) {
            None => Ok(default),
            Some(value) => {
                value.as_int().ok_or_else(|| wrong_type(&value, "an integer is required"))
            }
        }
    }

    pub(super) fn text(&mut self, at: usize) -> Res<Arc<str>> {
        let value = self.take(at);
        value.as_str().cloned().ok_or_else(|| wrong_type(&value, "argument must be str"))
    }
}
