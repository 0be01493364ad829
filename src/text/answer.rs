//! What a model answered, read while it comes: reasoning, text and tool calls.

use serde_json::{Value, json};

use super::call_body::{CallBody, begins_next, ends};
use super::call_reader::{Part, may_be_calls, read_bare, read_block};
use super::markers::{Mark, Piece, Scanner};
use super::tokenizer::Tokenizer;
use super::tool_call::ToolCall;
use super::tools::Tools;
use std::sync::Arc;

/// Longest list of calls whose repetition is looked for, in bytes.
const MAX_ECHO: usize = 16 << 10;

/// An answer, or what a part of it has made certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What is said to the person.
    pub content: String,
    /// What the model thought before it.
    pub reasoning: String,
    /// Tools that it calls.
    pub tool_calls: Vec<ToolCall>,
}

impl Answer {
    /// Adds what comes next.
    pub fn append(&mut self, next: Self) {
        self.content.push_str(&next.content);
        self.reasoning.push_str(&next.reasoning);
        self.tool_calls.extend(next.tool_calls);
    }

    /// The answer as a message of OpenAI's API: `content` (null beside calls if nothing was said),
    /// `reasoning_content` and `tool_calls` where there are any. Calls are numbered: `call_1`, ...
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

/// Which tool calls are read out of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Calls {
    /// None: they stay in the text.
    #[default]
    InText,
    /// Whatever stands between their marks.
    Any,
    /// Those of these tools; also without marks, if the whole text from there on is calls.
    Of(Arc<Tools>),
}

/// How an answer is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerFormat {
    /// Whether the model thinks between `<think>` and `</think>`.
    pub thinks: bool,
    /// Whether the prompt has said `<think>` already.
    pub begins_in_reasoning: bool,
    /// Tool calls.
    pub calls: Calls,
}

impl AnswerFormat {
    fn tools(&self) -> Option<&Tools> {
        match &self.calls {
            Calls::Of(tools) => Some(tools),
            _ => None,
        }
    }

    /// Without a template: what the vocabulary tells.
    #[must_use]
    pub fn of_vocabulary(tokenizer: Option<&Tokenizer>, tools: Option<&[Value]>) -> Self {
        let has = |mark: Mark| tokenizer.is_some_and(|t| t.token_id(mark.text()).is_some());
        Self {
            thinks: has(Mark::ThinkStart) || has(Mark::ThinkEnd),
            begins_in_reasoning: false,
            calls: tools.map_or(Calls::InText, |tools| Calls::Of(Arc::new(Tools::new(tools)))),
        }
    }

    /// The same, but where no tools are known, calls of any are read.
    #[must_use]
    pub fn with_any_calls(mut self) -> Self {
        if self.calls == Calls::InText {
            self.calls = Calls::Any;
        }
        self
    }

    /// The marks that mean something.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        let (thinks, calls) = (self.thinks, self.calls != Calls::InText);
        let tools = self.tools().is_some();
        Mark::ALL.into_iter().filter(move |mark| match mark {
            Mark::Function => tools,
            mark if mark.is_reasoning() => thinks,
            _ => calls,
        })
    }
}

/// Where an answer is.
#[derive(Clone, Debug)]
enum State {
    Content,
    Reasoning,
    /// A call in reasoning that has not ended: part of it if its end comes, else the end of it.
    Unsure(Vec<Piece>),
    /// Behind the mark that began it.
    Call(Mark, CallBody),
}

/// Reads an answer as its text comes. How the text is cut makes no difference, and what has been given
/// is never taken back.
#[derive(Clone, Debug)]
pub struct AnswerReader {
    format: AnswerFormat,
    scanner: Scanner,
    state: State,
    /// What the present step has made certain.
    out: Answer,
    reasoning: Reasoning,
    content: Content,
    /// No more comes: reasoning that has not ended ends at its first call.
    ended: bool,
}

