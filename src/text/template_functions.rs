//! What transformers adds to jinja2 for chat templates: `tojson`, `raise_exception`,
//! `strftime_now`, and Python's own methods and spelling of values.

use super::py_json::{Dumps, float_repr};
use super::strftime::strftime;
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use std::fmt;

/// Python's methods of strings, lists and dicts, with what they make paid for beforehand.
pub(super) fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let bytes = match name {
            "format" => format_bytes(text, '{', args)?,
            // A string per piece, of 32 bytes.
            "split" => match args.first().and_then(Value::as_str).filter(|s| !s.is_empty()) {
                Some(separator) => text.matches(separator).count().saturating_mul(32),
                None => text.matches(char::is_whitespace).count().saturating_mul(32),
            },
            "splitlines" => text.matches('\n').count().saturating_mul(32),
            _ => 0,
        };
        pay(state, bytes)?;
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// The `format` filter: printf, paid for beforehand.
pub(super) fn format_filter(
    state: &mut State,
    text: &str,
    args: Rest<ValueOrKwargs>,
) -> Result<String, Error> {
    let args: Vec<Value> = args.0.into_iter().map(ValueOrKwargs::into_value).collect();
    pay(state, format_bytes(text, '%', &args)?)?;
    format(FormatStyle::Printf, text, &args)
}

fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(u64::try_from(bytes / 64).unwrap_or(u64::MAX))
}

/// The most bytes that a format can make: every field may be any argument, at any width.
fn format_bytes(text: &str, field: char, args: &[Value]) -> Result<usize, Error> {
    if text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3) {
        let problem = "format: a number of more than 3 digits";
        return Err(Error::new(ErrorKind::InvalidOperation, problem));
    }
    let longest: usize = args.iter().map(|arg| PyStr(arg).to_string().len()).sum();
    Ok(text.matches(field).count().saturating_mul(longest.saturating_add(1000)))
}

/// Gives templates `strftime_now`: of a fixed time, or of the system's clock.
pub(super) fn add_clock(env: &mut Environment<'static>, fixed: Option<i64>) {
    env.add_function("strftime_now", move |format: &str| {
        let now = fixed.or_else(system_time).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, "strftime_now: no clock here; set the time")
        })?;
        strftime(format, now).map_err(|e| Error::new(ErrorKind::InvalidOperation, e))
    });
}

#[cfg(not(target_arch = "wasm32"))]
fn system_time() -> Option<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// The standard library's clock panics in a browser.
#[cfg(target_arch = "wasm32")]
fn system_time() -> Option<i64> {
    None
}

/// A value as Python's `str` writes it; minijinja does so for all but floats.
pub(super) struct PyStr<'a>(pub(super) &'a Value);

impl fmt::Display for PyStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let value = self.0;
        if value.kind() == ValueKind::Number
            && !value.is_integer()
            && let Ok(float) = f64::try_from(value.clone())
            && float.is_finite()
        {
            return f.write_str(&float_repr(float));
        }
        fmt::Display::fmt(value, f)
    }
}

/// transformers' `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let mut dumps = Dumps {
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ..Dumps::default()
    };
    if let Some(indent) = options.get::<Option<Value>>("indent")?.filter(|v| !v.is_none()) {
        dumps.indent = Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(indent.as_usize().filter(|n| *n <= 64).ok_or_else(|| {
                let problem = "tojson: indent must be a string or a number up to 64";
                Error::new(ErrorKind::InvalidOperation, problem)
            })?),
        });
        dumps.item_separator = ",".to_owned();
    }
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")? {
        let [item, key] = &separators[..] else {
            let problem = "tojson: separators must be two strings";
            return Err(Error::new(ErrorKind::InvalidOperation, problem));
        };
        dumps.item_separator.clone_from(item);
        dumps.key_separator.clone_from(key);
    }
    options.assert_all_used()?;
    dumps.dump(value, state)
}

/// Marks an error as the template author's own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(String);

/// `raise_exception(message)`.
pub(super) fn raise_exception(message: &Value) -> Result<Value, Error> {
    let message = PyStr(message).to_string();
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(message)))
}
