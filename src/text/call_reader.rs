//! Reads tool calls in the forms that models write: a Python list of calls with keyword arguments
//! (LFM2's form), JSON objects with `name` and `arguments`, or LFM3's XML.

use super::literal::Literal;
use super::literal_reader::{Place, Reader, begins_item, name_of};
use super::tool_call::ToolCall;
use super::tools::{Tool, Tools};
use super::xml_calls;

/// A part of the text between the markers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Call(ToolCall),
    /// Text that is not a call, as the model wrote it.
    Text(String),
}

/// Reads the text between the markers. If `tools` are given, calls of other tools are text.
/// `closed`: the model wrote the end marker, so missing brackets were left out and not cut off.
///
/// A broken call does not affect the calls beside it.
pub(super) fn read_block(text: &str, tools: Option<&Tools>, closed: bool) -> Vec<Part> {
    let mut block = Block::new(text, tools, closed);
    block.read();
    block.parts
}

struct Block<'a> {
    reader: Reader<'a>,
    tools: Option<&'a Tools>,
    closed: bool,
    /// Stop at the first text that is not a call.
    only_calls: bool,
    /// The last call was read, but is invalid in Python. Repairs would not help.
    refused: bool,
    parts: Vec<Part>,
}

/// A list of calls that has begun.
struct List {
    /// Position of its bracket.
    start: usize,
    /// Number of parts before it.
    parts: usize,
    /// Number of further brackets at its beginning.
    inner: usize,
}

impl<'a> Block<'a> {
    fn new(text: &'a str, tools: Option<&'a Tools>, closed: bool) -> Self {
        let mut reader = Reader::new(text.trim_start().trim_start_matches('\u{feff}'));
        reader.lenient = closed;
        Self { reader, tools, closed, only_calls: false, refused: false, parts: Vec::new() }
    }

    fn read(&mut self) {
        let mut list: Option<List> = None;
        loop {
            self.reader.at += self.reader.rest().len() - self.reader.rest().trim_start().len();
            if list.is_some() {
                // Skips comments too.
                self.reader.json = false;
                self.reader.space();
            }
            let start = self.reader.at;
            match (self.reader.peek(), &mut list) {
                (None, _) => break,
                (Some(b'['), Some(open)) if open.parts == self.parts.len() => {
                    let item = self.reader.after(start + 1);
                    if begins_item(item) {
                        open.inner += 1;
                        self.reader.at += 1;
                        continue;
                    }
                }
                (Some(b']'), Some(open)) if open.inner > 0 => {
                    open.inner -= 1;
                    self.reader.at += 1;
                    continue;
                }
                (Some(b'['), None) => {
                    list = Some(List { start, parts: self.parts.len(), inner: 0 });
                    self.reader.at += 1;
                    continue;
                }
                (Some(b']'), Some(open)) => {
                    self.reader.at += 1;
                    let open = &*open;
                    self.end(open);
                    list = None;
                    continue;
                }
                // The list's opening bracket is missing.
                (Some(b']'), None) if !self.parts.is_empty() => {
                    self.reader.at += 1;
                    continue;
                }
                (Some(b',' | b';'), open) if open.is_some() || !self.parts.is_empty() => {
                    self.reader.at += 1;
                    continue;
                }
                _ => {}
            }
            if let Some(call) = self.item(list.is_some()) {
                self.parts.push(Part::Call(call));
                continue;
            }
            if self.only_calls {
                self.text(start, self.reader.text.len());
                return;
            }
            let end = match list {
                Some(_) => self.next_item(start),
                None if self.parts.is_empty() => self.next_list(start),
                None => self.reader.text.len(),
            };
            self.text(start, end);
            self.reader.at = end;
        }
        if let Some(open) = &list {
            self.end(open);
        }
    }

    fn text(&mut self, start: usize, end: usize) {
        let text = self.reader.text.get(start..end).unwrap_or_default();
        self.parts.push(Part::Text(text.to_owned()));
    }

    /// Ends a list. A list without calls becomes text, unless it is empty.
    fn end(&mut self, list: &List) {
        let inside = self.parts.get(list.parts..).unwrap_or_default();
        if !inside.is_empty() && !inside.iter().any(|part| matches!(part, Part::Call(_))) {
            self.parts.truncate(list.parts);
            self.text(list.start, self.reader.at);
        } else if inside.is_empty() && !self.is_closed(list) {
            self.text(list.start, self.reader.at);
        }
    }

    /// Whether a list has its closing bracket.
    fn is_closed(&self, list: &List) -> bool {
        let text = self.reader.text.get(list.start..self.reader.at).unwrap_or_default();
        text.ends_with(']')
    }

