//! A JSON tree that keeps duplicate keys, so that they can be refused. `serde_json::Value` drops them.
//!
//! Strings borrow from the input where they hold no escapes, so a 5 MB tokenizer.json costs little
//! more than its nodes. Nesting is bounded by serde_json's own limit of 128 levels.

use super::error::{TextError, bad, one_line};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Display};

/// One JSON value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    /// A non-negative integer.
    Unsigned(u64),
    /// Any other number.
    OtherNumber(f64),
    Str(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// Fields in the order of the file.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Parses a whole document and refuses duplicate keys anywhere in it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, TextError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|e| bad("file", format_args!("not UTF-8 (byte {})", e.valid_up_to())))?;
        if text.trim().is_empty() {
            return Err(bad("file", "empty"));
        }
        let node: Node<'a> = serde_json::from_str(text)
            .map_err(|e| bad("file", format_args!("not valid JSON: {}", one_line(e))))?;
        node.check_duplicates("")?;
        Ok(node)
    }

    fn check_duplicates(&self, path: &str) -> Result<(), TextError> {
        let join = |key: &str| {
            if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
        };
        match self {
            Node::Object(entries) => {
                let mut seen = HashSet::with_capacity(entries.len());
                for (key, value) in entries {
                    if !seen.insert(&**key) {
                        return Err(bad(join(key), "this key is given twice"));
                    }
                    if matches!(value, Node::Object(_) | Node::Array(_)) {
                        value.check_duplicates(&join(key))?;
                    }
                }
                Ok(())
            }
            // The 60,000 merges are arrays of strings; no paths are made for them.
            Node::Array(items) => items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.holds_object())
                .try_for_each(|(i, item)| item.check_duplicates(&format!("{path}[{i}]"))),
            _ => Ok(()),
        }
    }

    fn holds_object(&self) -> bool {
        match self {
            Node::Object(_) => true,
            Node::Array(items) => items.iter().any(Node::holds_object),
            _ => false,
        }
    }

    /// The value's type, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Unsigned(_) | Node::OtherNumber(_) => "a number",
            Node::Str(_) => "a string",
            Node::Array(_) => "an array",
            Node::Object(_) => "an object",
        }
    }

    fn wrong(&self, path: impl Display, need: &str) -> TextError {
        bad(path, format_args!("must be {need}, not {}", self.kind()))
    }

    pub(super) fn object(
        &self,
        path: impl Display,
    ) -> Result<&[(Cow<'a, str>, Node<'a>)], TextError> {
        match self {
            Node::Object(entries) => Ok(entries),
            other => Err(other.wrong(path, "an object")),
        }
    }

    pub(super) fn array(&self, path: impl Display) -> Result<&[Node<'a>], TextError> {
        match self {
            Node::Array(items) => Ok(items),
            other => Err(other.wrong(path, "an array")),
        }
    }

    pub(super) fn str(&self, path: impl Display) -> Result<&str, TextError> {
        match self {
            Node::Str(text) => Ok(text),
            other => Err(other.wrong(path, "a string")),
        }
    }

    pub(super) fn bool(&self, path: impl Display) -> Result<bool, TextError> {
        match self {
            Node::Bool(value) => Ok(*value),
            other => Err(other.wrong(path, "true or false")),
        }
    }

    pub(super) fn unsigned(&self, path: impl Display) -> Result<u64, TextError> {
        match self {
            Node::Unsigned(value) => Ok(*value),
            Node::OtherNumber(value) => {
                Err(bad(path, format_args!("must be a whole number of at least 0, not {value}")))
            }
            other => Err(other.wrong(path, "a whole number")),
        }
    }

    /// A token id.
    pub(super) fn id(&self, path: impl Display) -> Result<u32, TextError> {
        let value = self.unsigned(&path)?;
        u32::try_from(value)
            .map_err(|_| bad(path, format_args!("{value} is too large for a token id")))
    }

    /// A member of an object; `None` for other values.
    pub(super) fn get(&self, key: &str) -> Option<&Node<'a>> {
        match self {
            Node::Object(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// As [`Node::get`], but `null` counts as absent.
    pub(super) fn field(&self, key: &str) -> Option<&Node<'a>> {
        self.get(key).filter(|node| !matches!(node, Node::Null))
    }

    /// A required member.
    pub(super) fn need(&self, path: impl Display, key: &str) -> Result<&Node<'a>, TextError> {
        self.object(&path)?;
        self.field(key).ok_or_else(|| bad(format_args!("{path}.{key}"), "missing"))
    }

    /// Refuses unknown members, because they may change token ids.
    pub(super) fn only_keys(&self, path: impl Display, known: &[&str]) -> Result<(), TextError> {
        for (key, _) in self.object(&path)? {
            if !known.contains(&&**key) {
                let path = path.to_string();
                let field = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                return Err(bad(field, "not supported (unknown field)"));
            }
        }
        Ok(())
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).map_or(Node::OtherNumber(value as f64), Node::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Node::OtherNumber(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Str(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Node::Str(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Node::Object(entries))
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// An object key; `Cow`'s own `Deserialize` would always copy.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(value.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> String {
        Node::parse(json.as_bytes()).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn duplicate_keys_are_named_with_their_path() {
        assert_eq!(
            problem(r#"{"a":{"b":1,"b":2}}"#),
            "tokenizer.json: a.b: this key is given twice"
        );
        assert_eq!(
            problem(r#"{"a":[[1],[{"x":0,"x":1}]]}"#),
            "tokenizer.json: a[1][0].x: this key is given twice"
        );
    }

    #[test]
    fn deep_nesting_and_invalid_json_are_errors() {
        assert!(problem(&"[".repeat(100_000)).contains("recursion limit"));
        assert!(problem("{} {}").contains("trailing"));
        assert!(problem("  ").contains("empty"));
        assert!(Node::parse(b"{\"\xff\":1}").is_err());
    }

    #[test]
    fn strings_borrow_unless_escaped() {
        let text = r#"["plain","es\u0041"]"#;
        let node = Node::parse(text.as_bytes()).unwrap();
        let items = node.array("").unwrap();
        assert!(matches!(&items[0], Node::Str(Cow::Borrowed("plain"))));
        assert!(matches!(&items[1], Node::Str(Cow::Owned(s)) if s == "esA"));
    }

    #[test]
    fn numbers_that_are_not_ids_are_refused() {
        let node = Node::parse(b"[-1, 1.5, 4294967296, 7]").unwrap();
        let items = node.array("").unwrap();
        for bad in &items[..3] {
            assert!(bad.id("x").is_err());
        }
        assert_eq!(items[3].id("x").unwrap(), 7);
    }
}