#[derive(Clone, Debug, Default)]
struct Reasoning {
    /// Whether any has been given.
    begun: bool,
    /// White space that is given if more comes.
    space: String,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// Whether any has been given.
    begun: bool,
    /// Whether the white space before the content is not part of it: there was something before.
    trims: bool,
    /// White space that is given if more comes.
    space: String,
    /// Whether calls followed that white space.
    called: bool,
    /// Whether only white space has come since the last line's end.
    at_line_start: bool,
    /// Text of which it is not known yet whether it is content.
    held: String,
    /// The list of calls before; a model may say it again.
    echo: Option<String>,
}

impl AnswerReader {
    /// A reader at an answer's beginning, which finds all marks by their text.
    #[must_use]
    pub fn new(format: AnswerFormat) -> Self {
        let marks = format.marks().collect();
        Self::with_marks(format, marks)
    }

    /// A reader that finds these marks by their text; it is told of others.
    pub(super) fn with_marks(format: AnswerFormat, marks: Vec<Mark>) -> Self {
        let begins = format.thinks && format.begins_in_reasoning;
        Self {
            state: if begins { State::Reasoning } else { State::Content },
            scanner: Scanner::new(marks),
            format,
            out: Answer::default(),
            reasoning: Reasoning::default(),
            content: Content { at_line_start: true, ..Content::default() },
            ended: false,
        }
    }

    /// Takes more text and gives what is now certain.
    pub fn push(&mut self, text: &str) -> Answer {
        for piece in self.scanner.push(text) {
            self.piece(piece);
        }
        std::mem::take(&mut self.out)
    }

    /// Takes a mark that is a token of its own.
    pub(super) fn push_mark(&mut self, mark: Mark) -> Answer {
        let text = self.scanner.finish();
        self.piece(Piece::Text(text));
        self.piece(Piece::Mark(mark));
        std::mem::take(&mut self.out)
    }

    /// Ends the answer and gives the rest.
    pub fn finish(&mut self) -> Answer {
        let text = self.scanner.finish();
        self.piece(Piece::Text(text));
        self.ended = true;
        loop {
            match std::mem::replace(&mut self.state, State::Content) {
                State::Call(mark, body) => self.end_call(mark, &body.text, None),
                State::Unsure(pieces) => pieces.into_iter().for_each(|piece| self.piece(piece)),
                State::Content | State::Reasoning => break,
            }
        }
        self.settle(true);
        let content = &mut self.content;
        if !content.called {
            let mut space = std::mem::take(&mut content.space);
            for end in [Mark::CallEnd, Mark::XmlEnd] {
                space = space.replace(end.text(), "");
            }
            self.out.content.push_str(&space);
        }
        std::mem::take(&mut self.out)
    }

    fn piece(&mut self, piece: Piece) {
        match (&mut self.state, piece) {
            (State::Unsure(pieces), Piece::Mark(Mark::ThinkEnd)) => {
                for piece in std::mem::take(pieces) {
                    match piece {
                        Piece::Text(text) => self.think(&text),
                        Piece::Mark(mark) => self.think(mark.text()),
                    }
                }
                self.end_reasoning();
            }
            (State::Unsure(pieces), piece) => pieces.push(piece),
            (State::Call(start, body), Piece::Mark(mark)) => {
                let start = *start;
                if ends(start, mark) && body.is_whole(start) {
                    let text = std::mem::take(&mut body.text);
                    self.end_call(start, &text, Some(mark));
                } else if begins_next(start, mark, body) {
                    let text = std::mem::take(&mut body.text);
                    self.end_call(start, &text, None);
                    self.state = State::Call(mark, CallBody::default());
                } else {
                    body.text.push_str(mark.text());
                }
            }
            (State::Call(_, body), Piece::Text(text)) => body.text.push_str(&text),
            (State::Reasoning, Piece::Text(text)) => self.think(&text),
            (State::Reasoning, Piece::Mark(mark)) => match mark {
                Mark::ThinkEnd => self.end_reasoning(),
                // The model repeats what the prompt has said.
                Mark::ThinkStart if !self.reasoning.begun => {}
                Mark::CallStart | Mark::XmlStart | Mark::Function if self.ended => {
                    self.state = State::Content;
                    self.mark_in_content(mark);
                }
                Mark::CallStart | Mark::XmlStart | Mark::Function => {
                    self.state = State::Unsure(vec![Piece::Mark(mark)]);
                }
                _ => self.think(mark.text()),
            },
            (State::Content, Piece::Text(text)) => {
                self.content.held.push_str(&text);
                self.settle(false);
            }
            (State::Content, Piece::Mark(mark)) => self.mark_in_content(mark),
        }
    }

