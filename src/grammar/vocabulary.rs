//! A model's vocabulary as a trie.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokRxInfo, TokTrie};

use super::compiled::Grammar;
use super::error::GrammarError;
use super::limits;
use crate::text::{THINK_MARKERS, TOOL_CALL_MARKERS, Tokenizer, XML_CALL_MARKERS, catch_panic};

/// A model's vocabulary, for which grammars are compiled. Cheap to clone.
#[derive(Clone)]
pub struct Grammars(Arc<Inner>);

struct Inner {
    tokenizer: Tokenizer,
    factory: ParserFactory,
    /// Tokens that end an answer.
    ends: Arc<[u32]>,
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammars(..)")
    }
}

impl Grammars {
    /// Builds the trie: a fraction of a second for 65,536 tokens. `ends` are the tokens that end an answer.
    ///
    /// # Errors
    /// [`GrammarError::NoEnd`] if none of `ends` is a token.
    pub fn new(tokenizer: &Tokenizer, ends: &[u32]) -> Result<Self, GrammarError> {
        let ends: BTreeSet<u32> =
            ends.iter().copied().filter(|id| tokenizer.has_token(*id)).collect();
        let ends: Arc<[u32]> = ends.into_iter().collect();
        let Some(first) = ends.first().copied() else { return Err(GrammarError::NoEnd) };
        let place = "the model's vocabulary";
        let failed = |problem: String| GrammarError::of_library(place, problem);
        let factory = catch_panic(failed, || {
            let words = words(tokenizer, &ends);
            let len = u32::try_from(words.len()).unwrap_or(u32::MAX);
            let trie = TokTrie::from(&TokRxInfo::new(len, first), &words).with_eos_tokens(&ends);
            // Nobody knows which of several tokenisations a model would choose, so it decides by itself.
            let vocabulary = ApproximateTokEnv::new(trie);
            let slices = SlicedBiasComputer::general_slices();
            let able = InferenceCapabilities::default();
            let mut factory = ParserFactory::new(&(Arc::new(vocabulary) as _), able, &slices)
                .map_err(|e| GrammarError::of_library(place, e))?;
            factory.quiet();
            *factory.limits_mut() = limits::of_parser();
            Ok(factory)
        })?;
        Ok(Self(Arc::new(Inner { tokenizer: tokenizer.clone(), factory, ends })))
    }

    /// Compiles grammars that refer to each other; the first one is the answer's.
    pub(super) fn build(
        &self,
        place: &str,
        grammars: Vec<GrammarWithLexer>,
    ) -> Result<Grammar, GrammarError> {
        let failed = |problem: String| GrammarError::of_library(place, problem);
        let compile = || {
            let top = TopLevelGrammar { grammars, max_tokens: None };
            let parser = self.0.factory.create_parser(top);
            let parser = parser.map_err(|e| GrammarError::of_library(place, e))?;
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
            true => [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat(),
            false => bytes.to_vec(),
        }
    };
    ids.map(word).collect()
}
