//! jinja2's tests, as in `x is defined`.

use super::ast::{Comparison, Operator};
use super::bind::Signature;
use super::compare::equal;
use super::error::{Res, error};
use super::filters;
use super::interp::Interp;
use super::repr::to_str;
use super::str_methods;
use super::value::{CallArgs, Function, Key, Value, View};

/// Tests of a value alone.
const PLAIN: &[&str] = &[
    "odd",
    "even",
    "defined",
    "undefined",
    "filter",
    "test",
    "none",
    "boolean",
    "false",
    "true",
    "integer",
    "float",
    "lower",
    "upper",
    "string",
    "mapping",
    "number",
    "sequence",
    "iterable",
    "callable",
    "escaped",
];

/// Tests that compare a value with another.
const BINARY: &[&str] = &[
    "divisibleby",
    "sameas",
    "in",
    "==",
    "eq",
    "equalto",
    "!=",
    "ne",
    ">",
    "gt",
    "greaterthan",
    "ge",
    ">=",
    "<",
    "lt",
    "lessthan",
    "<=",
    "le",
];

pub(super) fn exists(name: &str) -> bool {
    PLAIN.contains(&name) || BINARY.contains(&name)
}

impl Interp<'_> {
    pub(super) fn test(&self, name: &str, value: Value, args: CallArgs) -> Res<bool> {
        self.meter.pay(1)?;
        let binary = BINARY.contains(&name);
        if !binary && !PLAIN.contains(&name) {
            return Err(error!(Runtime, "no test is named '{name}'"));
        }
        // Parameters of Python's own functions are positional-only.
        let params: &[&str] = match name {
            "divisibleby" => &["num"],
            "sameas" => &["other"],
            "in" => &["seq"],
            _ if binary => &["b"],
            _ => &[],
        };
        let positional = usize::from(matches!(params, ["b"]));
        let mut args = Signature { name, params, required: params.len(), positional }.bind(args)?;
        let other = args.take(0);
        let compare = |comparison| self.compare(comparison, &value, &other);
        let modulo = |by: &Value| self.binary(Operator::Mod, &value, by);
        let is_zero = |rest: Value| equal(&self.meter, &rest, &Value::Int(0));
        Ok(match name {
            "odd" => equal(&self.meter, &modulo(&Value::Int(2))?, &Value::Int(1))?,
            "even" => is_zero(modulo(&Value::Int(2))?)?,
            "divisibleby" => is_zero(modulo(&other)?)?,
            "defined" => !value.is_undefined(),
            "undefined" => value.is_undefined(),
            "filter" => self.named(&value, filters::exists)?,
            "test" => self.named(&value, exists)?,
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "false" => matches!(value, Value::Bool(false)),
            "true" => matches!(value, Value::Bool(true)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "lower" | "upper" => match &value {
                // These print as addresses: in lower case, except for names of classes.
                Value::Cycler(_)
                | Value::Joiner(_)
                | Value::Function(Function::Dict)
                | Value::Block(_) => false,
                Value::Iter(_) | Value::Method(_) | Value::Function(Function::Range) => {
                    name == "lower"
                }
                Value::Function(
                    Function::Lipsum | Function::RaiseException | Function::StrftimeNow,
                ) => name == "lower",
                other => {
                    let method = if name == "lower" { "islower" } else { "isupper" };
                    str_methods::is(&to_str(self, other)?, method)
                }
            },
            "string" => value.as_str().is_some(),
            "mapping" => matches!(value, Value::Dict(_)),
            "number" => value.as_number().is_some(),
            "sequence" => match &value {
                // A sequence has a length and an index. A view of a dict has no index.
                Value::View(View::Keys | View::Values | View::Items, _) => false,
                // jinja2's undefined values have a length and an index.
                Value::Undefined(_) => true,
                other => other.len().is_some(),
            },
            "iterable" => self.iterate(&value).is_ok(),
            "callable" => matches!(
                value,
                Value::Method(_)
                    | Value::Macro(_)
                    | Value::Function(_)
                    | Value::Joiner(_)
                    | Value::Loop(_)
                    | Value::Block(_)
                    | Value::Undefined(_)
            ),
            "escaped" => matches!(value, Value::Markup(_)),
            "sameas" => value.is(&other),
            "in" => self.contains(&other, &value)?,
            "==" | "eq" | "equalto" => compare(Comparison::Eq)?,
            "!=" | "ne" => compare(Comparison::Ne)?,
            ">" | "gt" | "greaterthan" => compare(Comparison::Gt)?,
            ">=" | "ge" => compare(Comparison::Ge)?,
            "<" | "lt" | "lessthan" => compare(Comparison::Lt)?,
            _ => compare(Comparison::Le)?,
        })
    }

    /// Whether a value is a name that `exists` knows.
    fn named(&self, value: &Value, exists: fn(&str) -> bool) -> Res<bool> {
        Key::of(value)?;
        Ok(value.as_str().is_some_and(|name| exists(name)))
    }
}
