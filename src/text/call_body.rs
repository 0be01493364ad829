//! The text after a start marker of calls, and the markers that end it.

use super::markers::Marker;

/// The text after a start marker of calls.
#[derive(Clone, Debug, Default)]
pub(super) struct CallBody {
    pub(super) text: String,
    /// Number of bytes already searched for parameters.
    seen: usize,
    /// Whether the last parameter found has no end.
    open: bool,
    /// Whether the text has parameters.
    parameters: bool,
}

/// Whether `marker` can end the calls that `start` began.
pub(super) fn ends(start: Marker, marker: Marker) -> bool {
    match start {
        Marker::CallStart => marker == Marker::CallEnd,
        _ => marker == Marker::XmlEnd,
    }
}

/// Whether `marker` begins further calls although the end marker of `body` is missing.
pub(super) fn begins_next(start: Marker, marker: Marker, body: &mut CallBody) -> bool {
    match start {
        Marker::CallStart => marker == Marker::CallStart,
        _ => {
            let ends = body.text.trim_end().ends_with("</function>");
            marker == Marker::XmlStart && ends && body.is_whole(start)
        }
    }
}

impl CallBody {
    /// A body that begins with a text.
    pub(super) fn of(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Whether an end marker after this text ends the calls. In XML it may be part of a value.
    pub(super) fn is_whole(&mut self, start: Marker) -> bool {
        if start == Marker::CallStart {
            return true;
        }
        if self.is_open() {
            return false;
        }
        // The function's end follows the last parameter. Otherwise a value goes on.
        let text = self.text.trim_end();
        let head = text.strip_suffix("</function>").map(str::trim_end);
        let opening = |head: &str| {
            let tag = head.rfind('<').and_then(|at| head.get(at..));
            tag.is_some_and(|tag| tag.starts_with("<function="))
        };
        !self.parameters || head.is_some_and(|h| h.ends_with("</parameter>") || opening(h))
    }

    /// Whether the last parameter has begun and not ended.
    fn is_open(&mut self) -> bool {
        const BEGINS: &str = "<parameter=";
        const ENDS: &str = "</parameter>";
        // The last search may have ended within a tag.
        let from = self.text.floor_char_boundary(self.seen.saturating_sub(ENDS.len()));
        let new = self.text.get(from..).unwrap_or_default();
        self.parameters |= new.contains(BEGINS);
        self.open = match (new.rfind(BEGINS), new.rfind(ENDS)) {
            (None, None) => self.open,
            (begins, ends) => begins > ends,
        };
        self.seen = self.text.len();
        self.open
    }
}
