//! Compiles structures.

use super::compiled::Grammar;
use super::error::GrammarError;
use super::structure::Structure;
use super::vocabulary::Grammars;
use super::{calls, content, reasoning};
use crate::text::{AnswerFormat, CallForm};

impl Grammars {
    /// Compiles a structure. `format` is that of the answer: if the model may reason, reasoning may come before the
    /// structure. `form` is the model's form of tool calls.
    ///
    /// # Errors
    /// [`GrammarError`] for a structure that is invalid, not supported or too large.
    pub fn compile(
        &self,
        structure: &Structure,
        format: &AnswerFormat,
        form: Option<CallForm>,
    ) -> Result<Grammar, GrammarError> {
        let (place, answer) = match structure {
            Structure::Calls(calls) => return calls::compile(self, calls, format, form),
            other => content::grammar(other)?,
        };
        self.build(place, reasoning::before(vec![answer], format, self.tokenizer()))
    }
}
