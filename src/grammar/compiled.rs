//! A compiled grammar, and the matcher that follows one answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{GrammarError, cleaned};
use super::library::Parser;
use crate::text::Tokenizer;

/// A compiled grammar. Cheap to clone.
#[derive(Clone)]
pub struct Grammar(Arc<Inner>);

struct Inner {
    /// A parser at the beginning of an answer, which is only copied.
    fresh: Mutex<Box<dyn Parser>>,
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
    pub(super) fn new(parser: Box<dyn Parser>, tokenizer: Tokenizer, ends: Arc<[u32]>) -> Self {
        Self(Arc::new(Inner { fresh: Mutex::new(parser), tokenizer, ends }))
    }

    /// A matcher at the beginning of an answer. It shares no state with others, so each may run in its own thread.
    #[must_use]
    pub fn matcher(&self) -> Matcher {
        Matcher {
            parser: self.fresh(),
            grammar: self.clone(),
            taken: Vec::new(),
            ended: false,
            allowed: 0,
        }
    }

    fn fresh(&self) -> Box<dyn Parser> {
        self.0.fresh.lock().unwrap_or_else(PoisonError::into_inner).copy()
    }
}

/// Most tokens that may follow if the text is forced: these are the beginnings of this text. With more, it is not worth
/// asking the grammar.
const MOST_BEGINNINGS: u32 = 64;

/// Follows one answer, and computes the tokens that the grammar allows next.
pub struct Matcher {
    parser: Box<dyn Parser>,
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
            let next = self.parser.next(&ends).map_err(|e| self.failed(&e))?;
            (words, complete) = (next.words, next.complete);
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
        let mut ahead = self.parser.copy();
        let bytes = ahead.take_forced();
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            // Special tokens have bytes that no text has.
            Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
        };
        let mut tokens = self.grammar.0.tokenizer.encode_verbatim(text, false).unwrap_or_default();
        tokens.pop();
        tokens.truncate(ahead.valid(&tokens));
        tokens
    }

    /// Takes the tokens that are new.
    fn take(&mut self, tokens: &[u32]) -> Result<(), GrammarError> {
        if !tokens.starts_with(&self.taken) {
            self.parser = self.grammar.fresh();
            self.taken.clear();
            self.ended = false;
        }
        for token in tokens.get(self.taken.len()..).unwrap_or_default() {
            self.ended |= self.grammar.0.ends.contains(token);
            if !self.ended {
                self.parser.take(*token).map_err(|e| self.failed(&e))?;
            }
            self.taken.push(*token);
        }
        Ok(())
    }

    fn failed(&self, error: &str) -> GrammarError {
        let problem = crate::text::one_line(cleaned(error));
        GrammarError::Failed { position: self.taken.len(), problem }
    }
}
