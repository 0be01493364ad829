//! Turns token ids into text, token by token and in whole characters.

use super::error::TextError;
use super::markers::Marker;
use super::tokenizer::Tokenizer;

/// Selects the special tokens that appear in streamed text. `<think>` and `</think>` always appear:
/// without them, reasoning could not be told from the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// None of them.
    #[default]
    Hide,
    /// Only the markers around tool calls, so that calls can be read from the text.
    ToolCalls,
    /// All of them.
    Show,
}

/// Turns token ids into text as they arrive.
///
/// A token may end within a UTF-8 character; its bytes are held until the character is complete. The
/// texts of all [`push`](Self::push)es and of [`finish`](Self::finish) together equal
/// [`Tokenizer::decode`] of all ids. [`SpecialTokens::Hide`] and [`SpecialTokens::Show`] correspond to
/// `skip_special_tokens` true and false, except for the markers of reasoning.
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    specials: SpecialTokens,
    /// The beginning of an incomplete character: at most 3 bytes between pushes.
    pending: Vec<u8>,
}

impl TextStream {
    /// A stream at the beginning of a text.
    pub fn new(tokenizer: &Tokenizer, specials: SpecialTokens) -> Self {
        Self { tokenizer: tokenizer.clone(), specials, pending: Vec::new() }
    }

    /// Takes the next token and returns the text that is now complete, which is often empty.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id without a token; the stream is then unchanged.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        let bytes = self.tokenizer.bytes_of(id)?;
        if self.tokenizer.is_special(id) && !self.shows(id) {
            return Ok(String::new());
        }
        self.pending.extend_from_slice(bytes);
        Ok(self.take_whole())
    }

    /// Ends the text. An incomplete character becomes U+FFFD. The stream can be used again.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        rest
    }

    fn shows(&self, id: u32) -> bool {
        match self.specials {
            SpecialTokens::Show => true,
            hide_or_calls => match self.tokenizer.token_text(id).and_then(Marker::of) {
                Some(marker) if marker.is_reasoning() => true,
                Some(_) => hide_or_calls == SpecialTokens::ToolCalls,
                None => false,
            },
        }
    }

    /// Takes all complete characters. Invalid bytes become U+FFFD.
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
