//! Splits template text into tokens, as jinja2's lexer with `trim_blocks` and `lstrip_blocks` does.

use super::error::{Error, Res, error};
use super::unicode::is_space;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Data(Arc<str>),
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name(Arc<str>),
    Str(Arc<str>),
    Int(i128),
    Float(f64),
    /// An operator or bracket.
    Op(&'static str),
    End,
}

const OPERATORS: [&str; 25] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",",
];

/// The tokens of `source` with their lines.
pub(super) fn tokenize(source: &str) -> Res<Vec<(Token, u32)>> {
    // All kinds of line ends count as newlines, and the last one is not part of the text.
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer =
        Lexer { rest: &source, line: 1, at_line_start: true, tokens: Vec::new(), in_tag: false };
    lexer.run().map_err(|e| e.at(lexer.line))?;
    lexer.push(Token::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    rest: &'s str,
    line: u32,
    at_line_start: bool,
    tokens: Vec<(Token, u32)>,
    in_tag: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Raw,
    Block,
    Comment,
    Print,
}

fn starts(text: &str) -> bool {
    ["{%", "{#", "{{"].iter().any(|s| text.starts_with(s))
}

impl<'s> Lexer<'s> {
    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    /// Consumes and returns the next `bytes` of the text.
    fn take(&mut self, bytes: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        let lines = taken.bytes().filter(|b| *b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        if !taken.is_empty() {
            self.at_line_start = taken.ends_with('\n');
        }
        taken
    }

    fn run(&mut self) -> Res<()> {
        while !self.rest.is_empty() {
            let begin = self.rest.match_indices('{').map(|(i, _)| i);
            let begin = begin.into_iter().find(|i| self.rest.get(*i..).is_some_and(starts));
            let Some(begin) = begin else {
                let data = self.take(self.rest.len());
                self.tokens.push((Token::Data(data.into()), self.line));
                return Ok(());
            };
            let (tag, length, sign) = self.tag_at(begin);
            self.data(begin, sign, tag == Tag::Print);
            self.take(length);
            match tag {
                Tag::Raw => self.raw()?,
                Tag::Comment => self.comment()?,
                Tag::Block => {
                    self.push(Token::BlockBegin);
                    self.tag("%}")?;
                }
                Tag::Print => {
                    self.push(Token::PrintBegin);
                    self.tag("}}")?;
                }
            }
        }
        Ok(())
    }

    /// The kind of the tag at `begin`, the length of its opening, and its sign.
    fn tag_at(&self, begin: usize) -> (Tag, usize, Option<char>) {
        let text = self.rest.get(begin..).unwrap_or_default();
        let sign = text.get(2..).and_then(|t| t.chars().next()).filter(|c| matches!(c, '-' | '+'));
        let length = 2 + usize::from(sign.is_some());
        let tag = match text.get(..2) {
            Some("{#") => Tag::Comment,
            Some("{{") => Tag::Print,
            _ => {
                let after = text.get(length..).unwrap_or_default();
                if let Some(raw) = raw_word(after, "raw") {
                    let end = after.get(raw..).unwrap_or_default();
                    if end.starts_with("%}") {
                        return (Tag::Raw, length + raw + 2, sign);
                    }
                    if let Some(rest) = end.strip_prefix("-%}") {
                        return (Tag::Raw, length + raw + 3 + spaces(rest), sign);
                    }
                }
                Tag::Block
            }
        };
        (tag, length, sign)
    }

    /// Takes the text before a tag, without the white space that the tag strips.
    fn data(&mut self, bytes: usize, sign: Option<char>, print: bool) {
        let at_line_start = self.at_line_start;
        let line = self.line;
        let text = self.take(bytes);
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space),
            Some(_) => text,
            None if print => text,
            None => {
                let last = text.rfind('\n').map_or(0, |i| i + 1);
                let blank = text.get(last..).is_some_and(|t| t.chars().all(is_space));
                if blank && (last > 0 || at_line_start) {
                    text.get(..last).unwrap_or(text)
                } else {
                    text
                }
            }
        };
        if !kept.is_empty() {
            self.tokens.push((Token::Data(kept.into()), line));
        }
    }

    fn comment(&mut self) -> Res<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let Some(end) = self.rest.find("#}") else {
            return Err(error!(Syntax, "a comment is not closed: #}} is missing"));
        };
        let signed = |sign| end > 0 && self.rest.get(end - 1..end) == Some(sign);
        let after = self.rest.get(end + 2..).unwrap_or_default();
        let more = match (signed("-"), signed("+")) {
            (true, _) => spaces(after),
            (_, true) => 0,
            _ => usize::from(after.starts_with('\n')),
        };
        self.take(end + 2 + more);
        Ok(())
    }

    fn raw(&mut self) -> Res<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let ends = self.rest.match_indices("{%").find_map(|(i, _)| {
            let text = self.rest.get(i + 2..)?;
            let sign = text.chars().next().filter(|c| matches!(c, '-' | '+'));
            let opening = usize::from(sign.is_some());
            let word = opening + raw_word(text.get(opening..)?, "endraw")?;
            let close = text.get(word..)?;
            let length = if let Some(rest) = close.strip_prefix("-%}") {
                3 + spaces(rest)
            } else if close.starts_with("+%}") {
                3
            } else {
                let rest = close.strip_prefix("%}")?;
                2 + usize::from(rest.starts_with('\n'))
            };
            Some((i, 2 + word + length, sign))
        });
        let Some((begin, length, sign)) = ends else {
            return Err(error!(Syntax, "a raw block is not closed: endraw is missing"));
        };
        self.data(begin, sign, false);
        self.take(length);
        Ok(())
    }

    /// Reads the tokens of a tag up to its `end`.
    fn tag(&mut self, end: &'static str) -> Res<()> {
        let mut open: Vec<char> = Vec::new();
        self.in_tag = true;
        let mut after_dot = false;
        while let Some(c) = self.rest.chars().next() {
            if open.is_empty() && self.tag_end(end) {
                return Ok(());
            }
            if is_space(c) {
                self.take(spaces(self.rest));
                after_dot = false;
                continue;
            }
            let dot = std::mem::replace(&mut after_dot, c == '.');
            if c.is_ascii_digit() {
                self.number(dot)?;
            } else if c == '_' || c.is_alphanumeric() || unicode_ident::is_xid_continue(c) {
                self.name()?;
            } else if c == '\'' || c == '"' {
                self.string(c)?;
            } else {
                self.operator(&mut open)?;
            }
        }
        Err(error!(Syntax, "unexpected end of the template within a tag, expected {end:?}"))
    }

    fn tag_end(&mut self, end: &'static str) -> bool {
        let block = end == "%}";
        let token = if block { Token::BlockEnd } else { Token::PrintEnd };
        let length =
            if let Some(rest) = self.rest.strip_prefix('-').and_then(|r| r.strip_prefix(end)) {
                3 + spaces(rest)
            } else if block && self.rest.starts_with("+%}") {
                3
            } else if let Some(rest) = self.rest.strip_prefix(end) {
                2 + usize::from(block && rest.starts_with('\n'))
            } else {
                return false;
            };
        self.push(token);
        self.take(length);
        true
    }

    fn name(&mut self) -> Res<()> {
        let rest = self.rest;
        let is_part =
            |c: char| c == '_' || c.is_alphanumeric() || unicode_ident::is_xid_continue(c);
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest.get(..length).unwrap_or_default();
        if !super::unicode::is_identifier(name) {
            return Err(error!(Syntax, "invalid character in the identifier {name:?}"));
        }
        self.push(Token::Name(name.into()));
        self.take(length);
        Ok(())
    }

    fn number(&mut self, after_dot: bool) -> Res<()> {
        let text = self.rest;
        if !after_dot && let Some(length) = float_length(text) {
            let digits = text.get(..length).unwrap_or_default().replace('_', "");
            let float = digits.parse().map_err(|_| error!(Syntax, "{digits:?} is not a number"))?;
            self.push(Token::Float(float));
            self.take(length);
            return Ok(());
        }
        let (length, radix, skip) = int_length(text);
        let digits = text.get(skip..length).unwrap_or_default().replace('_', "");
        let int = i128::from_str_radix(&digits, radix)
            .map_err(|_| error!(Limit, "an integer of more than 128 bits"))?;
        self.push(Token::Int(int));
        self.take(length);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Res<()> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find_map(|(i, c)| {
            if std::mem::take(&mut escaped) {
                return None;
            }
            escaped = c == '\\';
            (c == quote).then_some(i)
        });
        let Some(end) = end else {
            return Err(error!(Syntax, "a string is not closed: {quote} is missing"));
        };
        let text = unescape(self.rest.get(1..end).unwrap_or_default())?;
        self.push(Token::Str(text.into()));
        self.take(end + 1);
        Ok(())
    }

    fn operator(&mut self, open: &mut Vec<char>) -> Res<()> {
        let Some(op) = OPERATORS.into_iter().find(|op| self.rest.starts_with(op)) else {
            let c = self.rest.chars().next().unwrap_or_default();
            return Err(error!(Syntax, "unexpected character {c:?}"));
        };
        match op {
            "{" => open.push('}'),
            "(" => open.push(')'),
            "[" => open.push(']'),
            "}" | ")" | "]" => match open.pop() {
                Some(expected) if op.starts_with(expected) => {}
                Some(expected) => {
                    return Err(error!(Syntax, "unexpected {op:?}, expected {expected:?}"));
                }
                None => return Err(error!(Syntax, "unexpected {op:?}")),
            },
            _ => {}
        }
        self.push(Token::Op(op));
        self.take(op.len());
        Ok(())
    }
}

