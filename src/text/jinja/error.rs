//! Errors of parsing and running a template.

use std::fmt;

/// The interpreter's result type.
pub(super) type Res<T> = Result<T, Error>;

/// The exceptions of Python and jinja2 that filters and lookups distinguish, and our own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::text) enum Class {
    /// The template has a syntax error.
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
    /// The template has used up its fuel.
    Fuel,
    /// A limit or a missing feature of this interpreter. Python could go on.
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

    /// Adds the line, unless the error has one.
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
