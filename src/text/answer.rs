//! Reads a model's answer as it streams: reasoning, content and tool calls.

use serde_json::{Value, json};

use super::call_body::{CallBody, begins_next, ends};
use super::call_reader::{Part, may_be_calls, read_bare, read_block};
use super::markers::{Marker, Piece, Scanner};
use super::tokenizer::Tokenizer;
use super::tool_call::ToolCall;
use super::tools::Tools;
use std::sync::Arc;

/// Maximum length of a list of calls whose repetition is removed, in bytes.
const MAX_ECHO: usize = 16 << 10;

/// An answer, or the part of it that has become certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The text for the user.
    pub content: String,
    /// The reasoning before it.
    pub reasoning: String,
    /// The tool calls.
    pub tool_calls: Vec<ToolCall>,
}

impl Answer {
    /// Appends the next part.
    pub fn append(&mut self, next: Self) {
        self.content.push_str(&next.content);
        self.reasoning.push_str(&next.reasoning);
        self.tool_calls.extend(next.tool_calls);
    }

    /// The answer as a message of OpenAI's API: `content` (null if there are only calls), and
    /// `reasoning_content` and `tool_calls` if there are any. Calls are numbered: `call_1`, ...
    #[must_use]
    pub fn to_message(&self) -> Value {
        let silent = self.content.is_empty() && !self.tool_calls.is_empty();
        let content = if silent { Value::Null } else { self.content.as_str().into() };
        let mut message = json!({ "role": "assistant", "content": content });
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.as_str().into();
        }
        if !self.tool_calls.is_empty() {
            let calls = (1..).zip(&self.tool_calls);
            message["tool_calls"] = calls.map(|(i, c)| c.to_json(&format!("call_{i}"))).collect();
        }
        message
    }
}

/// Selects the tool calls that are read from an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Calls {
    /// None. They stay in the text.
    #[default]
    InText,
    /// All calls between markers.
    Any,
    /// Calls of these tools. Calls without markers are read if they make up the rest of the text.
    Of(Arc<Tools>),
    /// Calls of these tools between markers. Other text is content, whatever it looks like.
    Marked(Arc<Tools>),
}

/// The format of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerFormat {
    /// Whether the model reasons between `<think>` and `</think>`.
    pub thinks: bool,
    /// Whether the prompt already ends with `<think>`.
    pub begins_in_reasoning: bool,
    /// The tool calls to read.
    pub calls: Calls,
}

impl AnswerFormat {
    fn tools(&self) -> Option<&Tools> {
        match &self.calls {
            Calls::Of(tools) | Calls::Marked(tools) => Some(tools),
            _ => None,
        }
    }

    /// The format recognised from the vocabulary, without a template.
    #[must_use]
    pub fn of_vocabulary(tokenizer: Option<&Tokenizer>, tools: Option<&[Value]>) -> Self {
        let has = |marker: Marker| tokenizer.is_some_and(|t| t.token_id(marker.text()).is_some());
        Self {
            thinks: has(Marker::ThinkStart) || has(Marker::ThinkEnd),
            begins_in_reasoning: false,
            calls: tools.map_or(Calls::InText, |tools| Calls::Of(Arc::new(Tools::new(tools)))),
        }
    }

    /// The same format, but calls of any tool are read if no tools are known.
    #[must_use]
    pub fn with_any_calls(mut self) -> Self {
        if self.calls == Calls::InText {
            self.calls = Calls::Any;
        }
        self
    }

    /// The same format, but calls of known tools are read between markers only. For answers whose grammar allows text
    /// before calls, so that calls without markers would be text.
    #[must_use]
    pub fn with_marked_calls(mut self) -> Self {
        if let Calls::Of(tools) = self.calls {
            self.calls = Calls::Marked(tools);
        }
        self
    }

