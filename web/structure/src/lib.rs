//! The library that parses grammars, as a WebAssembly module that `web/src/structure.ts` loads when the first answer of a
//! given form is asked for. This crate only converts values.
#![cfg(target_arch = "wasm32")]

#[path = "../../../src/grammar/library.rs"]
mod library;
#[path = "../../../src/grammar/parser.rs"]
mod parser;
#[path = "../../../src/grammar/source.rs"]
mod source;

use library::Library;
use wasm_bindgen::prelude::*;

/// A vocabulary for which grammars are compiled.
#[wasm_bindgen]
pub struct Vocabulary(Box<dyn library::Vocabulary>);

#[wasm_bindgen]
impl Vocabulary {
    /// Prepares the tokens whose bytes follow each other in `bytes`, `lengths[i]` of them for token `i`. `ends` are the
    /// tokens that end an answer.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: &[u8], lengths: &[u32], ends: &[u32]) -> Result<Vocabulary, String> {
        let mut rest = bytes;
        let word = |length: &u32| {
            let word = rest.split_off(..*length as usize).ok_or("lengths: exceed the bytes")?;
            Ok(word.to_vec())
        };
        let words: Vec<Vec<u8>> = lengths.iter().map(word).collect::<Result<_, &str>>()?;
        parser::Llguidance.vocabulary(&words, ends).map(Self)
    }

    /// Compiles grammars that refer to each other, a list in JSON.
    pub fn compile(&self, sources: &str) -> Result<Parser, String> {
        let sources = serde_json::from_str(sources).map_err(|e| e.to_string())?;
        Ok(Parser { inner: self.0.compile(sources)?, complete: false })
    }
}

/// Follows one answer.
#[wasm_bindgen]
pub struct Parser {
    inner: Box<dyn library::Parser>,
    complete: bool,
}

#[wasm_bindgen]
impl Parser {
    /// A parser at the same place that shares no state with this one.
    pub fn copy(&self) -> Parser {
        Self { inner: self.inner.copy(), complete: self.complete }
    }

    /// The tokens that may follow: bit `i % 32` of word `i / 32` stands for token `i`.
    pub fn next(&mut self, ends: &[u32]) -> Result<Vec<u32>, String> {
        let next = self.inner.next(ends)?;
        self.complete = next.complete;
        Ok(next.words)
    }

    /// Whether the answer could end at the last call of `next`.
    #[wasm_bindgen(getter)]
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Takes a token.
    pub fn take(&mut self, token: u32) -> Result<(), String> {
        self.inner.take(token)
    }

    /// Takes and returns the bytes that must follow.
    #[wasm_bindgen(js_name = takeForced)]
    pub fn take_forced(&mut self) -> Vec<u8> {
        self.inner.take_forced()
    }

    /// Number of tokens that may follow one after the other.
    pub fn valid(&mut self, tokens: &[u32]) -> usize {
        self.inner.valid(tokens)
    }
}
