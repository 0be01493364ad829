//! Reads strings of Python and JSON, and finds the end of strings whose inner quotes are not escaped.

use super::literal_reader::{Place, Reader, begins_item, name_of, skip};

impl Reader<'_> {
    /// Whether a string begins here, with or without a prefix.
    pub(super) fn string_begins(&self) -> bool {
        let rest = self.rest().as_bytes();
        let quote = |at: usize| matches!(rest.get(at), Some(b'"' | b'\''));
        let prefix =
            |at: usize| rest.get(at).is_some_and(|b| b"rRbBuUfF".contains(b)) && !self.json;
        quote(0) || (prefix(0) && (quote(1) || (prefix(1) && quote(2))))
    }

    /// Reads a string and the adjacent strings, which Python joins.
    pub(super) fn strings(&mut self, place: Place) -> Option<String> {
        let mut all = self.string(place)?;
        loop {
            let after = self.at;
            self.space();
            if self.json || self.repair || !self.string_begins() {
                self.at = after;
                return Some(all);
            }
            all.push_str(&self.string(place)?);
        }
    }

    fn string(&mut self, place: Place) -> Option<String> {
        let prefix = self.rest().find(['"', '\''])?;
        let kind = self.rest().get(..prefix)?.to_ascii_lowercase();
        let (raw, bytes, format) = (kind.contains('r'), kind.contains('b'), kind.contains('f'));
        self.at += prefix;
        let quote = char::from(self.peek()?);
        let triple = match quote {
            '"' => "\"\"\"",
            _ => "'''",
        };
        let triple = (!self.json && self.take(triple)).then_some(triple);
        self.at += usize::from(triple.is_none());
        let (mut text, mut open) = (String::new(), [0; 3]);
        loop {
            let rest = self.rest();
            let special = |c: char| c == quote || c == '\\' || (format && matches!(c, '{' | '}'));
            let run = rest.find(special);
            self.burn(run.unwrap_or(rest.len()) + 1)?;
            self.unended |= run.is_none();
            let run = run?;
            text.push_str(rest.get(..run)?);
            tally(&mut open, rest.get(..run)?);
            self.at += run;
            match self.peek()? {
                b'\\' if raw => {
                    // The next character does not end the string, and both stay.
                    let both = self.rest().chars().take(2).map(char::len_utf8).sum();
                    text.push_str(self.rest().get(..both)?);
                    self.at += both;
                }
                b'\\' => self.escape(&mut text, bytes)?,
                brace @ (b'{' | b'}') => {
                    // A doubled brace is a brace. A single one begins a field: this is no literal.
                    if self.text.as_bytes().get(self.at + 1) != Some(&brace) {
                        return None;
                    }
                    text.push(char::from(brace));
                    self.at += 2;
                }
                _ => {
                    let ends = match triple {
                        Some(triple) => self.rest().starts_with(triple),
                        None => !self.repair || self.closes(place, open == [0; 3], self.at),
                    };
                    if ends {
                        self.at += triple.map_or(1, str::len);
                        return Some(text);
                    }
                    text.push(quote);
                    self.at += 1;
                }
            }
        }
    }

    /// Reads an escape. Unknown escapes stay as written, as in Python.
    fn escape(&mut self, text: &mut String, bytes: bool) -> Option<()> {
        let escaped = self.rest().chars().nth(1)?;
        let length = 1 + escaped.len_utf8();
        let simple = match escaped {
            '\n' => None,
            '\\' | '"' | '\'' => Some(escaped),
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            '/' if self.json => Some('/'),
            'a' if !self.json => Some('\u{7}'),
            'v' if !self.json => Some('\u{b}'),
            '0'..='7' if !self.json => return self.octal(text),
            'x' if !self.json => return self.hex(text, 2),
            'u' if !bytes => return self.hex(text, 4),
            'U' if !bytes && !self.json => return self.hex(text, 8),
            other => {
                text.push('\\');
                Some(other)
            }
        };
        text.extend(simple);
        self.at += length;
        Some(())
    }

    fn octal(&mut self, text: &mut String) -> Option<()> {
        let digits = self.rest().get(1..)?;
        let length = digits.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        text.extend(u32::from_str_radix(digits.get(..length)?, 8).ok().and_then(char::from_u32));
        self.at += 1 + length;
        Some(())
    }

    /// Reads `\x41`, `\u00e9` or `\U0001f600`. A surrogate pair becomes one character, a lone
    /// surrogate U+FFFD.
    fn hex(&mut self, text: &mut String, digits: usize) -> Option<()> {
        let code = |at: usize| {
            let digits = self.text.get(at + 2..at + 2 + digits)?;
            let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(digits, 16).ok().filter(|_| all)
        };
        let length = 2 + digits;
        let Some(first) = code(self.at) else {
            // Digits are missing: the escape stays as written.
            text.push('\\');
            self.at += 1;
            return Some(());
        };
        let next = self.at + length;
        let second = if self.text.get(next..).is_some_and(|rest| rest.starts_with("\\u")) {
            code(next).filter(|low| digits == 4 && (0xdc00..=0xdfff).contains(low))
        } else {
            None
        };
        let (code, taken) = match (first, second) {
            (0xd800..=0xdbff, Some(low)) => {
                (0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00), 2 * length)
            }
            _ => (first, length),
        };
        text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        self.at += taken;
        Some(())
    }

    /// Whether an even number of quotes like the one at `at` follows.
    fn pairs_behind(&self, at: usize) -> bool {
        let [single, double] = self.quotes.get_or_init(|| quotes(self.text));
        let all = if self.text.as_bytes().get(at) == Some(&b'"') { double } else { single };
        (all.len() - all.partition_point(|quote| *quote <= at)).is_multiple_of(2)
    }

    /// Whether the quote at `quote` may close a string at `place`. `balanced`: the string closes all
    /// brackets that it opens.
    fn closes(&self, place: Place, balanced: bool, quote: usize) -> bool {
        let next = self.after(quote + 1);
        match place {
            Place::Whole => next.is_empty(),
            Place::Argument => {
                comma(next, |rest| begins_argument(rest) || rest.starts_with(')'))
                    || next.strip_prefix(')').is_some_and(|rest| {
                        let rest = skip(rest);
                        rest.is_empty()
                            || rest.starts_with([']', ';'])
                            // The following text may be a call, or code within the string.
                            || ((comma(rest, begins_item) || begins_item(rest))
                                && balanced
                                && self.pairs_behind(quote))
                    })
            }
            Place::Item(end) => {
                comma(next, |rest| begins_value(rest) || rest.starts_with(end)) || closed(next, end)
            }
            Place::Key => next.starts_with(':') || comma(next, begins_value) || closed(next, '}'),
            Place::Field => {
                comma(next, |rest| begins_value(rest) || rest.starts_with('}')) || closed(next, '}')
            }
        }
    }
}

