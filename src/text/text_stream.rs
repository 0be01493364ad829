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
