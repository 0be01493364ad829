//! The library that parses grammars: llguidance, compiled in (feature `structure`) or brought by the program. A web page
//! loads it as a WebAssembly module of its own, so that only answers that need it wait for its 0.5 MB. `web/structure`
//! compiles this file too.

use super::source::Source;

/// A library that parses grammars. Errors are its messages.
pub trait Library: Send + Sync {
    /// Prepares a vocabulary: the bytes of each token. Those that no text may have begin with 0xff, and an id without a
    /// token has none. `ends` are the tokens that end an answer: at least one.
    ///
    /// # Errors
    /// The library's message.
    fn vocabulary(&self, words: &[Vec<u8>], ends: &[u32]) -> Result<Box<dyn Vocabulary>, String>;
}

/// A vocabulary for which grammars are compiled.
pub trait Vocabulary: Send + Sync {
    /// Compiles grammars that refer to each other; the first one is the answer's.
    ///
    /// # Errors
    /// The library's message.
    fn compile(&self, sources: Vec<Source>) -> Result<Box<dyn Parser>, String>;
}

/// The tokens that may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Bit `i % 32` of word `i / 32` stands for token `i`. Words may be missing at the end.
    pub words: Vec<u32>,
    /// Whether the answer may end here.
    pub complete: bool,
}

/// Follows one answer.
pub trait Parser: Send + Sync {
    /// A parser at the same place that shares no state with this one.
    fn copy(&self) -> Box<dyn Parser>;

    /// The tokens that may follow. `ends` are the tokens that end an answer.
    ///
    /// # Errors
    /// The library's message, if no token may follow or the grammar has become too complex.
    fn next(&mut self, ends: &[u32]) -> Result<Next, String>;

    /// Takes a token.
    ///
    /// # Errors
    /// The library's message, if the token may not follow.
    fn take(&mut self, token: u32) -> Result<(), String>;

    /// Takes and returns the bytes that must follow.
    fn take_forced(&mut self) -> Vec<u8>;

    /// Number of tokens that may follow one after the other.
    fn valid(&mut self, tokens: &[u32]) -> usize;
}