    /// Reads the next call: as written, or else with repairs.
    fn item(&mut self, in_list: bool) -> Option<ToolCall> {
        let start = self.reader.at;
        self.reader.repair = false;
        self.refused = false;
        let strict = self.attempt();
        let after = self.reader.at;
        if self.refused && self.may_end(in_list) {
            return None;
        }
        if strict.is_some() && self.may_end(in_list) {
            return strict.filter(|call| self.knows(&call.name));
        }
        self.reader.at = start;
        self.reader.repair = true;
        let repaired = self.attempt();
        if repaired.is_some() && self.may_end(in_list) {
            return repaired.filter(|call| self.knows(&call.name));
        }
        self.reader.at = after;
        strict.filter(|call| self.knows(&call.name))
    }

    fn attempt(&mut self) -> Option<ToolCall> {
        let reader = &mut self.reader;
        reader.json = false;
        match reader.peek()? {
            b'<' => xml_calls::function(reader, self.tools),
            b'{' => {
                reader.json = true;
                let item = reader.value(Place::Item(']'), 0)?;
                call_of_json(item)
            }
            _ => {
                let name = reader.name()?;
                reader.space();
                if !reader.take("(") {
                    return None;
                }
                let tool = self.tools.and_then(|tools| tools.get(name));
                Some(ToolCall::new(name, self.arguments(tool)?))
            }
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.tools.is_none_or(|tools| tools.get(name).is_some())
    }

    /// Whether a call may end at the reader's position.
    fn may_end(&self, in_list: bool) -> bool {
        let next = self.reader.after(self.reader.at);
        let apart = !in_list && !self.reader.rest().starts_with(['"', '\'', ')']);
        next.is_empty() || next.starts_with([',', ']', ';', '<', '#']) || begins_item(next) || apart
    }

    /// Reads arguments up to the closing parenthesis.
    fn arguments(&mut self, tool: Option<&Tool>) -> Option<Vec<(String, Literal)>> {
        let mut arguments = Vec::new();
        let (mut positional, mut named, mut refused) = (0, false, false);
        loop {
            self.reader.space();
            if self.reader.take(")") || self.cut_off() {
                self.refused = refused;
                return (!refused).then_some(arguments);
            }
            if self.reader.take("**") {
                named = true;
                let Literal::Map(fields) = self.reader.value(Place::Argument, 0)? else {
                    return None;
                };
                arguments.extend(fields);
            } else if let Some(key) = keyword(&mut self.reader) {
                named = true;
                arguments.push((key, self.reader.value(Place::Argument, 0)?));
            } else {
                // The name of a positional argument comes from the tool's schema. Python allows none
                // after a keyword argument.
                let key = tool.and_then(|tool| tool.parameter(positional)).filter(|_| !named);
                positional += 1;
                let value = self.reader.value(Place::Argument, 0)?;
                refused |= key.is_none();
                arguments.extend(key.map(|key| (key.to_owned(), value)));
            }
            self.reader.space();
            if !self.reader.take(",") && !self.reader.rest().starts_with(')') && !self.cut_off() {
                return None;
            }
        }
    }

    /// Whether the block ends here without a closing parenthesis, but with its end marker.
    fn cut_off(&self) -> bool {
        let rest = self.reader.rest();
        let rest = rest.strip_prefix(']').unwrap_or(rest);
        self.closed && rest.len() < 64 && rest.trim().is_empty()
    }

    /// The position after a broken item: the beginning of the next item or the end of the list.
    /// Strings and brackets belong to the broken item; if one never closes, so does the rest.
    fn next_item(&self, start: usize) -> usize {
        let text = self.reader.text;
        let bytes = text.as_bytes();
        let mut open = Vec::new();
        let mut at = start;
        while let Some(byte) = bytes.get(at).copied() {
            match byte {
                b'"' | b'\'' => match end_of_string(text, at) {
                    // A quote directly before a word does not close a string.
                    Some(end) if !self.goes_on(end) => {
                        at = end;
                        continue;
                    }
                    _ => return bytes.len(),
                },
                b'(' => open.push(b')'),
                b'[' => open.push(b']'),
                b'{' => open.push(b'}'),
                b']' if open.is_empty() => {
                    let last = self.reader.after(at + 1).is_empty();
                    return if last && at > start { at } else { bytes.len() };
                }
                b')' | b']' | b'}' if open.pop() != Some(byte) => return bytes.len(),
                b',' if open.is_empty() && at > start && begins_item(self.reader.after(at + 1)) => {
                    return at;
                }
                _ => {}
            }
            at += 1;
        }
        bytes.len()
    }

    /// Whether a word begins right at `at`.
    fn goes_on(&self, at: usize) -> bool {
        self.reader.text.get(at..).is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
    }

    /// The position after leading text: the beginning of the list of calls. Lists within a call,
    /// brackets or quotes do not count.
    fn next_list(&self, start: usize) -> usize {
        let text = self.reader.text;
        let (mut depth, mut quoted) = (0usize, false);
        let item = begins_item(self.reader.after(start));
        for (at, byte) in text.bytes().enumerate().skip(start).filter(|_| !item) {
            match byte {
                b'"' => quoted = !quoted,
                b'(' | b'{' => depth += 1,
                b')' | b'}' => depth = depth.saturating_sub(1),
                b'[' if at > start && depth == 0 && !quoted => return at,
                _ => {}
            }
        }
        text.len()
    }
}

/// The position after the string that begins at `at`.
fn end_of_string(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let quote = rest.get(..1)?;
    let triple = rest.get(..3).filter(|three| *three == quote.repeat(3));
    let close = triple.unwrap_or(quote);
    let mut end = at + close.len();
    loop {
        let rest = text.get(end..)?;
        let next = rest.find(['\\', quote.chars().next()?])?;
        end += next;
        let rest = text.get(end..)?;
        if rest.starts_with(close) {
            return Some(end + close.len());
        }
        // An escape, or a single quote in a string that needs three.
        let escape = rest.starts_with('\\');
        end += rest.chars().take(1 + usize::from(escape)).map(char::len_utf8).sum::<usize>();
    }
}

/// Reads the name of an argument and its equals sign.
fn keyword(reader: &mut Reader<'_>) -> Option<String> {
    let start = reader.at;
    let name = reader.name().unwrap_or_default();
    reader.space();
    let is_one = !name.is_empty() && reader.take("=") && !reader.rest().starts_with('=');
    if !is_one {
        reader.at = start;
    }
    is_one.then(|| name.to_owned())
}

/// Reads `{"name": ..., "arguments": {...}}`, also within `{"function": {...}}`.
fn call_of_json(item: Literal) -> Option<ToolCall> {
    let Literal::Map(fields) = item else { return None };
    let (mut name, mut arguments) = (None, Literal::Map(Vec::new()));
    // An object with a name and arguments is a call, even with unknown fields.
    let (mut given, mut unknown) = (false, false);
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("function", inner @ Literal::Map(_)) => return call_of_json(inner),
            ("name" | "function", Literal::String(text)) => name = Some(text),
            ("arguments" | "parameters" | "args", Literal::Null) => {}
            ("arguments" | "parameters" | "args", value) => {
                given = true;
                arguments = value;
            }
            ("id" | "type" | "index", _) => {}
            _ => unknown = true,
        }
    }
    if unknown && !given {
        return None;
    }
    let arguments = match arguments {
        // OpenAI's API has arguments as JSON text.
        Literal::String(text) if text.trim().is_empty() => Literal::Map(Vec::new()),
        Literal::String(text) => Literal::object_of_json(&text)?,
        other => other,
    };
    let Literal::Map(arguments) = arguments else { return None };
    Some(ToolCall::new(&name?, arguments))
}

