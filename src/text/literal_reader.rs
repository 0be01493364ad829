//! Reads literals of Python and JSON, and repairs models' mistakes where the intent is clear.
//!
//! The reader is written by hand. Crates for Python's grammar refuse literals that models write
//! (leading zeros, raw newlines, unescaped quotes) and bring a whole language. The work is bounded:
//! a reader has fuel to look at each byte of its text 12 times.

use super::literal::Literal;
use super::literal_numbers::{decimal, in_base};
use crate::formats::json_bytes;
use serde::de::IgnoredAny;
use std::cell::OnceCell;

/// Maximum nesting of lists and objects.
const MAX_DEPTH: usize = 64;
/// Number of looks at each byte for which there is fuel, over all attempts.
const LOOKS: u64 = 12;
/// Number of characters examined after a quote to decide whether it closes its string.
const LOOKAHEAD: usize = 64;

/// The place of a value. It decides which quote may close a string with unescaped quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The value is the whole text.
    Whole,
    /// The argument of a call.
    Argument,
    /// An item of a list or tuple that ends with this bracket.
    Item(char),
    /// The key of an object, or an item of a set.
    Key,
    /// The value of an object's field.
    Field,
}

/// A position in a text. Its functions return `None` if the text there does not match.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    fuel: u64,
    /// Repair unescaped quotes: a quote closes its string only if a string may end there.
    pub(super) repair: bool,
    /// Accept missing or wrong closing brackets at the end of the text.
    pub(super) lenient: bool,
    /// Whether a string had no end or the fuel ran out: the value then reaches to the end of the text.
    pub(super) unended: bool,
    /// Positions of single and double quotes, filled in when first needed.
    pub(super) quotes: OnceCell<[Vec<usize>; 2]>,
    /// Read JSON: its escapes, no string prefixes, no comments.
    pub(super) json: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let fuel = bytes.saturating_mul(LOOKS).saturating_add(1000);
        Self {
            text,
            at: 0,
            fuel,
            repair: false,
            lenient: false,
            unended: false,
            quotes: OnceCell::new(),
            json: false,
        }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Consumes `token` if it comes next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        let comes = self.rest().starts_with(token);
        self.at += if comes { token.len() } else { 0 };
        comes
    }

    pub(super) fn burn(&mut self, looks: usize) -> Option<()> {
        let left = u64::try_from(looks).ok().and_then(|looks| self.fuel.checked_sub(looks));
        self.unended |= left.is_none();
        self.fuel = left?;
        Some(())
    }

    /// Skips white space; in Python also comments and line continuations.
    pub(super) fn space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            let skipped = match trimmed.as_bytes() {
                [b'#', ..] if !self.json => trimmed.find('\n').unwrap_or(trimmed.len()),
                [b'\\', b'\n', ..] if !self.json => 2,
                _ => 0,
            };
            let space = rest.len() - trimmed.len() + skipped;
            self.at += space;
            // Without fuel, the next read fails.
            if self.burn(space).is_none() || skipped == 0 {
                return;
            }
        }
    }

    /// Reads the name of a tool or an argument.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let name = name_of(rest);
        self.burn(name.len())?;
        self.at += name.len();
        (!name.is_empty()).then_some(name)
    }

    /// Reads a value.
    pub(super) fn value(&mut self, place: Place, depth: usize) -> Option<Literal> {
        self.burn(1)?;
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.peek()? {
            b'[' => {
                self.at += 1;
                Some(Literal::List(self.items(']', depth)?.0))
            }
            b'(' => {
                self.at += 1;
                let (mut items, trailing) = self.items(')', depth)?;
                match items.len() {
                    // Parentheses without a comma do not make a tuple.
                    1 if !trailing => items.pop(),
                    _ => Some(Literal::List(items)),
                }
            }
            b'{' => {
                self.at += 1;
                self.braces(depth)
            }
            b'0'..=b'9' | b'-' | b'+' | b'.' => self.number(),
            _ if self.string_begins() => self.strings(place).map(Literal::String),
            _ => self.word(),
        }
    }

    /// Reads items separated by commas, up to `end`. Also returns whether a comma follows the last.
    fn items(&mut self, end: char, depth: usize) -> Option<(Vec<Literal>, bool)> {
        let (mut items, mut trailing) = (Vec::new(), false);
        let mut buffer = [0; 4];
        let close: &str = end.encode_utf8(&mut buffer);
        loop {
            self.space();
            if self.take(close) || self.only_closes() {
                return Some((items, trailing));
            }
            if !items.is_empty() && !trailing {
                return None;
            }
            items.push(self.value(Place::Item(end), depth + 1)?);
            self.space();
            trailing = self.take(",");
        }
    }

    /// Reads an object after its `{`, or a set, which becomes a list.
    fn braces(&mut self, depth: usize) -> Option<Literal> {
        self.space();
        if self.take("}") {
            return Some(Literal::Map(Vec::new()));
        }
        let first = self.value(Place::Key, depth + 1)?;
        self.space();
        if !self.take(":") {
            let mut items = vec![first];
            let comma = self.take(",");
            if comma {
                items.extend(self.items('}', depth)?.0);
            }
            return (comma || self.take("}")).then_some(Literal::List(items));
        }
        let mut fields = vec![(key(first), self.value(Place::Field, depth + 1)?)];
        loop {
            self.space();
            let comma = self.take(",");
            self.space();
            if self.take("}") || self.only_closes() {
                return Some(Literal::object(fields));
            }
            if !comma {
                return None;
            }
            let name = key(self.value(Place::Key, depth + 1)?);
            self.space();
            if !self.take(":") {
                return None;
            }
            fields.push((name, self.value(Place::Field, depth + 1)?));
        }
    }

    /// Whether only closing brackets follow and the model ended the text itself.
    fn only_closes(&self) -> bool {
        let rest = self.rest();
        let closes = |c: char| matches!(c, ')' | ']' | '}') || c.is_whitespace();
        self.lenient && rest.len() < LOOKAHEAD && rest.chars().all(closes)
    }

    fn word(&mut self) -> Option<Literal> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.burn(end)?;
        let word = rest.get(..end)?;
        let value = match word {
            "True" | "true" => Literal::Bool(true),
            "False" | "false" => Literal::Bool(false),
            "None" | "null" => Literal::Null,
            // Python's notation of the empty set.
            "set" if rest.get(end..)?.starts_with("()") => {
                self.at += 2;
                Literal::List(Vec::new())
            }
            _ => return None,
        };
        self.at += end;
        Some(value)
    }

    fn number(&mut self) -> Option<Literal> {
        let negative = match self.peek()? {
            sign @ (b'-' | b'+') => {
                self.at += 1;
                self.space();
                sign == b'-'
            }
            _ => false,
        };
        let rest = self.rest();
        // An exponent may have a sign.
        let mut before = ' ';
        let end = rest.find(|c: char| {
            let goes_on = c.is_alphanumeric()
                || matches!(c, '_' | '.')
                || (matches!(c, '-' | '+') && matches!(before, 'e' | 'E'));
            before = c;
            !goes_on
        });
        let text = rest.get(..end.unwrap_or(rest.len()))?;
        self.burn(text.len())?;
        let lower = text.to_ascii_lowercase().replace('_', "");
        let number = match lower.get(..2) {
            Some("0x") => in_base(lower.get(2..)?, 16),
            Some("0o") => in_base(lower.get(2..)?, 8),
            Some("0b") => in_base(lower.get(2..)?, 2),
            _ => decimal(&lower),
        }?;
        self.at += text.len();
        let sign = if negative && number != "0" { "-" } else { "" };
        Some(Literal::Number(format!("{sign}{number}")))
    }

    /// The text from `at` on, without a bounded amount of leading white space.
    pub(super) fn after(&self, at: usize) -> &'a str {
        skip(self.text.get(at..).unwrap_or_default())
    }
}