/// Number of bytes of leading white space.
fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_space).len()
}

/// The length of `word` with the white space around it.
fn raw_word(text: &str, word: &str) -> Option<usize> {
    let before = spaces(text);
    let rest = text.get(before..)?.strip_prefix(word)?;
    Some(before + word.len() + spaces(rest))
}

/// The length of `\d(_?\d)*` at the beginning.
fn digits(text: &str, radix: u32) -> usize {
    let mut length = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let digit = c.is_digit(radix)
            || (c == '_' && i > 0 && chars.peek().is_some_and(|(_, next)| next.is_digit(radix)));
        if !digit {
            break;
        }
        length = i + 1;
    }
    length
}

fn float_length(text: &str) -> Option<usize> {
    let at = |i: usize| text.get(i..).unwrap_or_default();
    let whole = digits(text, 10);
    let fraction = match at(whole).strip_prefix('.') {
        Some(rest) => digits(rest, 10),
        None => 0,
    };
    let mantissa = if fraction > 0 { whole + 1 + fraction } else { whole };
    if let Some(rest) = at(mantissa).strip_prefix(['e', 'E']) {
        let signed = usize::from(rest.starts_with(['+', '-']));
        let exponent = digits(rest.get(signed..).unwrap_or_default(), 10);
        if exponent > 0 {
            return Some(mantissa + 1 + signed + exponent);
        }
    }
    (fraction > 0).then_some(mantissa)
}

