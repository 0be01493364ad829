//! A model's vocabulary for grammars, made when the first grammar is asked for.

use std::sync::{Arc, OnceLock};

use crate::grammar::library::Library;
use crate::grammar::{GrammarError, Grammars, compiled_in};
use crate::text::Tokenizer;

/// A model's vocabulary for grammars.
pub(super) struct LazyGrammars {
    /// The library that parses grammars.
    library: OnceLock<Arc<dyn Library>>,
    made: OnceLock<Grammars>,
}

impl Default for LazyGrammars {
    fn default() -> Self {
        let library = compiled_in().map_or_else(OnceLock::new, OnceLock::from);
        Self { library, made: OnceLock::new() }
    }
}

impl LazyGrammars {
    /// Takes a library, unless there is one.
    pub fn use_library(&self, library: Arc<dyn Library>) {
        self.library.get_or_init(|| library);
    }

    /// Whether there is a library.
    pub fn has_library(&self) -> bool {
        self.library.get().is_some()
    }

    /// The vocabulary of the model's tokenizer. `ends` are the tokens that end its answers.
    pub fn get(&self, tokenizer: &Tokenizer, ends: &[u32]) -> Result<&Grammars, GrammarError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let library = self.library.get().ok_or(GrammarError::NoLibrary)?;
        // An error is not kept: the library may have to start again. Two first requests at once both do this work.
        let made = Grammars::new(&**library, tokenizer, ends)?;
        Ok(self.made.get_or_init(|| made))
    }
}
