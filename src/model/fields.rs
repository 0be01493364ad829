//! Typed access to the fields of a JSON configuration file, with errors that name the field.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::config::ConfigError;
use crate::formats::source::len_u64;
use crate::formats::{json_bytes, one_line, quoted};

use super::config::MAX_CONFIG_BYTES;

/// The known fields of a JSON object. `null` counts as absent, as everywhere in transformers.
pub(super) struct Fields {
    file: String,
    values: BTreeMap<String, Value>,
}

impl Fields {
    /// Parses a file's object, keeping the fields that `known` lists.
    pub(super) fn parse(
        file: &str,
        bytes: &[u8],
        known: impl Fn(&str) -> bool,
    ) -> Result<Self, ConfigError> {
        let error = |field: Option<String>, problem: String| ConfigError {
            file: file.to_owned(),
            field,
            problem,
        };
        if len_u64(bytes) > MAX_CONFIG_BYTES {
            return Err(error(
                None,
                format!("is {} bytes long; the limit is {MAX_CONFIG_BYTES} bytes", bytes.len()),
            ));
        }
        let mut object = Object { known, current: None, values: BTreeMap::new() };
        let bytes = json_bytes(bytes);
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let parsed = (&mut object).deserialize(&mut json).and_then(|()| {
            object.current = None;
            json.end()
        });
        match parsed {
            Ok(()) => Ok(Self { file: file.to_owned(), values: object.values }),
            Err(e) => {
                let field = object.current.map(|name| {
                    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                        && name.len() < 64
                    {
                        name
                    } else {
                        quoted(&name)
                    }
                });
                Err(error(field, format!("not valid JSON: {}", one_line(&e))))
            }
        }
    }

    /// An error about one field.
    pub(super) fn error(&self, field: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.clone(),
            field: Some(field.to_owned()),
            problem: problem.into(),
        }
    }

    /// The error for a required field that is missing.
    pub(super) fn missing(&self, field: &str) -> ConfigError {
        self.error(field, "is missing")
    }

    /// "got X, need Y".
    pub(super) fn mismatch(&self, field: &str, need: impl fmt::Display) -> ConfigError {
        let got = match self.get(field) {
            Some(value) => show(value),
            None => "nothing".to_owned(),
        };
        self.error(field, format!("got {got}, need {need}"))
    }

    /// The field's value; a dotted name (`rope_parameters.rope_theta`) reads within an object.
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        let value = match field.split_once('.') {
            None => self.values.get(field),
            Some((outer, inner)) => self.values.get(outer)?.as_object()?.get(inner),
        };
        value.filter(|value| !value.is_null())
    }

    /// Whether the field is an explicit `null`.
    pub(super) fn is_null(&self, field: &str) -> bool {
        self.values.get(field).is_some_and(Value::is_null)
    }

    /// A whole number, 0 or more.
    pub(super) fn count(&self, field: &str) -> Result<Option<usize>, ConfigError> {
        self.read(field, "a whole number, 0 or more", |value| usize::try_from(value.as_u64()?).ok())
    }

    /// A finite number.
    pub(super) fn number(&self, field: &str) -> Result<Option<f64>, ConfigError> {
        self.read(field, "a number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, ConfigError> {
        self.read(field, "true or false", Value::as_bool)
    }

    /// A string.
    pub(super) fn string(&self, field: &str) -> Result<Option<&str>, ConfigError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match value.as_str() {
                Some(string) => Ok(Some(string)),
                None => Err(self.mismatch(field, "a string")),
            },
        }
    }

    /// A list of whole numbers.
    pub(super) fn counts(&self, field: &str) -> Result<Option<Vec<usize>>, ConfigError> {
        self.read(field, "a list of whole numbers", |value| {
            let values = value.as_array()?.iter();
            values.map(|v| usize::try_from(v.as_u64()?).ok()).collect()
        })
    }

    /// A list of strings.
    pub(super) fn strings(&self, field: &str) -> Result<Option<Vec<&str>>, ConfigError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => value
                .as_array()
                .and_then(|values| values.iter().map(Value::as_str).collect())
                .map(Some)
                .ok_or_else(|| self.mismatch(field, "a list of strings")),
        }
    }

    /// A token id below the vocabulary's size.
    pub(super) fn token(&self, field: &str, vocab_size: usize) -> Result<Option<u32>, ConfigError> {
        let need = format!("a token id below vocab_size {vocab_size}");
        self.read(field, &need, |value| token_id(value, vocab_size))
    }

    /// One token id or a list of them; empty when the field is absent.
    pub(super) fn tokens(&self, field: &str, vocab_size: usize) -> Result<Vec<u32>, ConfigError> {
        let need = format!("a token id below vocab_size {vocab_size}, or a list of 1 to 64");
        let ids = self.read(field, &need, |value| match value {
            Value::Array(ids) if (1..=64).contains(&ids.len()) => {
                ids.iter().map(|id| token_id(id, vocab_size)).collect()
            }
            id => token_id(id, vocab_size).map(|id| vec![id]),
        })?;
        Ok(ids.unwrap_or_default())
    }

    /// The one value of a field that has several spellings, with the spelling that gave it. All
    /// that are present must agree.
    pub(super) fn spelled<'f, T: PartialEq>(
        &self,
        spellings: &[&'f str],
        read: impl Fn(&Self, &str) -> Result<Option<T>, ConfigError>,
    ) -> Result<Option<(&'f str, T)>, ConfigError> {
        let mut found: Option<(&str, T)> = None;
        for spelling in spellings {
            let Some(value) = read(self, spelling)? else {
                continue;
            };
            match &found {
                None => found = Some((spelling, value)),
                Some((first, earlier)) if *earlier != value => {
                    let earlier = self.get(first).map(show).unwrap_or_default();
                    return Err(self.mismatch(
                        spelling,
                        format_args!(
                            "{earlier}, which {first} says: the two contradict each other"
                        ),
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(found)
    }

    fn read<T>(
        &self,
        field: &str,
        need: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.mismatch(field, need)),
            },
        }
    }
}

fn token_id(value: &Value, vocab_size: usize) -> Option<u32> {
    let id = u32::try_from(value.as_u64()?).ok()?;
    (usize::try_from(id).ok()? < vocab_size).then_some(id)
}

/// A value as JSON, cut to a readable length without rendering all of a list or object.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(string) => quoted(string),
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(_) => "an object".to_owned(),
        value => value.to_string(),
    }
}

/// State of the parser. `current` is the field being read, for errors.
struct Object<K> {
    known: K,
    current: Option<String>,
    values: BTreeMap<String, Value>,
}

impl<'de, K: Fn(&str) -> bool> DeserializeSeed<'de> for &mut Object<K> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, K: Fn(&str) -> bool> Visitor<'de> for &mut Object<K> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.current = Some(name.clone());
            if !(self.known)(&name) {
                map.next_value::<IgnoredAny>()?;
            } else if self.values.insert(name, map.next_value()?).is_some() {
                return Err(A::Error::custom("the field is there twice"));
            }
            self.current = None;
        }
        Ok(())
    }
}
