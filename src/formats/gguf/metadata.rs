//! The keys of a GGUF file. They are read by type, and errors name the key.

use std::fmt;
use std::ops::Range;

use crate::formats::{FormatError, KeyError, quoted};

/// The type of a value or of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

/// The types in the order of their numbers in a file, with the minimum size of a value in bytes.
const VALUE_TYPES: [(ValueType, u64, &str); 13] = [
    (ValueType::U8, 1, "u8"),
    (ValueType::I8, 1, "i8"),
    (ValueType::U16, 2, "u16"),
    (ValueType::I16, 2, "i16"),
    (ValueType::U32, 4, "u32"),
    (ValueType::I32, 4, "i32"),
    (ValueType::F32, 4, "f32"),
    (ValueType::Bool, 1, "bool"),
    (ValueType::Text, 8, "string"),
    (ValueType::Array, 12, "array"),
    (ValueType::U64, 8, "u64"),
    (ValueType::I64, 8, "i64"),
    (ValueType::F64, 8, "f64"),
];

impl ValueType {
    pub(super) fn from_number(number: u32) -> Option<Self> {
        VALUE_TYPES.get(usize::try_from(number).ok()?).map(|(value_type, ..)| *value_type)
    }

    fn row(self) -> (u64, &'static str) {
        let row = VALUE_TYPES.iter().find(|(value_type, ..)| *value_type == self);
        row.map_or((1, "?"), |&(_, bytes, name)| (bytes, name))
    }

    /// Size of a value in bytes; of strings and arrays, the minimum.
    pub(super) fn bytes(self) -> u64 {
        self.row().0
    }

    /// Its name in errors.
    pub(super) fn name(self) -> &'static str {
        self.row().1
    }
}

/// A key and its value, as ranges of the header's bytes.
pub(super) struct Entry {
    pub(super) key: Range<usize>,
    pub(super) value: Stored,
}

/// A stored value.
pub(super) enum Stored {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(Range<usize>),
    NotUtf8(NotUtf8),
    Array { element: ValueType, count: usize, bytes: Range<usize> },
}

/// A string that is not UTF-8. It is an error only if its key is read: some files have such strings in a
/// description or a licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8 {
    /// Offset of the first invalid byte.
    pub at: usize,
    /// Length of the string in bytes.
    pub len: usize,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text that is not UTF-8 (byte {} of {})", self.at, self.len)
    }
}

/// A value. Integer and float types of any width are read alike.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A value of any of the eight integer types.
    Integer(i128),
    /// An f32 or f64.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A string.
    Text(&'a str),
    /// A string, or an array of strings, that is not UTF-8.
    NotUtf8(NotUtf8),
    /// An array of anything but arrays.
    Array(Array<'a>),
}

impl fmt::Display for Value<'_> {
    /// The form in errors: one line of bounded length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::NotUtf8(wrong) => write!(f, "{wrong}"),
            Self::Array(array) => write!(f, "an array of {} {}", array.len(), array.element.name()),
        }
    }
}

/// An array whose elements are still in the file's encoding.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    element: ValueType,
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the array is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements of an array of strings.
    pub fn texts(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        let mut rest = self.bytes;
        (self.element == ValueType::Text).then(|| {
            std::iter::from_fn(move || {
                let (len, after) = rest.split_first_chunk::<8>()?;
                let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
                let (text, after) = after.split_at_checked(len)?;
                rest = after;
                std::str::from_utf8(text).ok()
            })
        })
    }

    /// The elements of an array of integers.
    pub fn integers(&self) -> Option<impl Iterator<Item = i128> + use<'a>> {
        let element = self.element;
        let width = match element {
            ValueType::Text | ValueType::Array | ValueType::Bool => return None,
            ValueType::F32 | ValueType::F64 => return None,
            other => usize::try_from(other.bytes()).ok()?,
        };
        let signed =
            matches!(element, ValueType::I8 | ValueType::I16 | ValueType::I32 | ValueType::I64);
        Some(self.bytes.chunks_exact(width).map(move |bytes| {
            let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut whole = [if negative { 0xff } else { 0 }; 16];
            for (to, from) in whole.iter_mut().zip(bytes) {
                *to = *from;
            }
            i128::from_le_bytes(whole)
        }))
    }
}

/// The keys of one GGUF file. Values stay in the header's bytes, so that a table of 128,000 tokens takes no more
/// memory than in the file.
pub struct Metadata {
    file: String,
    bytes: Vec<u8>,
    /// Sorted by key, without duplicates.
    entries: Vec<Entry>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({}, {} keys)", self.file, self.entries.len())
    }
}