    /// The markers that are interpreted.
    pub(super) fn markers(&self) -> impl Iterator<Item = Marker> {
        let (thinks, calls) = (self.thinks, self.calls != Calls::InText);
        let unmarked = matches!(self.calls, Calls::Of(_));
        Marker::ALL.into_iter().filter(move |marker| match marker {
            Marker::Function => unmarked,
            marker if marker.is_reasoning() => thinks,
            _ => calls,
        })
    }
}

/// The part of the answer that is being read.
#[derive(Clone, Debug)]
enum State {
    Content,
    Reasoning,
    /// A call within reasoning. If the end of the reasoning follows, the call is part of it; else the
    /// reasoning ended before the call.
    CallInReasoning(Vec<Piece>),
    /// Calls after their start marker.
    Call(Marker, CallBody),
}

/// Reads an answer as its text arrives. The division of the text into pieces does not affect the
/// result, and returned parts are final.
#[derive(Clone, Debug)]
pub struct AnswerReader {
    format: AnswerFormat,
    scanner: Scanner,
    state: State,
    /// The parts that the current step has made certain.
    out: Answer,
    reasoning: Reasoning,
    content: Content,
    /// Whether the text has ended. Reasoning without an end then ends at its first call.
    ended: bool,
}

#[derive(Clone, Debug, Default)]
struct Reasoning {
    /// Whether any has been returned.
    begun: bool,
    /// White space that is returned if more follows.
    space: String,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// Whether any has been returned.
    begun: bool,
    /// Whether leading white space is dropped, because reasoning or calls came before the content.
    trims: bool,
    /// White space that is returned if more follows.
    space: String,
    /// Whether calls followed that white space.
    called: bool,
    /// Whether only white space has come since the last line break.
    at_line_start: bool,
    /// Text that may still turn out to be calls.
    held: String,
    /// The previous list of calls, which a model may repeat as text.
    echo: Option<String>,
}

impl AnswerReader {
    /// A reader at the beginning of an answer, which finds all markers by their text.
    #[must_use]
    pub fn new(format: AnswerFormat) -> Self {
        let markers = format.markers().collect();
        Self::with_markers(format, markers)
    }

    /// A reader that finds these markers by their text. Others arrive through [`Self::push_marker`].
    pub(super) fn with_markers(format: AnswerFormat, markers: Vec<Marker>) -> Self {
        let begins = format.thinks && format.begins_in_reasoning;
        Self {
            state: if begins { State::Reasoning } else { State::Content },
            scanner: Scanner::new(markers),
            format,
            out: Answer::default(),
            reasoning: Reasoning::default(),
            content: Content { at_line_start: true, ..Content::default() },
            ended: false,
        }
    }

