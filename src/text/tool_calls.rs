//! Tool calls as models write them: a Python list of calls with keyword arguments, which is LFM2's own
//! form, JSON objects with `name` and `arguments`, or LFM3's XML.

use serde_json::{Value, json};

use super::literal::Literal;
use super::literal_reader::{Place, Reader, begins_item, name_of};
use super::tools::{Tool, Tools};
use super::xml_calls;

/// A tool that the model calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments: the text of a JSON object, in the model's order, numbers exact.
    pub arguments: String,
}

impl ToolCall {
    pub(super) fn new(name: &str, arguments: Vec<(String, Literal)>) -> Self {
        Self { name: name.to_owned(), arguments: Literal::object(arguments).to_json() }
    }

    /// The call as OpenAI's API spells it.
    #[must_use]
    pub fn to_json(&self, id: &str) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": id, "type": "function", "function": function })
    }
}

/// A part of what stands between the markers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Call(ToolCall),
    /// What is no call, as the model wrote it.
    Text(String),
}

/// Reads what stands between the markers. Where `tools` are given, a call of another is none.
/// `closed`: the model wrote the end marker, so that what is missing was left out and not cut off.
///
/// What can be read is read: one broken call leaves the others beside it whole.
pub(super) fn read_block(text: &str, tools: Option<&Tools>, closed: bool) -> Vec<Part> {
    let mut block = Block { reader: Reader::new(text), tools, closed, parts: Vec::new() };
    block.read();
    block.parts
}

struct Block<'a> {
    reader: Reader<'a>,
    tools: Option<&'a Tools>,
    closed: bool,
    parts: Vec<Part>,
}

/// A list that has begun.
struct List {
    /// Where its bracket is.
    start: usize,
    /// Parts before it.
    parts: usize,
}

