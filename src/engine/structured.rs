//! Answers of a given form.

use std::sync::Arc;

use super::{AllowedTokens, Engine, ModelText, OpenedModel};
use crate::error::Error;
use crate::grammar::Structure;
use crate::grammar::library::Library;
use crate::text::{AnswerFormat, CallForm, TOOL_CALL_MARKERS};

impl ModelText {
    /// The rule for answers of a structure. `ends` are the tokens that end the model's answers.
    fn structure(
        &self,
        structure: &Structure,
        format: &AnswerFormat,
        ends: &[u32],
    ) -> Result<AllowedTokens, Error> {
        let tokenizer = self.tokenizer()?;
        let grammars = self.grammars.get(tokenizer, ends)?;
        let form = match self.format() {
            Ok(format) => format.call_form(),
            Err(_) => tokenizer.token_id(TOOL_CALL_MARKERS[0]).map(|_| CallForm::Python),
        };
        Ok(AllowedTokens::of_grammar(grammars.compile(structure, format, form)?))
    }
}

impl OpenedModel {
    /// As [`Engine::structure`], before the weights are loaded.
    ///
    /// # Errors
    /// As [`Engine::structure`].
    pub fn structure(
        &self,
        structure: &Structure,
        format: &AnswerFormat,
    ) -> Result<AllowedTokens, Error> {
        self.text.structure(structure, format, &self.ends)
    }
}

impl Engine {
    /// The rule for answers of a structure, for [`GenerateOptions::allowed`](super::GenerateOptions::allowed). Any number
    /// of answers may share it. When the structure is complete, only end tokens are left, and the answer ends. `format`
    /// is that of the answer: if the model may reason, reasoning may come before the structure.
    ///
    /// The first call takes a fraction of a second, others take milliseconds.
    ///
    /// # Errors
    /// [`Error::Grammar`] for a structure that is invalid, not supported or too large, or without a library that parses
    /// grammars; [`Error::NoTextFile`] if the model has no tokenizer.
    pub fn structure(
        &self,
        structure: &Structure,
        format: &AnswerFormat,
    ) -> Result<AllowedTokens, Error> {
        self.inner.text.structure(structure, format, self.ends())
    }

    /// Gives the engine a library that parses grammars, for [`Engine::structure`]. With the feature `structure` it has one,
    /// llguidance, and keeps it.
    pub fn use_grammar_library(&self, library: Arc<dyn Library>) {
        self.inner.text.grammars.use_library(library);
    }

    /// Whether the engine has a library that parses grammars.
    #[must_use]
    pub fn has_grammar_library(&self) -> bool {
        self.inner.text.grammars.has_library()
    }
}