    /// Whether the text so far ends within reasoning.
    #[must_use]
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Reasoning | State::CallInReasoning(_))
    }

    /// Takes more text and returns the parts that are now certain.
    pub fn push(&mut self, text: &str) -> Answer {
        for piece in self.scanner.push(text) {
            self.piece(piece);
        }
        std::mem::take(&mut self.out)
    }

    /// Takes a marker that is a single token.
    pub(super) fn push_marker(&mut self, marker: Marker) -> Answer {
        let text = self.scanner.finish();
        self.piece(Piece::Text(text));
        self.piece(Piece::Marker(marker));
        std::mem::take(&mut self.out)
    }

    /// Ends the answer and returns the rest.
    pub fn finish(&mut self) -> Answer {
        let text = self.scanner.finish();
        self.piece(Piece::Text(text));
        self.ended = true;
        loop {
            match std::mem::replace(&mut self.state, State::Content) {
                State::Call(marker, body) => self.end_call(marker, &body.text, None),
                State::CallInReasoning(pieces) => {
                    pieces.into_iter().for_each(|piece| self.piece(piece))
                }
                State::Content | State::Reasoning => break,
            }
        }
        self.release(true);
        let content = &mut self.content;
        if !content.called {
            let mut space = std::mem::take(&mut content.space);
            for end in [Marker::CallEnd, Marker::XmlEnd] {
                space = space.replace(end.text(), "");
            }
            self.out.content.push_str(&space);
        }
        std::mem::take(&mut self.out)
    }

    fn piece(&mut self, piece: Piece) {
        match (&mut self.state, piece) {
            (State::CallInReasoning(pieces), Piece::Marker(Marker::ThinkEnd)) => {
                for piece in std::mem::take(pieces) {
                    match piece {
                        Piece::Text(text) => self.give_reasoning(&text),
                        Piece::Marker(marker) => self.give_reasoning(marker.text()),
                    }
                }
                self.end_reasoning();
            }
            (State::CallInReasoning(pieces), piece) => pieces.push(piece),
            (State::Call(start, body), Piece::Marker(marker)) => {
                let start = *start;
                if ends(start, marker) && body.is_whole(start) {
                    let text = std::mem::take(&mut body.text);
                    self.end_call(start, &text, Some(marker));
                } else if begins_next(start, marker, body) {
                    let text = std::mem::take(&mut body.text);
                    self.end_call(start, &text, None);
                    self.state = State::Call(marker, CallBody::default());
                } else {
                    body.text.push_str(marker.text());
                }
            }
            (State::Call(_, body), Piece::Text(text)) => body.text.push_str(&text),
            (State::Reasoning, Piece::Text(text)) => self.give_reasoning(&text),
            (State::Reasoning, Piece::Marker(marker)) => match marker {
                Marker::ThinkEnd => self.end_reasoning(),
                // The model repeats the prompt's `<think>`.
                Marker::ThinkStart if !self.reasoning.begun => {}
                Marker::CallStart | Marker::XmlStart | Marker::Function if self.ended => {
                    self.state = State::Content;
                    self.marker_in_content(marker);
                }
                Marker::CallStart | Marker::XmlStart | Marker::Function => {
                    self.state = State::CallInReasoning(vec![Piece::Marker(marker)]);
                }
                _ => self.give_reasoning(marker.text()),
            },
            (State::Content, Piece::Text(text)) => {
                self.content.held.push_str(&text);
                self.release(false);
            }
            (State::Content, Piece::Marker(marker)) => self.marker_in_content(marker),
        }
    }

    fn marker_in_content(&mut self, marker: Marker) {
        self.release(true);
        match marker {
            // Only before the content. Later it is ordinary text.
            Marker::ThinkStart if !self.content.begun => {
                self.state = State::Reasoning;
                self.content.space.clear();
                if self.reasoning.begun {
                    self.reasoning.space = "\n".to_owned();
                }
            }
            // With reasoning switched off, models may still write the end.
            Marker::ThinkEnd if !self.content.begun => self.content.trims = true,
            Marker::CallStart | Marker::XmlStart => {
                self.state = State::Call(marker, CallBody::default())
            }
            Marker::Function => {
                self.state = State::Call(marker, CallBody::of(marker.text()));
            }
            // The end of a repetition of the calls.
            Marker::CallEnd | Marker::XmlEnd if self.content.called => {}
            // An end without a start marker. It is returned if more text follows.
            Marker::CallEnd | Marker::XmlEnd => {
                self.content.begun = true;
                self.content.space.push_str(marker.text());
            }
            Marker::ThinkStart | Marker::ThinkEnd => self.give_content(marker.text()),
        }
    }

    /// Returns reasoning without the white space around it.
    fn give_reasoning(&mut self, text: &str) {
        let reasoning = &mut self.reasoning;
        let text = if reasoning.begun { text } else { text.trim_start() };
        let kept = text.trim_end();
        if !kept.is_empty() {
            self.out.reasoning.push_str(&std::mem::take(&mut reasoning.space));
            self.out.reasoning.push_str(kept);
            reasoning.begun = true;
        }
        if reasoning.begun {
            reasoning.space.push_str(text.get(kept.len()..).unwrap_or_default());
        }
    }

    fn end_reasoning(&mut self) {
        self.reasoning.space.clear();
        self.content.trims |= !self.content.begun;
        self.state = State::Content;
    }

    /// Ends the calls that `start` began. Text that is not a call is content.
    fn end_call(&mut self, start: Marker, body: &str, end: Option<Marker>) {
        self.state = State::Content;
        let parts = read_block(body, self.format.tools(), end.is_some());
        let any = parts.iter().any(|part| matches!(part, Part::Call(_)));
        if any {
            self.content.called = true;
            self.content.trims |= !self.content.begun;
        }
        if !any && (!parts.is_empty() || body.trim().is_empty()) {
            // No call could be read: the text stays as the model wrote it.
            let start = if start == Marker::Function { "" } else { start.text() };
            let end = end.map_or("", Marker::text);
            self.give_content(&format!("{start}{body}{end}"));
            return;
        }
        for part in parts {
            match part {
                Part::Call(call) => self.out.tool_calls.push(call),
                Part::Text(text) => self.give_content(&text),
            }
        }
        let body = body.trim();
        let echoes = any && !body.is_empty() && body.len() <= MAX_ECHO;
        self.content.echo = echoes.then(|| body.to_owned());
    }

    /// Returns the certain part of the held text, or all of it at an end.
    fn release(&mut self, end: bool) {
        let held = std::mem::take(&mut self.content.held);
        let mut at = 0;
        loop {
            let rest = held.get(at..).unwrap_or_default();
            let text = rest.trim_start();
            let space = rest.get(..rest.len() - text.len()).unwrap_or_default();
            self.content.at_line_start |= space.contains('\n');
            self.give_content(space);
            if text.is_empty() {
                return;
            }
            at = held.len() - text.len();
            if let Some(echo) = &self.content.echo {
                if let Some(rest) = text.strip_prefix(echo.as_str()) {
                    at = held.len() - rest.len();
                    continue;
                }
                if !end && echo.starts_with(text) {
                    self.content.held = text.to_owned();
                    return;
                }
                self.content.echo = None;
            }
            // Calls without markers begin at the beginning of a line.
            let mut line = held.len();
            if let Calls::Of(tools) = &self.format.calls {
                let may_be = self.content.at_line_start && may_be_calls(text, tools);
                if may_be && !end {
                    self.content.held = if at == 0 { held } else { text.to_owned() };
                    return;
                }
                match may_be.then(|| read_bare(text, tools)) {
                    Some(Ok(calls)) => {
                        self.content.called = true;
                        self.out.tool_calls.extend(calls);
                        return;
                    }
                    Some(Err(true)) => {
                        // The rest is within a string, so no line of it is a call.
                        self.content.at_line_start = false;
                        self.give_content(text);
                        return;
                    }
                    Some(Err(false)) | None => {}
                }
                line = text.find('\n').map_or(line, |newline| at + newline);
            }
            self.content.at_line_start = false;
            self.give_content(held.get(at..line).unwrap_or_default());
            at = line;
        }
    }

    /// Returns content. White space is dropped after leading calls or reasoning, and before calls
    /// that nothing follows.
    fn give_content(&mut self, text: &str) {
        let content = &mut self.content;
        let text = if content.begun || !content.trims { text } else { text.trim_start() };
        // If no calls are read, only white space before reasoning has to wait.
        let leads = self.format.thinks && !content.begun && text.trim().is_empty();
        let kept = match self.format.calls {
            Calls::InText if !leads => text,
            _ => text.trim_end(),
        };
        if !kept.is_empty() {
            self.out.content.push_str(&std::mem::take(&mut content.space));
            self.out.content.push_str(kept);
            (content.begun, content.called) = (true, false);
        }
        content.space.push_str(text.get(kept.len()..).unwrap_or_default());
    }
}

/// Reads the calls from the text of an answer, in their order. The text must show the markers
/// ([`SpecialTokens::ToolCalls`](super::SpecialTokens)).
#[must_use]
pub fn tool_calls(answer: &str) -> Vec<ToolCall> {
    let mut reader = AnswerReader::new(AnswerFormat::default().with_any_calls());
    let mut calls = reader.push(answer).tool_calls;
    calls.extend(reader.finish().tool_calls);
    calls
}