impl Block<'_> {
    fn read(&mut self) {
        let mut list: Option<List> = None;
        loop {
            self.reader.at += self.reader.rest().len() - self.reader.rest().trim_start().len();
            let start = self.reader.at;
            match (self.reader.peek(), &list) {
                (None, _) => break,
                (Some(b'['), None) => {
                    list = Some(List { start, parts: self.parts.len() });
                    self.reader.at += 1;
                    continue;
                }
                (Some(b']'), Some(open)) => {
                    self.reader.at += 1;
                    self.end(open);
                    list = None;
                    continue;
                }
                // The bracket that began the list is missing.
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

    /// Ends a list. One without a call is text as a whole, unless it is empty.
    fn end(&mut self, list: &List) {
        let inside = self.parts.get(list.parts..).unwrap_or_default();
        if !inside.is_empty() && !inside.iter().any(|part| matches!(part, Part::Call(_))) {
            self.parts.truncate(list.parts);
            self.text(list.start, self.reader.at);
        } else if inside.is_empty() && !self.blank(list) {
            self.text(list.start, self.reader.at);
        }
    }

    /// Whether a list holds nothing and has its end.
    fn blank(&self, list: &List) -> bool {
        let text = self.reader.text.get(list.start..self.reader.at).unwrap_or_default();
        text.ends_with(']')
    }

    /// The call that comes next: as it is written, or as it may have been meant.
    fn item(&mut self, in_list: bool) -> Option<ToolCall> {
        let start = self.reader.at;
        self.reader.repair = false;
        let strict = self.attempt();
        let after = self.reader.at;
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

    /// Whether a call may end where the reader is.
    fn may_end(&self, in_list: bool) -> bool {
        let next = self.reader.after(self.reader.at);
        let apart = !in_list && !self.reader.rest().starts_with(['"', '\'', ')']);
        next.is_empty() || next.starts_with([',', ']', ';', '<']) || begins_item(next) || apart
    }

    /// Arguments up to the closing parenthesis.
    fn arguments(&mut self, tool: Option<&Tool>) -> Option<Vec<(String, Literal)>> {
        let mut arguments = Vec::new();
        let mut positional = 0;
        loop {
            self.reader.space();
            if self.reader.take(")") || self.cut_off() {
                return Some(arguments);
            }
            if self.reader.take("**") {
                let Literal::Map(fields) = self.reader.value(Place::Argument, 0)? else {
                    return None;
                };
                arguments.extend(fields);
            } else if let Some(key) = keyword(&mut self.reader) {
                arguments.push((key, self.reader.value(Place::Argument, 0)?));
            } else {
                // Only the tool's schema tells what a value without a name is.
                let key = tool?.parameter(positional)?.to_owned();
                positional += 1;
                arguments.push((key, self.reader.value(Place::Argument, 0)?));
            }
            self.reader.space();
            if !self.reader.take(",") && !self.reader.rest().starts_with(')') && !self.cut_off() {
                return None;
            }
        }
    }

    /// Whether the block ends here although a parenthesis is open, and the model meant it to.
    fn cut_off(&self) -> bool {
        let rest = self.reader.rest();
        let rest = rest.strip_prefix(']').unwrap_or(rest);
        self.closed && rest.len() < 64 && rest.trim().is_empty()
    }

    /// Behind a broken item: where the next begins, or the list ends.
    fn next_item(&self, start: usize) -> usize {
        let bytes = self.reader.text.as_bytes();
        let (mut opened, mut before) = (false, b' ');
        for (at, byte) in bytes.iter().copied().enumerate().skip(start) {
            let whole = !opened || matches!(before, b')' | b'}');
            match byte {
                b'(' | b'{' => opened = true,
                b',' if whole && at > start && begins_item(self.reader.after(at + 1)) => return at,
                b']' if whole && at > start && self.reader.after(at + 1).is_empty() => return at,
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                before = byte;
            }
        }
        bytes.len()
    }

    /// Behind text in front of the calls: where a list begins.
    fn next_list(&self, start: usize) -> usize {
        let rest = self.reader.text.get(start..).unwrap_or_default();
        let next = rest.char_indices().skip(1).find(|(_, c)| *c == '[');
        next.map_or(self.reader.text.len(), |(at, _)| start + at)
    }
}

/// The name of an argument, with its equals sign.
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

/// `{"name": ..., "arguments": {...}}`, also inside of `{"function": {...}}`.
fn call_of_json(item: Literal) -> Option<ToolCall> {
    let Literal::Map(fields) = item else { return None };
    let (mut name, mut arguments) = (None, Literal::Map(Vec::new()));
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("function", inner @ Literal::Map(_)) => return call_of_json(inner),
            ("name" | "function", Literal::String(text)) => name = Some(text),
            ("arguments" | "parameters", Literal::Null) => {}
            ("arguments" | "parameters", value) => arguments = value,
            ("id" | "type" | "index", _) => {}
            _ => return None,
        }
    }
    let arguments = match arguments {
        // As OpenAI's API has them.
        Literal::String(text) if text.trim().is_empty() => Literal::Map(Vec::new()),
        Literal::String(text) => Literal::object_of_json(&text)?,
        other => other,
    };
    let Literal::Map(arguments) = arguments else { return None };
    Some(ToolCall::new(&name?, arguments))
}

/// Whether a text without markers may be the beginning of calls of known tools.
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

/// Whether an object may be a call: by its first key.
fn may_be_json(text: &str) -> bool {
    let key = text.get(1..).unwrap_or_default().trim_start();
    let Some(key) = key.strip_prefix(['"', '\'']) else { return key.is_empty() };
    ["name", "arguments", "parameters", "function", "id", "type", "index"].iter().any(|known| {
        known.starts_with(key)
            || key.strip_prefix(known).is_some_and(|r| r.starts_with(['"', '\'']))
    })
}

/// Calls without markers: the whole text is a list of calls of known tools, or one in JSON.
pub(super) fn read_bare(text: &str, tools: &Tools) -> Option<Vec<ToolCall>> {
    let calls = read_block(text.trim(), Some(tools), false).into_iter().map(|part| match part {
        Part::Call(call) => Some(call),
        Part::Text(_) => None,
    });
    let calls = calls.collect::<Option<Vec<_>>>()?;
    (!calls.is_empty()).then_some(calls)
}
