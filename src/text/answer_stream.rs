//! Reads an answer token by token.

use super::answer::{Answer, AnswerFormat, AnswerReader};
use super::error::TextError;
use super::markers::Marker;
use super::stop_strings::StopStrings;
use super::text_stream::{SpecialTokens, TextStream};
use super::tokenizer::Tokenizer;

/// Reads an answer token by token. It assembles whole characters, ends at stop strings, and finds
/// markers: by id if they are tokens, else by text.
#[derive(Clone, Debug)]
pub struct AnswerStream {
    text: TextStream,
    stops: StopStrings,
    reader: AnswerReader,
    /// Markers that are single tokens.
    markers: Vec<(u32, Marker)>,
    stopped_by: Option<usize>,
}

impl AnswerStream {
    /// A stream at the beginning of an answer.
    #[must_use]
    pub fn new(
        tokenizer: &Tokenizer,
        format: AnswerFormat,
        specials: SpecialTokens,
        stops: StopStrings,
    ) -> Self {
        let (mut markers, mut in_text) = (Vec::new(), Vec::new());
        for marker in format.markers() {
            match tokenizer.token_id(marker.text()) {
                Some(id) => markers.push((id, marker)),
                None => in_text.push(marker),
            }
        }
        let text = TextStream::new(tokenizer, specials);
        let reader = AnswerReader::with_markers(format, in_text);
        Self { text, stops, reader, markers, stopped_by: None }
    }

    /// Index of the stop string that ended the answer.
    #[must_use]
    pub fn stopped_by(&self) -> Option<usize> {
        self.stopped_by
    }

    /// Whether the answer so far ends within reasoning.
    #[must_use]
    pub fn is_reasoning(&self) -> bool {
        self.reader.is_reasoning()
    }

    /// Takes the next token. Returns the part of the answer that is now certain, and whether a stop
    /// string ended the answer.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id without a token; the stream is then unchanged.
    pub fn push(&mut self, id: u32) -> Result<(Answer, bool), TextError> {
        let known = self.markers.iter().find(|(known, _)| *known == id);
        let Some((_, marker)) = known.copied() else {
            let text = self.text.push(id)?;
            return Ok(self.take(&text));
        };
        // A stop string may lie within a marker, but not span one.
        let before = self.text.finish();
        let (mut answer, stopped) = self.take(&before);
        if stopped {
            return Ok((answer, true));
        }
        answer.append(self.reader.push(&self.stops.finish()));
        self.stopped_by = self.stops.push(marker.text()).hit;
        if self.stopped_by.is_some() {
            return Ok((answer, true));
        }
        self.stops.finish();
        answer.append(self.reader.push_marker(marker));
        Ok((answer, false))
    }

    /// Ends the answer and returns the rest.
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
        self.stopped_by = step.hit;
        (self.reader.push(&step.text), step.hit.is_some())
    }
}