/// Whether text without markers may begin calls of known tools.
pub(super) fn may_be_calls(text: &str, tools: &Tools) -> bool {
    let Some(rest) = text.strip_prefix('[') else {
        return text.starts_with('{') && may_be_json(text);
    };
    let item = rest.trim_start();
    let name = name_of(item);
    let after = item.get(name.len()..).unwrap_or_default().trim_start();
    match item.as_bytes().first() {
        None => true,
        Some(b'{') => may_be_json(item),
        Some(_) if after.is_empty() => tools.names().any(|known| known.starts_with(name)),
        Some(_) => tools.get(name).is_some() && after.starts_with('('),
    }
}

/// Whether an object may be a call, judged by its first key.
fn may_be_json(text: &str) -> bool {
    let key = text.get(1..).unwrap_or_default().trim_start();
    let Some(key) = key.strip_prefix(['"', '\'']) else { return key.is_empty() };
    ["name", "arguments", "parameters", "args", "function", "id", "type", "index"].iter().any(
        |known| {
            known.starts_with(key)
                || key.strip_prefix(known).is_some_and(|r| r.starts_with(['"', '\'']))
        },
    )
}

/// Reads calls without markers: the whole text must be a list of calls of known tools, or one in JSON.
///
/// # Errors
/// Whether an unended string reaches to the end of the text.
pub(super) fn read_bare(text: &str, tools: &Tools) -> Result<Vec<ToolCall>, bool> {
    let mut block = Block::new(text.trim(), Some(tools), false);
    block.only_calls = true;
    block.read();
    let calls = block.parts.into_iter().map(|part| match part {
        Part::Call(call) => Some(call),
        Part::Text(_) => None,
    });
    let calls = calls.collect::<Option<Vec<_>>>().filter(|calls| !calls.is_empty());
    calls.ok_or(block.reader.unended)
}
