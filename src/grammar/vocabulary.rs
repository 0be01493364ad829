//! A model's vocabulary, for which grammars are compiled.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::compiled::Grammar;
use super::error::GrammarError;
use super::library::{Library, Vocabulary};
use super::limits;
use super::source::Source;
use crate::text::{THINK_MARKERS, TOOL_CALL_MARKERS, Tokenizer, XML_CALL_MARKERS, catch_panic};

/// A model's vocabulary, for which grammars are compiled. Cheap to clone.
#[derive(Clone)]
pub struct Grammars(Arc<Inner>);

struct Inner {
    tokenizer: Tokenizer,
    vocabulary: Box<dyn Vocabulary>,
    /// Tokens that end an answer.
    ends: Arc<[u32]>,
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammars(..)")
    }
}

impl Grammars {
    /// Prepares a vocabulary: a fraction of a second for 65,536 tokens. `ends` are the tokens that end an answer.
    ///
    /// # Errors
    /// [`GrammarError::NoEnd`] if none of `ends` is a token, [`GrammarError::Refused`] by the library.
    pub fn new(
        library: &dyn Library,
        tokenizer: &Tokenizer,
        ends: &[u32],
    ) -> Result<Self, GrammarError> {
        let ends: BTreeSet<u32> =
            ends.iter().copied().filter(|id| tokenizer.has_token(*id)).collect();
        let ends: Arc<[u32]> = ends.into_iter().collect();
        if ends.is_empty() {
            return Err(GrammarError::NoEnd);
        }
        let failed = |problem| GrammarError::of_library("the model's vocabulary", problem);
        let vocabulary = catch_panic(failed, || {
            library.vocabulary(&words(tokenizer, &ends), &ends).map_err(failed)
        })?;
        Ok(Self(Arc::new(Inner { tokenizer: tokenizer.clone(), vocabulary, ends })))
    }

    /// Compiles grammars that refer to each other; the first one is the answer's.
    pub(super) fn build(&self, place: &str, sources: Vec<Source>) -> Result<Grammar, GrammarError> {
        let failed = |problem: String| GrammarError::of_library(place, problem);
        let compile = || {
            let parser = self.0.vocabulary.compile(sources).map_err(failed)?;
            Ok(Grammar::new(parser, self.0.tokenizer.clone(), self.0.ends.clone()))
        };
        limits::on_large_stack(|| catch_panic(failed, compile))
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    #[cfg(test)]
    pub(super) fn ends(&self) -> Vec<u32> {
        self.0.ends.to_vec()
    }
}

/// A byte that no text has.
const NOT_TEXT: u8 = 0xff;

/// The bytes of each token. Special tokens, end tokens and markers begin with a byte that no text has, so that only
/// grammars that name them allow them. An id without a token has no bytes, and nothing allows it.
fn words(tokenizer: &Tokenizer, ends: &[u32]) -> Vec<Vec<u8>> {
    let markers = [TOOL_CALL_MARKERS, XML_CALL_MARKERS, THINK_MARKERS].concat();
    let markers: Vec<u32> =
        markers.into_iter().filter_map(|text| tokenizer.token_id(text)).collect();
    let ids = 0..u32::try_from(tokenizer.len()).unwrap_or(u32::MAX);
    let word = |id: u32| {
        let bytes = tokenizer.token_bytes(id).unwrap_or_default();
        let special = tokenizer.is_special(id) || ends.contains(&id) || markers.contains(&id);
        match special && !bytes.is_empty() {
            true => [&[NOT_TEXT], bytes].concat(),
            false => bytes.to_vec(),
        }
    };
    ids.map(word).collect()
}