/// Positions of single and double quotes, without escaped quotes and apostrophes in words.
fn quotes(text: &str) -> [Vec<usize>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    let (mut before, mut escaped) = (' ', false);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let in_word = before.is_alphanumeric()
            && chars.peek().is_some_and(|(_, next)| next.is_alphanumeric());
        let [single, double] = &mut all;
        match c {
            '\'' if !escaped && !in_word => single.push(at),
            '"' if !escaped => double.push(at),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        before = c;
    }
    all
}

/// Adds up the brackets of each kind that a text leaves open.
fn tally(open: &mut [i64; 3], text: &str) {
    for byte in text.bytes() {
        match byte {
            b'(' => open[0] += 1,
            b')' => open[0] -= 1,
            b'[' => open[1] += 1,
            b']' => open[1] -= 1,
            b'{' => open[2] += 1,
            b'}' => open[2] -= 1,
            _ => {}
        }
    }
}

fn comma(text: &str, then: impl Fn(&str) -> bool) -> bool {
    text.strip_prefix(',').is_some_and(|rest| then(skip(rest)))
}

fn closed(text: &str, end: char) -> bool {
    text.strip_prefix(end).is_some_and(|rest| {
        let rest = skip(rest);
        rest.is_empty() || rest.starts_with([',', ')', ']', '}', ':', ';'])
    })
}

fn begins_value(text: &str) -> bool {
    text.starts_with(['"', '\'', '-', '+', '.', '[', '{', '('])
        || text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn begins_argument(text: &str) -> bool {
    let name = name_of(text);
    let rest = skip(text.get(name.len()..).unwrap_or_default());
    text.starts_with("**") || (!name.is_empty() && rest.starts_with('=') && !rest.starts_with("=="))
}
