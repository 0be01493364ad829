//! The marks in an answer: where reasoning and tool calls begin and end. They are known by their text,
//! whatever ids a vocabulary gives them and whether it calls them special.

/// Before a list of calls.
pub(super) const CALL_START: &str = "<|tool_call_start|>";
/// Behind a list of calls.
pub(super) const CALL_END: &str = "<|tool_call_end|>";

/// What stands around tool calls in LFM2's and LFM2.5's answers.
pub const TOOL_CALL_MARKERS: [&str; 2] = [CALL_START, CALL_END];

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    ThinkStart,
    ThinkEnd,
    CallStart,
    CallEnd,
    XmlStart,
    XmlEnd,
    /// The beginning of a call in XML whose start mark is missing.
    Function,
}

impl Mark {
    pub(super) const ALL: [Self; 7] = [
        Self::ThinkStart,
        Self::ThinkEnd,
        Self::CallStart,
        Self::CallEnd,
        Self::XmlStart,
        Self::XmlEnd,
        Self::Function,
    ];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::ThinkStart => "<think>",
            Self::ThinkEnd => "</think>",
            Self::CallStart => CALL_START,
            Self::CallEnd => CALL_END,
            Self::XmlStart => "<tool_call>",
            Self::XmlEnd => "</tool_call>",
            Self::Function => "<function=",
        }
    }

    /// The mark that a token is, by its text.
    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.text() == text)
    }

    pub(super) fn is_reasoning(self) -> bool {
        matches!(self, Self::ThinkStart | Self::ThinkEnd)
    }
}

/// What a text consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Mark(Mark),
}

/// Finds marks in text that comes in pieces; how it is cut makes no difference.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    marks: Vec<Mark>,
    /// What may be the beginning of a mark.
    held: String,
}

impl Scanner {
    pub(super) fn new(marks: Vec<Mark>) -> Self {
        Self { marks, held: String::new() }
    }

    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let held = std::mem::take(&mut self.held);
        let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
        let flush = |pieces: &mut Vec<Piece>, from: usize, to: usize| {
            if let Some(text) = held.get(from..to).filter(|text| !text.is_empty()) {
                pieces.push(Piece::Text(text.to_owned()));
            }
        };
        while let Some(next) = held.get(at..).and_then(|rest| rest.find('<')) {
            at += next;
            let rest = held.get(at..).unwrap_or_default();
            if let Some(mark) = self.marks.iter().find(|mark| rest.starts_with(mark.text())) {
                flush(&mut pieces, from, at);
                pieces.push(Piece::Mark(*mark));
                at += mark.text().len();
                from = at;
            } else if self.marks.iter().any(|mark| mark.text().starts_with(rest)) {
                self.held = rest.to_owned();
                flush(&mut pieces, from, at);
                return pieces;
            } else {
                at += 1;
            }
        }
        flush(&mut pieces, from, held.len());
        pieces
    }

    /// Ends the text: what was held is no mark.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
