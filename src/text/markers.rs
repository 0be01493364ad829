//! The markers at which reasoning and tool calls begin and end. They are recognised by their text,
//! whatever their ids are and whether or not the vocabulary lists them as special.

/// Begins a list of calls.
pub(super) const CALL_START: &str = "<|tool_call_start|>";
/// Ends a list of calls.
pub(super) const CALL_END: &str = "<|tool_call_end|>";

/// The markers around tool calls in LFM2's and LFM2.5's answers.
pub const TOOL_CALL_MARKERS: [&str; 2] = [CALL_START, CALL_END];

/// The markers around tool calls in XML.
pub(crate) const XML_CALL_MARKERS: [&str; 2] = ["<tool_call>", "</tool_call>"];

/// The markers around reasoning.
pub(crate) const THINK_MARKERS: [&str; 2] = ["<think>", "</think>"];

/// A marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    ThinkStart,
    ThinkEnd,
    CallStart,
    CallEnd,
    XmlStart,
    XmlEnd,
    /// The beginning of a call in XML whose start marker is missing.
    Function,
}

impl Marker {
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
            Self::ThinkStart => THINK_MARKERS[0],
            Self::ThinkEnd => THINK_MARKERS[1],
            Self::CallStart => CALL_START,
            Self::CallEnd => CALL_END,
            Self::XmlStart => XML_CALL_MARKERS[0],
            Self::XmlEnd => XML_CALL_MARKERS[1],
            Self::Function => "<function=",
        }
    }

    /// The marker with this text.
    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|marker| marker.text() == text)
    }

    pub(super) fn is_reasoning(self) -> bool {
        matches!(self, Self::ThinkStart | Self::ThinkEnd)
    }
}

/// A piece of text, or a marker in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Marker(Marker),
}

/// Finds markers in streamed text. The division into pieces does not affect the result.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    markers: Vec<Marker>,
    /// Text that may be the beginning of a marker.
    held: String,
}

impl Scanner {
    pub(super) fn new(markers: Vec<Marker>) -> Self {
        Self { markers, held: String::new() }
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
            if let Some(marker) = self.markers.iter().find(|marker| rest.starts_with(marker.text()))
            {
                flush(&mut pieces, from, at);
                pieces.push(Piece::Marker(*marker));
                at += marker.text().len();
                from = at;
            } else if self.markers.iter().any(|marker| marker.text().starts_with(rest)) {
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

    /// Ends the text and returns the held text, which is no marker.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
