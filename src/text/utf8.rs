//! Tokens to text, a token at a time: whole characters only, and an eye on stop strings.

use super::error::TextError;
use super::markers::Mark;
use super::tokenizer::Tokenizer;

/// Which special tokens appear in streamed text. `<think>` and `</think>` always do: without them
/// nobody could tell reasoning from the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// None of them.
    #[default]
    Hide,
    /// Only those around tool calls, for whoever reads the calls in the text.
    ToolCalls,
    /// All of them.
    Show,
}

/// Turns token ids into text as they come.
///
/// A token may end inside a UTF-8 character; its bytes wait here until the character is whole. The
/// texts of all [`push`](Self::push)es and of [`finish`](Self::finish) together are exactly what
/// [`Tokenizer::decode`] gives for all ids (with [`SpecialTokens::Hide`] and
/// [`SpecialTokens::Show`] as its `skip_special_tokens` true and false, but for the marks of reasoning).
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    specials: SpecialTokens,
    /// The start of a character that is not whole yet: at most 3 bytes between pushes.
    pending: Vec<u8>,
}

impl TextStream {
    /// A stream at its start.
    pub fn new(tokenizer: &Tokenizer, specials: SpecialTokens) -> Self {
        Self { tokenizer: tokenizer.clone(), specials, pending: Vec::new() }
    }

    /// Takes the next token and returns the text that is now certain, often empty.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id without a token; the stream is then as it was.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        let bytes = self.tokenizer.bytes_of(id)?;
        if self.tokenizer.is_special(id) && !self.shows(id) {
            return Ok(String::new());
        }
        self.pending.extend_from_slice(bytes);
        Ok(self.take_whole())
    }

    /// Ends the text: a character that never became whole is U+FFFD. The stream starts anew.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        rest
    }

    fn shows(&self, id: u32) -> bool {
        match self.specials {
            SpecialTokens::Show => true,
            hide_or_calls => match self.tokenizer.token_text(id).and_then(Mark::of) {
                Some(mark) if mark.is_reasoning() => true,
                Some(_) => hide_or_calls == SpecialTokens::ToolCalls,
                None => false,
            },
        }
    }

    /// Everything up to a character that may still become whole; what never can is U+FFFD.
    fn take_whole(&mut self) -> String {
        let mut text = String::new();
        let mut rest = &self.pending[..];
        let waiting = loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    break &[][..];
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(invalid) = error.error_len() else {
                        break after;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = after.get(invalid..).unwrap_or_default();
                }
            }
        };
        self.pending = waiting.to_vec();
        text
    }
}

/// Text that a push has made certain, and whether a stop string ended it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopStep {
    /// Text that can no longer be part of a stop string.
    pub text: String,
    /// Index of the stop string that was hit; nothing comes after it.
    pub hit: Option<usize>,
}

/// Watches streamed text for stop strings and holds back what may become one.
///
/// The stop string that is complete first wins; of several that end together, the one that begins
/// first. How the text is cut into pushes makes no difference.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<Stop>,
    /// Text not given out yet: the longest beginning of a stop string at the end of the text.
    held: String,
    hit: Option<usize>,
}

#[derive(Debug, Clone)]
struct Stop {
    bytes: Vec<u8>,
    /// `fallback[n]`: the longest proper beginning of the stop string that its first `n + 1` bytes
    /// end with (Knuth, Morris and Pratt's failure function).
    fallback: Vec<usize>,
    /// How many bytes of the stop string the text so far ends with.
    matched: usize,
}

impl StopStrings {
    /// A watch for these strings; none means that all text passes at once.
    ///
    /// # Errors
    /// [`TextError::StopString`] for an empty one.
    pub fn new<S: AsRef<str>>(stops: impl IntoIterator<Item = S>) -> Result<Self, TextError> {
        let mut watch = Self::default();
        for (index, stop) in stops.into_iter().enumerate() {
            let bytes = stop.as_ref().as_bytes();
            if bytes.is_empty() {
                return Err(TextError::StopString { index, problem: "is empty" });
            }
            watch.stops.push(Stop::new(bytes));
        }
        Ok(watch)
    }

    /// Takes more text and returns what can be shown. After a hit every push is empty.
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
                // It began in text that was held back: `matched` never exceeds what is held.
                shown.truncate((before + i + 1).saturating_sub(length));
                return StopStep { text: shown, hit: self.hit };
            }
        }
        let keep = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len().saturating_sub(keep));
        StopStep { text: std::mem::replace(&mut self.held, kept), hit: None }
    }

    /// Ends the text without a hit: what was held back after all. The watch starts anew.
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

    /// Takes one byte; whether the stop string is now complete.
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
    fn the_first_to_be_complete_wins_and_of_those_the_longest() {
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

    /// The definition, without state: try every end of the text in turn.
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
        fn chunking_never_changes_what_is_found(
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