impl Literal {
    /// Parses the JSON text of an object; `None` for any other text.
    pub(super) fn object_of_json(text: &str) -> Option<Self> {
        Self::of_json(text).filter(|value| matches!(value, Self::Map(_)))
    }

    /// Parses the JSON text of a list; `None` for any other text.
    pub(super) fn list_of_json(text: &str) -> Option<Self> {
        Self::of_json(text).filter(|value| matches!(value, Self::List(_)))
    }

    /// The value of a JSON text; `None` for any other text.
    pub(super) fn of_json(text: &str) -> Option<Self> {
        let bytes = json_bytes(text.as_bytes());
        serde_json::from_slice::<IgnoredAny>(&bytes).ok()?;
        let mut reader = Reader::new(std::str::from_utf8(&bytes).ok()?);
        reader.json = true;
        reader.value(Place::Whole, 0)
    }
}

pub(super) fn skip(text: &str) -> &str {
    let space = text.chars().take(LOOKAHEAD).take_while(|c| c.is_whitespace());
    text.get(space.map(char::len_utf8).sum()..).unwrap_or_default()
}

/// Whether a call begins at the start of `text`.
pub(super) fn begins_item(text: &str) -> bool {
    let name = name_of(text);
    text.starts_with('{')
        || (!name.is_empty() && skip(text.get(name.len()..).unwrap_or_default()).starts_with('('))
}

