//! A model's vocabulary for grammars, made when the first grammar is asked for.

use std::sync::OnceLock;

use crate::grammar::{GrammarError, Grammars};
use crate::text::Tokenizer;

/// A model's vocabulary for grammars.
#[derive(Default)]
pub(super) struct LazyGrammars(OnceLock<Result<Grammars, GrammarError>>);

impl LazyGrammars {
    /// The vocabulary of the model's tokenizer. `ends` are the tokens that end its answers.
    pub fn get(&self, tokenizer: &Tokenizer, ends: &[u32]) -> Result<&Grammars, GrammarError> {
        let made = self.0.get_or_init(|| Grammars::new(tokenizer, ends));
        made.as_ref().map_err(GrammarError::clone)
    }
}
