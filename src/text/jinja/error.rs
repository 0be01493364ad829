//! What goes wrong while a template is read or runs.

use std::fmt;

/// Result of everything in the interpreter.
pub(super) type Res<T> = Result<T, Error>;

/// The exceptions of Python and jinja2 that filters and lookups tell apart, and our own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::text) enum Class {
    /// The template is not in the language.
    Syntax,
    /// `TypeError`.
    Type,
    /// `ValueError`.
    Value,
    /// `KeyError` and `IndexError`.
    Lookup,
    /// `OverflowError`, `ZeroDivisionError`.
    Arithmetic,
    /// jinja2's `UndefinedError`.
    Undefined,
    /// jinja2's `SecurityError`.
    Security,
    /// Other errors of jinja2.
    Runtime,
    /// The template's own `raise_exception`.
    Raised,
    /// The template works for longer than it may.
    Fuel,
    /// Python could go on and this interpreter does not.
    Limit,
}

/// An error, boxed so that results stay small.
#[derive(Debug)]
pub(in crate::text) struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    class: Class,
    line: Option<usize>,
    message: String,
}

impl Error {
    pub(super) fn new(class: Class, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { class, line: None, message: message.into() }))
    }

    /// The same error at a line, unless it has one.
    pub(super) fn at(mut self, line: u32) -> Self {
        self.0.line.get_or_insert(usize::try_from(line).unwrap_or(usize::MAX));
        self
    }

    pub(in crate::text) fn class(&self) -> Class {
        self.0.class
    }

    pub(in crate::text) fn line(&self) -> Option<usize> {
        self.0.line
    }

    pub(in crate::text) fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// An error of a class with a formatted message.
macro_rules! error {
    ($class:ident, $($message:tt)+) => {
        $crate::text::jinja::error::Error::new(
            $crate::text::jinja::error::Class::$class,
            format!($($message)+),
        )
    };
}
pub(super) use error;