    fn mark_in_content(&mut self, mark: Mark) {
        self.settle(true);
        match mark {
            // Only in front of the answer: behind its beginning it is a word like others.
            Mark::ThinkStart if !self.content.begun => {
                self.state = State::Reasoning;
                self.content.space.clear();
                if self.reasoning.begun {
                    self.reasoning.space = "\n".to_owned();
                }
            }
            // With thinking off, models end what was not begun.
            Mark::ThinkEnd if !self.content.begun => self.content.trims = true,
            Mark::CallStart | Mark::XmlStart => self.state = State::Call(mark, CallBody::default()),
            Mark::Function => {
                self.state = State::Call(mark, CallBody::of(mark.text()));
            }
            // The end of calls whose beginning is missing, or of their repetition.
            Mark::CallEnd | Mark::XmlEnd if self.content.called => {}
            // Given if more comes.
            Mark::CallEnd | Mark::XmlEnd => {
                self.content.begun = true;
                self.content.space.push_str(mark.text());
            }
            Mark::ThinkStart | Mark::ThinkEnd => self.say(mark.text()),
        }
    }

    /// Gives reasoning, but not the white space around it.
    fn think(&mut self, text: &str) {
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

    /// Ends the calls that `start` began: what is none of them is content.
    fn end_call(&mut self, start: Mark, body: &str, end: Option<Mark>) {
        self.state = State::Content;
        let parts = read_block(body, self.format.tools(), end.is_some());
        let any = parts.iter().any(|part| matches!(part, Part::Call(_)));
        if any {
            self.content.called = true;
            self.content.trims |= !self.content.begun;
        }
        if !any && (!parts.is_empty() || body.trim().is_empty()) {
            // Nothing could be read: it stays as the model wrote it.
            let start = if start == Mark::Function { "" } else { start.text() };
            let end = end.map_or("", Mark::text);
            self.say(&format!("{start}{body}{end}"));
            return;
        }
        for part in parts {
            match part {
                Part::Call(call) => self.out.tool_calls.push(call),
                Part::Text(text) => self.say(&text),
            }
        }
        let body = body.trim();
        let echoes = any && !body.is_empty() && body.len() <= MAX_ECHO;
        self.content.echo = echoes.then(|| body.to_owned());
    }

    /// Gives of the held text what is certain; all of it at an end.
    fn settle(&mut self, end: bool) {
        let held = std::mem::take(&mut self.content.held);
        let mut at = 0;
        loop {
            let rest = held.get(at..).unwrap_or_default();
            let text = rest.trim_start();
            let space = rest.get(..rest.len() - text.len()).unwrap_or_default();
            self.content.at_line_start |= space.contains('\n');
            self.say(space);
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
            // Calls without marks begin at the beginning of a line.
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
                        // All that follows is in a string: no line of it is a call.
                        self.content.at_line_start = false;
                        self.say(text);
                        return;
                    }
                    Some(Err(false)) | None => {}
                }
                line = text.find('\n').map_or(line, |newline| at + newline);
            }
            self.content.at_line_start = false;
            self.say(held.get(at..line).unwrap_or_default());
            at = line;
        }
    }

    /// Gives content, but not the white space before what follows calls or reasoning, nor that before
    /// calls if nothing comes behind them.
    fn say(&mut self, text: &str) {
        let content = &mut self.content;
        let text = if content.begun || !content.trims { text } else { text.trim_start() };
        // Where no calls are read nothing has to wait but white space in front of reasoning.
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

/// The calls in an answer whose marks are shown ([`SpecialTokens::ToolCalls`](super::SpecialTokens)),
/// in their order.
#[must_use]
pub fn tool_calls(answer: &str) -> Vec<ToolCall> {
    let mut reader = AnswerReader::new(AnswerFormat::default().with_any_calls());
    let mut calls = reader.push(answer).tool_calls;
    calls.extend(reader.finish().tool_calls);
    calls
}
