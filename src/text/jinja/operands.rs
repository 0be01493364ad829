//! Errors about operands that are undefined or of a wrong type.

use super::error::{Error, Res, error};
use super::value::Value;

/// The error for using an undefined value.
pub(super) fn undefined(value: &Value) -> Error {
    match value {
        Value::Undefined(undefined) => Error::new(undefined.class, undefined.hint.clone()),
        _ => error!(Undefined, "undefined"),
    }
}

/// Refuses an undefined value.
pub(super) fn defined(value: &Value) -> Res<&Value> {
    if value.is_undefined() { Err(undefined(value)) } else { Ok(value) }
}

/// The error for a value of a wrong type, or for an undefined value.
pub(super) fn wrong_type(value: &Value, what: &str) -> Error {
    match value {
        Value::Undefined(_) => undefined(value),
        other => error!(Type, "{what}, not {}", other.type_name()),
    }
}
