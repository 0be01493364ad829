//! Parser of a header's bytes. It never allocates memory for a count that the bytes claim.

use std::ops::Range;

use super::metadata::{Entry, NotUtf8, Stored, ValueType};
use crate::formats::{FormatError, KeyError, quoted};

/// Longest key that the format allows.
const MAX_KEY_BYTES: u64 = 65_535;

/// Reason for which parsing stopped.
pub(super) enum Fail {
    /// More bytes are needed.
    Short {
        /// Number of bytes needed, from the beginning of the file.
        end: u64,
    },
    /// The bytes are invalid; the parser knows the place.
    Wrong(String),
    /// An error that names its place.
    Error(FormatError),
}

/// The part being read, for errors.
pub(super) enum At {
    File,
    Key(String),
    Tensor(String),
}

/// A position in the first bytes of a file.
pub(super) struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The part being read.
    pub(super) what: At,
}

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, what: At::File }
    }

    /// The position, in bytes from the beginning of the file.
    pub(super) fn position(&self) -> u64 {
        u64::try_from(self.at).unwrap_or(u64::MAX)
    }

    /// Makes an error about the part being read.
    pub(super) fn error(&self, file: &str, problem: String) -> FormatError {
        let file = file.to_owned();
        match &self.what {
            At::File => FormatError::File { file, problem },
            At::Key(key) => KeyError { file, key: key.clone(), problem }.into(),
            At::Tensor(tensor) => FormatError::Tensor { file, tensor: tensor.clone(), problem },
        }
    }

    /// All bytes, for ranges returned before.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes the next `n` bytes.
    pub(super) fn take(&mut self, n: u64) -> Result<&'a [u8], Fail> {
        let end = self.position().saturating_add(n);
        let range = usize::try_from(end).ok().and_then(|end| self.bytes.get(self.at..end));
        let bytes = range.ok_or(Fail::Short { end })?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fail> {
        let bytes = self.take(u64::try_from(N).unwrap_or(u64::MAX))?;
        <[u8; N]>::try_from(bytes).map_err(|_| Fail::Wrong("is incomplete".to_owned()))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fail> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fail> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Takes a string. Returns its range, or the first byte that is not UTF-8.
    fn text(&mut self) -> Result<Result<Range<usize>, NotUtf8>, Fail> {
        let len = self.u64()?;
        let start = self.at;
        let bytes = self.take(len)?;
        Ok(match std::str::from_utf8(bytes) {
            Ok(_) => Ok(start..self.at),
            Err(error) => Err(NotUtf8 { at: error.valid_up_to(), len: bytes.len() }),
        })
    }

    /// Takes a name of at most `most` bytes. Returns its range and the name.
    pub(super) fn name(&mut self, what: &str, most: u64) -> Result<(Range<usize>, &'a str), Fail> {
        let start = self.at;
        let len = self.u64()?;
        if !(1..=most).contains(&len) {
            return Err(Fail::Wrong(format!(
                "has a {what} of {len} bytes at byte {start}, need 1 to {most}"
            )));
        }
        self.at = start;
        let range = self.text()?.map_err(|wrong| Fail::Wrong(format!("holds {wrong}")))?;
        let name = self.bytes.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok());
        Ok((range, name.unwrap_or_default()))
    }

    /// Takes a key and its value.
    pub(super) fn entry(&mut self) -> Result<Entry, Fail> {
        self.what = At::File;
        let (key, name) = self.name("key", MAX_KEY_BYTES)?;
        // A long key, or one with control characters, is quoted.
        let plain = name.len() <= 80 && name.chars().all(|c| c.is_ascii_graphic());
        self.what = At::Key(if plain { name.to_owned() } else { quoted(name) });
        let value_type = self.value_type()?;
        let value = match value_type {
            ValueType::Array => self.array_value()?,
            ValueType::Text => match self.text()? {
                Ok(range) => Stored::Text(range),
                Err(wrong) => Stored::NotUtf8(wrong),
            },
            other => self.scalar(other)?,
        };
        self.what = At::File;
        Ok(Entry { key, value })
    }

    fn value_type(&mut self) -> Result<ValueType, Fail> {
        let number = self.u32()?;
        ValueType::from_number(number).ok_or_else(|| {
            Fail::Wrong(format!("has the unknown value type {number} (0 to 12 are known)"))
        })
    }

    fn scalar(&mut self, value_type: ValueType) -> Result<Stored, Fail> {
        Ok(match value_type {
            ValueType::U8 => Stored::Integer(u8::from_le_bytes(self.array()?).into()),
            ValueType::I8 => Stored::Integer(i8::from_le_bytes(self.array()?).into()),
            ValueType::U16 => Stored::Integer(u16::from_le_bytes(self.array()?).into()),
            ValueType::I16 => Stored::Integer(i16::from_le_bytes(self.array()?).into()),
            ValueType::U32 => Stored::Integer(u32::from_le_bytes(self.array()?).into()),
            ValueType::I32 => Stored::Integer(i32::from_le_bytes(self.array()?).into()),
            ValueType::U64 => Stored::Integer(u64::from_le_bytes(self.array()?).into()),
            ValueType::I64 => Stored::Integer(i64::from_le_bytes(self.array()?).into()),
            ValueType::F32 => Stored::Float(f32::from_le_bytes(self.array()?).into()),
            ValueType::F64 => Stored::Float(f64::from_le_bytes(self.array()?)),
            ValueType::Bool => match self.array()? {
                [0] => Stored::Bool(false),
                [1] => Stored::Bool(true),
                [other] => {
                    return Err(Fail::Wrong(format!("is a bool of {other}, need 0 or 1")));
                }
            },
            ValueType::Text | ValueType::Array => {
                return Err(Fail::Wrong("is not a scalar".to_owned()));
            }
        })
    }

    /// Takes an array. Its elements are checked and stay in the file's bytes.
    fn array_value(&mut self) -> Result<Stored, Fail> {
        let element = self.value_type()?;
        if element == ValueType::Array {
            return Err(Fail::Wrong(
                "is an array of arrays, which is not supported (no model has one)".to_owned(),
            ));
        }
        let count = self.u64()?;
        let least = count.saturating_mul(element.bytes());
        let end = self.position().saturating_add(least);
        if end > u64::try_from(self.bytes.len()).unwrap_or(u64::MAX) {
            return Err(Fail::Short { end });
        }
        let start = self.at;
        match element {
            ValueType::Text => {
                let mut wrong = None;
                for _ in 0..count {
                    wrong = wrong.or(self.text()?.err());
                }
                if let Some(wrong) = wrong {
                    return Ok(Stored::NotUtf8(wrong));
                }
            }
            ValueType::Bool => {
                let bytes = self.take(count)?;
                if let Some(other) = bytes.iter().find(|byte| **byte > 1) {
                    return Err(Fail::Wrong(format!("holds a bool of {other}, need 0 or 1")));
                }
            }
            _ => {
                self.take(least)?;
            }
        }
        // It fits: all elements are in memory, and each has at least one byte.
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Stored::Array { element, count, bytes: start..self.at })
    }
}
