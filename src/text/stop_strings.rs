//! Stop strings in streamed text.

use super::error::TextError;

/// The result of a push.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopStep {
    /// Text that can no longer be part of a stop string.
    pub text: String,
    /// Index of the stop string that ended the text.
    pub hit: Option<usize>,
}

/// Finds stop strings in streamed text and holds back text that may become one.
///
/// The stop string that is complete first wins; of several that end together, the longest. The
/// division of the text into pushes does not affect the result.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<Stop>,
    /// Text held back: the longest beginning of a stop string at the end of the text.
    held: String,
    hit: Option<usize>,
}

#[derive(Debug, Clone)]
struct Stop {
    bytes: Vec<u8>,
    /// `fallback[n]`: the longest proper beginning of the stop string that its first `n + 1` bytes
    /// end with (Knuth, Morris and Pratt's failure function).
    fallback: Vec<usize>,
    /// Number of bytes of the stop string that the text so far ends with.
    matched: usize,
}

impl StopStrings {
    /// A matcher for these strings. Without strings, all text passes at once.
    ///
    /// # Errors
    /// [`TextError::StopString`] for an empty one.
    pub fn new<S: AsRef<str>>(stops: impl IntoIterator<Item = S>) -> Result<Self, TextError> {
        let mut matcher = Self::default();
        for (index, stop) in stops.into_iter().enumerate() {
            let bytes = stop.as_ref().as_bytes();
            if bytes.is_empty() {
                return Err(TextError::StopString { index, problem: "is empty" });
            }
            matcher.stops.push(Stop::new(bytes));
        }
        Ok(matcher)
    }

    /// Takes more text and returns the text that can be shown. After a hit, pushes return no text.
    pub fn push(&mut self, text: &str) -> StopStep {
        if self.hit.is_some() {
            return StopStep { text: String::new(), hit: self.hit };
        }
        let before = self.held.len();
        self.held.push_str(text);
        for (i, byte) in text.bytes().enumerate() {
            let mut complete: Option<(usize, usize)> = None;
            for (index, stop) in self.stops.iter_mut().enumerate() {
                let length = stop.bytes.len();
                if stop.step(byte) && complete.is_none_or(|(_, longest)| length > longest) {
                    complete = Some((index, length));
                }
            }
            if let Some((index, length)) = complete {
                self.hit = Some(index);
                let mut shown = std::mem::take(&mut self.held);
                // The stop string began in the held text: `matched` never exceeds its length.
                shown.truncate((before + i + 1).saturating_sub(length));
                return StopStep { text: shown, hit: self.hit };
            }
        }
        let keep = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len().saturating_sub(keep));
        StopStep { text: std::mem::replace(&mut self.held, kept), hit: None }
    }

    /// Ends the text and returns the held text. The matcher can be used again.
    pub fn finish(&mut self) -> String {
        for stop in &mut self.stops {
            stop.matched = 0;
        }
        self.hit = None;
        std::mem::take(&mut self.held)
    }
}

impl Stop {
    fn new(bytes: &[u8]) -> Self {
        let mut fallback = vec![0; bytes.len()];
        let mut matched = 0;
        for i in 1..bytes.len() {
            while matched > 0 && bytes[matched] != bytes[i] {
                matched = fallback[matched - 1];
            }
            if bytes[matched] == bytes[i] {
                matched += 1;
            }
            fallback[i] = matched;
        }
        Self { bytes: bytes.to_vec(), fallback, matched: 0 }
    }

    /// Takes one byte. Returns whether the stop string is complete.
    fn step(&mut self, byte: u8) -> bool {
        // `matched` is below the length here: a complete match ends the text.
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        if self.bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pushes: &[&str]) -> (String, Option<usize>) {
        let mut watch = StopStrings::new(stops).unwrap();
        let mut text = String::new();
        for push in pushes {
            let step = watch.push(push);
            text.push_str(&step.text);
            if step.hit.is_some() {
                return (text, step.hit);
            }
        }
        text.push_str(&watch.finish());
        (text, None)
    }

    #[test]
    fn without_stop_strings_all_text_passes_at_once() {
        let mut watch = StopStrings::default();
        assert_eq!(watch.push("hello").text, "hello");
        assert_eq!(watch.finish(), "");
    }

    #[test]
    fn a_stop_string_is_found_across_pushes_and_not_shown() {
        assert_eq!(run(&["END"], &["abc E", "N", "D def"]), ("abc ".into(), Some(0)));
        assert_eq!(run(&["END"], &["abc E", "N", "d"]), ("abc ENd".into(), None));
        assert_eq!(run(&["x"], &["x"]), (String::new(), Some(0)));
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let mut watch = StopStrings::new(["\n\nUser:"]).unwrap();
        assert_eq!(watch.push("Hi\n").text, "Hi");
        assert_eq!(watch.push("\n").text, "");
        assert_eq!(watch.push("\n").text, "\n");
        assert_eq!(watch.push("U").text, "");
        assert_eq!(watch.push("S").text, "\n\nUS");
        assert_eq!(watch.finish(), "");
    }

    #[test]
    fn the_first_complete_stop_string_wins_and_of_several_the_longest() {
        assert_eq!(run(&["c", "abcd"], &["abcd"]), ("ab".into(), Some(0)));
        assert_eq!(run(&["c", "abcd"], &["a", "b", "c", "d"]), ("ab".into(), Some(0)));
        assert_eq!(run(&["c", "bc"], &["abc"]), ("a".into(), Some(1)));
        assert_eq!(run(&["aab"], &["aaab"]), ("a".into(), Some(0)));
    }

    #[test]
    fn nothing_comes_after_a_hit() {
        let mut watch = StopStrings::new(["."]).unwrap();
        assert_eq!(watch.push("a.b"), StopStep { text: "a".into(), hit: Some(0) });
        assert_eq!(watch.push("c"), StopStep { text: String::new(), hit: Some(0) });
        assert_eq!(watch.finish(), "");
        assert_eq!(watch.push("c").text, "c");
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        let error = StopStrings::new(["a", ""]).unwrap_err();
        assert_eq!(error.to_string(), "stop string 1: is empty");
    }

    /// The definition without state: tries every end of the text in turn.
    fn by_definition(stops: &[String], text: &str) -> (String, Option<usize>) {
        for end in 1..=text.len() {
            let done = &text.as_bytes()[..end];
            let ends = |s: &&(usize, &String)| done.ends_with(s.1.as_bytes());
            let candidates: Vec<_> = stops.iter().enumerate().collect();
            let best = candidates.iter().filter(ends).rev().max_by_key(|s| s.1.len());
            if let Some((index, stop)) = best {
                return (text[..end - stop.len()].to_owned(), Some(*index));
            }
        }
        (text.to_owned(), None)
    }

    proptest! {
        #[test]
        fn chunking_never_changes_the_result(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            chunks in prop::collection::vec("[abcé]{0,4}", 0..12),
        ) {
            let whole = chunks.concat();
            let stop_refs: Vec<&str> = stops.iter().map(String::as_str).collect();
            let chunk_refs: Vec<&str> = chunks.iter().map(String::as_str).collect();
            prop_assert_eq!(run(&stop_refs, &chunk_refs), by_definition(&stops, &whole));
        }
    }
}
