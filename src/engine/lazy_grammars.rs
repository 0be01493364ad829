//! A model's vocabulary for grammars, made when the first grammar is asked for.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::grammar::library::Library;
use crate::grammar::{GrammarError, Grammars, compiled_in};
use crate::text::Tokenizer;

/// A model's vocabulary for grammars.
pub(super) struct LazyGrammars {
    /// The library that parses grammars.
    library: OnceLock<Arc<dyn Library>>,
    made: OnceLock<Grammars>,
    /// Held while the vocabulary is made.
    making: Mutex<()>,
}

impl Default for LazyGrammars {
    fn default() -> Self {
        let library = compiled_in().map_or_else(OnceLock::new, OnceLock::from);
        Self { library, made: OnceLock::new(), making: Mutex::default() }
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
        let library = self.library.get().ok_or(GrammarError::NoLibrary)?;
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        // An error is not kept: the library of a browser may have to start again.
        let made = Grammars::new(&**library, tokenizer, ends)?;
        Ok(self.made.get_or_init(|| made))
    }
}
