//! Reads values within a request, each with an error that names its place.

use serde_json::{Map, Value};

use super::fields::wrong;
use crate::error::Error;
use crate::formats::one_line;

/// A value of a request, and its place: `messages[1].content[0]`.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

impl<'a> Place<'a> {
    pub(super) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    /// The error of this place.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> Error {
        wrong(&self.path, problem)
    }

    /// The error of a type that is not supported.
    pub(super) fn unsupported(&self, kind: &str, need: &str) -> Error {
        let kind = one_line(&format_args!("{kind:?}"));
        wrong(&format!("{}.type", self.path), format!("{kind} is not supported, only {need}"))
    }

    pub(super) fn object(&self) -> Result<&'a Map<String, Value>, Error> {
        self.value.as_object().ok_or_else(|| self.wrong("must be an object"))
    }

    pub(super) fn text(&self) -> Result<&'a str, Error> {
        self.value.as_str().ok_or_else(|| self.wrong("must be a string"))
    }

    pub(super) fn flag(&self) -> Result<bool, Error> {
        self.value.as_bool().ok_or_else(|| self.wrong("must be true or false"))
    }

    /// The items of a list.
    pub(super) fn list(&self, need: &str) -> Result<impl Iterator<Item = Place<'a>>, Error> {
        let list = self.value.as_array().ok_or_else(|| self.wrong(need))?;
        let path = self.path.clone();
        let item = move |(i, value)| Place { value, path: format!("{path}[{i}]") };
        Ok(list.iter().enumerate().map(item))
    }

    /// The text of a string, or of parts of these types, joined. A part has its text in the field `text`, a refusal in
    /// `refusal`.
    pub(super) fn texts(&self, need: &str, kinds: &[&str], between: &str) -> Result<String, Error> {
        if let Some(text) = self.value.as_str() {
            return Ok(text.to_owned());
        }
        let mut all = Vec::new();
        for part in self.list(need)? {
            let kind = part.need_text("type")?;
            if !kinds.contains(&kind) {
                return Err(part.unsupported(kind, "text"));
            }
            all.push(part.need_text(if kind == "refusal" { kind } else { "text" })?);
        }
        Ok(all.join(between))
    }

    /// A field of an object; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { value, path: format!("{}.{key}", self.path) })
    }

    /// A field that an object must have.
    pub(super) fn need(&self, key: &str) -> Result<Self, Error> {
        self.object()?;
        self.get(key).ok_or_else(|| wrong(&format!("{}.{key}", self.path), "missing"))
    }

    /// The text of a field that an object must have.
    pub(super) fn need_text(&self, key: &str) -> Result<&'a str, Error> {
        self.need(key)?.text()
    }

    /// The text of a field that an object may have.
    pub(super) fn get_text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        self.object()?;
        self.get(key).map(|field| field.text()).transpose()
    }
}