impl Metadata {
    /// Sorts the keys and refuses duplicates.
    pub(super) fn new(
        file: String,
        bytes: Vec<u8>,
        entries: Vec<Entry>,
    ) -> Result<Self, FormatError> {
        let mut metadata = Self { file, bytes, entries: Vec::new() };
        let mut entries = entries;
        entries.sort_unstable_by(|a, b| metadata.text(&a.key).cmp(metadata.text(&b.key)));
        for pair in entries.windows(2) {
            if let [a, b] = pair
                && metadata.text(&a.key) == metadata.text(&b.key)
            {
                let problem = format!("has the key {} twice", quoted(metadata.text(&a.key)));
                return Err(FormatError::File { file: metadata.file, problem });
            }
        }
        metadata.entries = entries;
        metadata.warn_not_utf8();
        Ok(metadata)
    }

    fn warn_not_utf8(&self) {
        let mut wrong = self.entries.iter().filter_map(|entry| match entry.value {
            Stored::NotUtf8(wrong) => Some((self.text(&entry.key), wrong)),
            _ => None,
        });
        if let Some((key, first)) = wrong.next() {
            let more = match wrong.count() {
                0 => String::new(),
                n => format!(" (so are {n} more keys)"),
            };
            log::warn!("{}: {}: holds {first}, ignored{more}", self.file, quoted(key));
        }
    }

    /// The file's name in errors.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Every key, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| self.text(&entry.key))
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // The parser has checked that the range is UTF-8.
        let bytes = self.bytes.get(range.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        let at = self.entries.binary_search_by(|entry| self.text(&entry.key).cmp(key)).ok()?;
        Some(match &self.entries.get(at)?.value {
            Stored::Integer(value) => Value::Integer(*value),
            Stored::Float(value) => Value::Float(*value),
            Stored::Bool(value) => Value::Bool(*value),
            Stored::Text(range) => Value::Text(self.text(range)),
            Stored::NotUtf8(wrong) => Value::NotUtf8(*wrong),
            Stored::Array { element, count, bytes } => Value::Array(Array {
                element: *element,
                count: *count,
                bytes: self.bytes.get(bytes.clone()).unwrap_or_default(),
            }),
        })
    }

    /// Makes an error about a key.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> KeyError {
        KeyError { file: self.file.clone(), key: key.to_owned(), problem: problem.into() }
    }

    /// Makes the error "got X, need Y".
    pub fn mismatch(&self, key: &str, need: impl fmt::Display) -> KeyError {
        let got = self.get(key).map_or("nothing".to_owned(), |value| value.to_string());
        self.error(key, format!("got {got}, need {need}"))
    }

    fn read<'m, T>(
        &'m self,
        key: &str,
        need: &str,
        convert: impl Fn(Value<'m>) -> Option<T>,
    ) -> Result<Option<T>, KeyError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.mismatch(key, need)),
            },
        }
    }

    /// A whole number, 0 or more; `None` if there is no such key.
    ///
    /// # Errors
    /// If the value is anything else.
    pub fn count(&self, key: &str) -> Result<Option<usize>, KeyError> {
        self.read(key, "a whole number, 0 or more", |value| match value {
            Value::Integer(value) => usize::try_from(value).ok(),
            _ => None,
        })
    }

    /// One whole number, or an array of them.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn counts(&self, key: &str) -> Result<Option<Counts>, KeyError> {
        self.read(key, "a whole number, or an array of them", |value| match value {
            Value::Integer(value) => usize::try_from(value).ok().map(Counts::One),
            Value::Array(array) => {
                let counts = array.integers()?.map(|count| usize::try_from(count).ok());
                counts.collect::<Option<_>>().map(Counts::Each)
            }
            _ => None,
        })
    }

    /// A finite number.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn number(&self, key: &str) -> Result<Option<f64>, KeyError> {
        self.read(key, "a number", |value| match value {
            Value::Float(value) => Some(value).filter(|value| value.is_finite()),
            Value::Integer(value) => i32::try_from(value).ok().map(f64::from),
            _ => None,
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn flag(&self, key: &str) -> Result<Option<bool>, KeyError> {
        self.read(key, "true or false", |value| match value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A string.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn string(&self, key: &str) -> Result<Option<&str>, KeyError> {
        self.read(key, "a string", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    /// An array.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn array(&self, key: &str) -> Result<Option<Array<'_>>, KeyError> {
        self.read(key, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    /// A token id that the vocabulary has.
    ///
    /// # Errors
    /// As [`count`](Self::count), and if it is not below `vocab_size`.
    pub fn token(&self, key: &str, vocab_size: usize) -> Result<Option<u32>, KeyError> {
        let need = format!("a token id below the vocabulary's size {vocab_size}");
        self.read(key, &need, |value| match value {
            Value::Integer(id) if usize::try_from(id).ok()? < vocab_size => u32::try_from(id).ok(),
            _ => None,
        })
    }
}

/// The value of a key of counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counts {
    /// One number.
    One(usize),
    /// An array of them.
    Each(Vec<usize>),
}
