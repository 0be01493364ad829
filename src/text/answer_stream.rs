//! Tokens to an answer, a token at a time.

use super::answer::{Answer, AnswerFormat, AnswerReader};
use super::error::TextError;
use super::markers::Mark;
use super::stop_strings::StopStrings;
use super::text_stream::{SpecialTokens, TextStream};
use super::tokenizer::Tokenizer;

/// Reads an answer token by token: characters become whole, stop strings end it, marks that are tokens
/// are known by their id and others by their text.
#[derive(Clone, Debug)]
pub struct AnswerStream {
    text: TextStream,
    stops: StopStrings,
    reader: AnswerReader,
    /// Marks that are tokens.
    marks: Vec<(u32, Mark)>,
}

impl AnswerStream {
    /// A stream at an answer's beginning.
    #[must_use]
    pub fn new(
        tokenizer: &Tokenizer,
        format: AnswerFormat,
        specials: SpecialTokens,
        stops: StopStrings,
    ) -> Self {
        let (mut marks, mut in_text) = (Vec::new(), Vec::new());
        for mark in format.marks() {
            match tokenizer.token_id(mark.text()) {
                Some(id) => marks.push((id, mark)),
                None => in_text.push(mark),
            }
        }
        let text = TextStream::new(tokenizer, specials);
        Self { text, stops, reader: AnswerReader::with_marks(format, in_text), marks }
    }

    /// Takes the next token; gives what it makes certain, and whether a stop string ended the answer.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id without a token; the stream is then as it was.
    pub fn push(&mut self, id: u32) -> Result<(Answer, bool), TextError> {
        let known = self.marks.iter().find(|(known, _)| *known == id);
        let Some((_, mark)) = known.copied() else {
            let text = self.text.push(id)?;
            return Ok(self.take(&text));
        };
        // No stop string goes across a mark, but one may be in it.
        let before = self.text.finish();
        let (mut answer, stopped) = self.take(&before);
        if stopped {
            return Ok((answer, true));
        }
        answer.append(self.reader.push(&self.stops.finish()));
        if self.stops.push(mark.text()).hit.is_some() {
            return Ok((answer, true));
        }
        self.stops.finish();
        answer.append(self.reader.push_mark(mark));
        Ok((answer, false))
    }

    /// Ends the answer and gives the rest.
    pub fn finish(&mut self) -> Answer {
        let rest = self.text.finish();
        let (mut answer, stopped) = self.take(&rest);
        if !stopped {
            answer.append(self.reader.push(&self.stops.finish()));
        }
        answer.append(self.reader.finish());
        answer
    }

    fn take(&mut self, text: &str) -> (Answer, bool) {
        let step = self.stops.push(text);
        (self.reader.push(&step.text), step.hit.is_some())
    }
}
