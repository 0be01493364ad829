//! The crate llguidance as a [`Library`]. `web/structure` compiles this file too, to a WebAssembly module that a web page
//! loads only when an answer needs it.

use std::sync::Arc;

use llguidance::api::{GrammarWithLexer, ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::library::{Library, Next, Parser, Vocabulary};
use super::source::{Form, Source};

/// The crate llguidance.
pub struct Llguidance;

impl Library for Llguidance {
    fn vocabulary(&self, words: &[Vec<u8>], ends: &[u32]) -> Result<Box<dyn Vocabulary>, String> {
        let len = u32::try_from(words.len()).map_err(|e| e.to_string())?;
        let first = ends.first().copied().ok_or("no end token")?;
        let trie = TokTrie::from(&TokRxInfo::new(len, first), words).with_eos_tokens(ends);
        // Nobody knows which of several tokenisations a model would choose, so it decides by itself.
        let vocabulary = ApproximateTokEnv::new(trie);
        let slices = SlicedBiasComputer::general_slices();
        let able = InferenceCapabilities::default();
        let mut factory = ParserFactory::new(&(Arc::new(vocabulary) as _), able, &slices)
            .map_err(|e| e.to_string())?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Box::new(factory))
    }
}

impl Vocabulary for ParserFactory {
    fn compile(&self, sources: Vec<Source>) -> Result<Box<dyn Parser>, String> {
        let grammars = sources.into_iter().map(grammar).collect();
        let parser = self.create_parser(TopLevelGrammar { grammars, max_tokens: None });
        Ok(Box::new(Matcher::new(Ok(parser.map_err(|e| e.to_string())?))))
    }
}

impl Parser for Matcher {
    fn copy(&self) -> Box<dyn Parser> {
        Box::new(self.deep_clone())
    }

    fn next(&mut self, ends: &[u32]) -> Result<Next, String> {
        let mask = self.compute_mask_or_eos().map_err(|e| e.to_string())?;
        let mut complete = self.is_accepting().map_err(|e| e.to_string())?;
        // A grammar may name an end token itself.
        complete |= self.is_stopped() || ends.iter().any(|end| mask.is_allowed(*end));
        Ok(Next { words: mask.as_slice().to_vec(), complete })
    }

    fn take(&mut self, token: u32) -> Result<(), String> {
        self.consume_token(token).map_err(|e| e.to_string())
    }

    fn take_forced(&mut self) -> Vec<u8> {
        self.compute_ff_bytes()
    }

    fn valid(&mut self, tokens: &[u32]) -> usize {
        self.validate_tokens(tokens).unwrap_or(0)
    }
}

fn grammar(source: Source) -> GrammarWithLexer {
    let mut grammar = match source.form {
        Form::Lark(text) => GrammarWithLexer::from_lark(text),
        Form::JsonSchema(schema) => GrammarWithLexer::from_json_schema(schema),
        Form::Regex(text) => GrammarWithLexer::from_regex(&text),
    };
    grammar.name = source.name.or(grammar.name);
    grammar
}

/// Limits of llguidance: 10 to 20 ms for a mask, 20 ms for the first regular expressions.
fn limits() -> ParserLimits {
    ParserLimits {
        max_grammar_size: 100_000,
        initial_lexer_fuel: 250_000,
        // 1 to 2 kB each.
        max_lexer_states: 50_000,
        // Errors would quote the grammar.
        verbose_errors: false,
        ..ParserLimits::default()
    }
}
