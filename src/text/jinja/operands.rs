//! Errors about operands that are undefined or of a wrong type.

use super::error::{Error, Res, error};
use super::value::Value;

/// The error of using an undefined value.
pub(super) fn undefined(value: &Value) -> Error {
    match value {
        Value::Undefined(undefined) => Error::new(undefined.class, undefined.hint.clone()),
        _ => error!(Undefined, "undefined"),
    }
}

/// An undefined value that must not be used as a function or number.
pub(super) fn defined(value: &Value) -> Res<&Value> {
    if value.is_undefined() { Err(undefined(value)) } else { Ok(value) }
}

/// An undefined value as an error where Python needs one.
pub(super) fn needs(value: &Value, what: &str) -> Error {
    match value {
        Value::Undefined(_) => undefined(value),
        other => error!(Type, "{what}, not {}", other.type_name()),
    }
}