/// Length, radix, and length of the prefix.
fn int_length(text: &str) -> (usize, u32, usize) {
    for (prefix, radix) in [("0b", 2), ("0o", 8), ("0x", 16)] {
        if text.get(..2).is_some_and(|t| t.eq_ignore_ascii_case(prefix)) {
            let rest = text.get(2..).unwrap_or_default();
            let skip = usize::from(rest.starts_with('_'));
            let length = digits(rest.get(skip..).unwrap_or_default(), radix);
            if length > 0 {
                return (2 + skip + length, radix, 2);
            }
        }
    }
    if text.starts_with('0') {
        let zeros = text.find(|c| c != '0' && c != '_').unwrap_or(text.len());
        let length = text.get(..zeros).unwrap_or_default().trim_end_matches('_').len();
        return (length, 10, 0);
    }
    (digits(text, 10).max(1), 10, 0)
}

/// Python's `unicode-escape`.
fn unescape(text: &str) -> Res<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(escape) = chars.next() else {
            return Err(error!(Syntax, "a string ends in a backslash"));
        };
        let mut hex = |count: usize| -> Res<char> {
            let digits: String = chars.by_ref().take(count).collect();
            let complete = digits.len() == count && digits.chars().all(|c| c.is_ascii_hexdigit());
            let code = u32::from_str_radix(&digits, 16).ok().filter(|_| complete);
            let code =
                code.ok_or_else(|| error!(Syntax, "\\{escape} needs {count} hexadecimal digits"))?;
            char::from_u32(code).ok_or_else(|| lone(code))
        };
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(escape),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'x' => out.push(hex(2)?),
            'u' => out.push(hex(4)?),
            'U' => out.push(hex(8)?),
            '0'..='7' => {
                let mut code = escape.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = chars.clone().next().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    chars.next();
                    code = code * 8 + digit;
                }
                out.push(char::from_u32(code).unwrap_or_default());
            }
            'N' => {
                return Err(error!(
                    Limit,
                    "\\N{{...}} is not supported: write the character itself"
                ));
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Ok(out)
}

fn lone(code: u32) -> Error {
    error!(Limit, "\\u{code:04x} is not a character: write the character itself")
}
