//! A compiled grammar, and the matcher that follows one answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::TokenParser;

use super::error::{GrammarError, cleaned};
use crate::text::Tokenizer;

/// A compiled grammar. Cheap to clone.
#[derive(Clone)]
pub struct Grammar(Arc<Inner>);

struct Inner {
    /// A matcher at the beginning of an answer, which is only copied.
    fresh: Mutex<llguidance::Matcher>,
    tokenizer: Tokenizer,
    /// Tokens that end an answer.
    ends: Arc<[u32]>,
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammar(..)")
    }
}

impl Grammar {
    pub(super) fn new(parser: TokenParser, tokenizer: Tokenizer, ends: Arc<[u32]>) -> Self {
        let fresh = Mutex::new(llguidance::Matcher::new(Ok(parser)));
        Self(Arc::new(Inner { fresh, tokenizer, ends }))
    }

    /// A matcher at the beginning of an answer. It shares no state with others, so each may run in its own thread.
    #[must_use]
    pub fn matcher(&self) -> Matcher {
        Matcher {
            inner: self.fresh(),
            grammar: self.clone(),
            taken: Vec::new(),
            ended: false,
            allowed: 0,
        }
    }

    fn fresh(&self) -> llguidance::Matcher {
        self.0.fresh.lock().unwrap_or_else(PoisonError::into_inner).deep_clone()
    }
}

/// Most tokens that may follow if the text is forced: these are the beginnings of this text. With more, it is not worth
/// asking the grammar.
const MOST_BEGINNINGS: u32 = 64;

/// Follows one answer, and computes the tokens that the grammar allows next.
pub struct Matcher {
    inner: llguidance::Matcher,
    grammar: Grammar,
    /// The tokens taken so far.
    taken: Vec<u32>,
    /// Whether an end token was taken.
    ended: bool,
    /// Tokens of the last mask.
    allowed: u32,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("taken", &self.taken.len()).finish_non_exhaustive()
    }
}

impl Matcher {
    /// The tokens that may follow the answer's tokens: bit `i % 32` of word `i / 32` stands for token `i`. If the
    /// grammar is complete, the end tokens are among them, and if nothing can follow, only these. `tokens` usually
    /// continue those of the last call; if they do not, the matcher starts again.
    ///
    /// # Errors
    /// [`GrammarError::Failed`] if the grammar does not allow `tokens`, allows no token after them, or has become too
    /// complex.
    pub fn mask_after(&mut self, tokens: &[u32]) -> Result<Vec<u32>, GrammarError> {
        self.take(tokens)?;
        let ends = self.grammar.0.ends.clone();
        let mut words = Vec::new();
        let mut complete = self.ended;
        if !complete {
            let mask = self.inner.compute_mask_or_eos().map_err(|e| self.failed(&e))?;
            complete = self.inner.is_accepting().map_err(|e| self.failed(&e))?;
            // A grammar may name an end token itself.
            complete |= self.inner.is_stopped() || ends.iter().any(|end| mask.is_allowed(*end));
            words = mask.as_slice().to_vec();
        }
        self.allowed = words.iter().map(|word| word.count_ones()).sum();
        for end in ends.iter().filter(|_| complete) {
            let at = *end as usize / 32;
            words.resize(words.len().max(at + 1), 0);
            if let Some(word) = words.get_mut(at) {
                *word |= 1 << (end % 32);
            }
        }
        Ok(words)
    }

    /// Tokens that must follow those of the last mask, since the grammar leaves one text only: its tokens as the
    /// tokenizer encodes it. The last one is left out, because it may go on into the text behind.
    pub fn forced(&mut self) -> Vec<u32> {
        if self.ended || self.allowed > MOST_BEGINNINGS {
            return Vec::new();
        }
        // The library takes the bytes that it returns.
        let mut ahead = self.inner.deep_clone();
        let bytes = ahead.compute_ff_bytes();
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            // Special tokens have bytes that no text has.
            Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
        };
        let mut tokens = self.grammar.0.tokenizer.encode_verbatim(text, false).unwrap_or_default();
        tokens.pop();
        let valid = ahead.validate_tokens(&tokens).unwrap_or(0);
        tokens.truncate(valid);
        tokens
    }

    /// Takes the tokens that are new.
    fn take(&mut self, tokens: &[u32]) -> Result<(), GrammarError> {
        if !tokens.starts_with(&self.taken) {
            self.inner = self.grammar.fresh();
            self.taken.clear();
            self.ended = false;
        }
        for token in tokens.get(self.taken.len()..).unwrap_or_default() {
            self.ended |= self.grammar.0.ends.contains(token);
            if !self.ended {
                self.inner.consume_token(*token).map_err(|e| self.failed(&e))?;
            }
            self.taken.push(*token);
        }
        Ok(())
    }

    fn failed(&self, error: &dyn fmt::Display) -> GrammarError {
        let problem = crate::text::one_line(cleaned(&error.to_string()));
        GrammarError::Failed { position: self.taken.len(), problem }
    }
}