/// The name at the start of `text`.
pub(super) fn name_of(text: &str) -> &str {
    let is_name =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ':' | '/' | '$' | '@');
    // No tool has a longer name. Longer runs are cut.
    let end = text.char_indices().take(256).find(|(_, c)| !is_name(*c)).map(|(at, _)| at);
    let most = text.char_indices().nth(256).map_or(text.len(), |(at, _)| at);
    text.get(..end.unwrap_or(most)).unwrap_or_default()
}

/// Whether a call is read with this name, of a tool or an argument.
pub(crate) fn is_call_name(name: &str) -> bool {
    !name.is_empty() && name_of(name) == name
}

/// A key of a JSON object: other values than strings as `json.dumps` writes them, e.g. `true`.
fn key(value: Literal) -> String {
    match value {
        Literal::String(text) => text,
        other => other.to_json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        let mut reader = Reader::new(text);
        let value = reader.value(Place::Whole, 0)?;
        reader.space();
        reader.rest().is_empty().then(|| value.to_json())
    }

    /// Expected values: Python 3.11's `ast.literal_eval`, written by `json.dumps`.
    #[test]
    fn literals_are_read_as_python_reads_them() {
        for (text, json) in [
            (r#"'a' "b" r'\c'"#, r#""ab\\c""#),
            (r"'\d\q\/'", r#""\\d\\q\\/""#),
            (
                r"'\x41\101\0\7\u00e9\U0001F600\a\v\b\f'",
                "\"AA\\u0000\\u0007é😀\\u0007\\u000b\\b\\f\"",
            ),
            ("'a\\\nb'", r#""ab""#),
            (
                r#"'''it's "x"
'''"#,
                r#""it's \"x\"\n""#,
            ),
            (r#""""a"b""c""""#, r#""a\"b\"\"c""#),
            (r"rb'\n' u'x' Rb'y'", r#""\\nxy""#),
            (r"r'\'x'", r#""\\'x""#),
            (r"b'\u0041\x41'", r#""\\u0041A""#),
            ("f'{{a}}'", r#""{a}""#),
            ("F'hello'", r#""hello""#),
            ("''", r#""""#),
            (r"'\ud83d\ude00\ud83d'", "\"😀\u{fffd}\""),
            (r"'\x4\u12\N{DASH}'", r#""\\x4\\u12\\N{DASH}""#),
            ("'a\nb\0'", r#""a\nb\u0000""#),
            ("(800, 600)", "[800,600]"),
            ("(1)", "1"),
            ("(1,)", "[1]"),
            ("()", "[]"),
            ("('a'\n 'b')", r#""ab""#),
            ("{'a', 'b'}", r#"["a","b"]"#),
            ("{1, }", "[1]"),
            ("set()", "[]"),
            ("{}", "{}"),
            (
                "{1: 'a', True: 2, None: 3, 1.5: 4, (1, 2): 5,}",
                r#"{"1":"a","true":2,"null":3,"1.5":4,"[1,2]":5}"#,
            ),
            ("{'a': 1, 'b': 2, 'a': 3}", r#"{"a":3,"b":2}"#),
            ("[True, true, False, false, None, null,]", "[true,true,false,false,null,null]"),
            ("[1, # one\n 2]", "[1,2]"),
            ("0x1F", "31"),
            ("-0XFF_FF", "-65535"),
            ("0o17", "15"),
            ("0b1010", "10"),
            (
                "0xffffffffffffffffffffffffffffffffffffff",
                "5708990770823839524233143877797980545530986495",
            ),
            ("1_000_000", "1000000"),
            ("007", "7"),
            ("-0", "0"),
            ("- 7", "-7"),
            ("+7", "7"),
            (".5", "0.5"),
            ("1.", "1.0"),
            ("01.50e-05", "1.50e-05"),
            ("1E5", "1e5"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            assert_eq!(read(text).as_deref(), Some(json), "{text}");
        }
    }

    #[test]
    fn text_other_than_a_literal_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "x",
            "1j",
            "5abc",
            "1 + 2",
            "f'{x}'",
            "'a",
            "[1",
            "[1 2]",
            "{1: 2",
            "{'a': 1, 2}",
            "inf",
            "NaN",
            "...",
            "--5",
            "0x",
            "0b2",
            "1e",
            "e5",
            ".",
            "'a' + 'b'",
            "x'a'",
            "[,]",
            "{**a}",
            "print()",
            &deep,
        ] {
            assert_eq!(read(text), None, "{text:.40}");
        }
    }

    #[test]
    fn json_has_its_own_escapes() {
        let mut reader = Reader::new(r#""a\/b\u0041\d\x41 # no comment""#);
        reader.json = true;
        let value = reader.value(Place::Whole, 0).unwrap();
        assert_eq!(value, Literal::String(r"a/bA\d\x41 # no comment".to_owned()));
    }
}
