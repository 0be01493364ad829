//! What stands behind the mark that began calls, and which mark ends it.

use super::markers::Mark;

/// What stands behind the mark that began calls.
#[derive(Clone, Debug, Default)]
pub(super) struct CallBody {
    pub(super) text: String,
    /// Bytes that have been looked through for parameters.
    seen: usize,
    /// Whether the last parameter there has no end.
    open: bool,
    /// Whether there are parameters.
    parameters: bool,
}

/// Whether `mark` can end what `start` began.
pub(super) fn ends(start: Mark, mark: Mark) -> bool {
    match start {
        Mark::CallStart => mark == Mark::CallEnd,
        _ => mark == Mark::XmlEnd,
    }
}

/// Whether `mark` begins other calls although the end of those in `body` is missing.
pub(super) fn begins_next(start: Mark, mark: Mark, body: &mut CallBody) -> bool {
    match start {
        Mark::CallStart => mark == Mark::CallStart,
        _ => {
            let ends = body.text.trim_end().ends_with("</function>");
            mark == Mark::XmlStart && ends && body.is_whole(start)
        }
    }
}

impl CallBody {
    /// One that begins with a text.
    pub(super) fn of(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Whether an end mark behind it is one: in XML a value may hold such a text.
    pub(super) fn is_whole(&mut self, start: Mark) -> bool {
        if start == Mark::CallStart {
            return true;
        }
        if self.is_open() {
            return false;
        }
        // Behind the last parameter comes the function's end, or a value goes on.
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
        // A tag may have been cut where the last look ended.
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
