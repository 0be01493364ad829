//! Restrictions of the tokens that an answer may have.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::grammar::{Grammar, Matcher};

/// A rule that says which tokens may follow, e.g. from a grammar. It is asked before each token is drawn, while the GPU
/// computes the logits. If it takes longer than these, all answers of the step wait for it.
#[derive(Clone)]
pub struct AllowedTokens(Arc<dyn Fn() -> AnswerRule + Send + Sync>);

/// A rule that follows one answer.
trait Rule: Send + Sync {
    /// Removes the tokens that may not follow `tokens` from the mask.
    fn restrict(&mut self, tokens: &[u32], mask: &mut TokenMask) -> Result<(), Error>;

    /// Tokens that must follow those of the last call.
    fn forced(&mut self) -> Vec<u32> {
        Vec::new()
    }
}

impl<F: FnMut(&[u32], &mut TokenMask) + Send + Sync> Rule for F {
    fn restrict(&mut self, tokens: &[u32], mask: &mut TokenMask) -> Result<(), Error> {
        self(tokens, mask);
        Ok(())
    }
}

impl Rule for Matcher {
    fn restrict(&mut self, tokens: &[u32], mask: &mut TokenMask) -> Result<(), Error> {
        mask.words = self.mask_after(tokens)?;
        Ok(())
    }

    fn forced(&mut self) -> Vec<u32> {
        Matcher::forced(self)
    }
}

/// The rule of one answer, which may remember the tokens that it has seen.
pub(super) struct AnswerRule(Box<dyn Rule>);

/// Reason why an answer has no next token.
pub(super) enum NoToken {
    /// The rule has left none.
    NoneAllowed,
    /// The rule has failed.
    Failed(Error),
}

impl AllowedTokens {
    /// A rule as a function of the answer's tokens so far. It removes tokens from the mask, which begins with all
    /// tokens of the tokenizer. If none is left, the answer ends with
    /// [`Error::NothingAllowed`](crate::Error::NothingAllowed). The model's end tokens end the answer as always, if
    /// the rule leaves them.
    pub fn new(rule: impl Fn(&[u32], &mut TokenMask) + Send + Sync + 'static) -> Self {
        let rule = Arc::new(rule);
        Self(Arc::new(move || {
            let rule = rule.clone();
            AnswerRule(Box::new(move |tokens: &[u32], mask: &mut TokenMask| rule(tokens, mask)))
        }))
    }

    /// The rule of a grammar.
    pub(super) fn of_grammar(grammar: Grammar) -> Self {
        Self(Arc::new(move || AnswerRule(Box::new(grammar.matcher()))))
    }

    /// The rule of one more answer.
    pub(super) fn begin(&self) -> AnswerRule {
        (self.0)()
    }
}

impl NoToken {
    /// The error of an answer without a token at a position.
    pub fn at(self, position: usize) -> Error {
        match self {
            Self::NoneAllowed => Error::NothingAllowed { position },
            Self::Failed(error) => error,
        }
    }
}

impl AnswerRule {
    /// The mask of the next token.
    pub fn after(&mut self, tokens: &[u32], all: &[u32]) -> Result<Vec<u32>, NoToken> {
        let mut mask = TokenMask { words: all.to_vec() };
        self.0.restrict(tokens, &mut mask).map_err(NoToken::Failed)?;
        // A rule cannot add ids that have no token.
        mask.words.iter_mut().zip(all).for_each(|(word, all)| *word &= all);
        mask.words.resize(all.len(), 0);
        match mask.words.iter().any(|word| *word != 0) {
            true => Ok(mask.words),
            false => Err(NoToken::NoneAllowed),
        }
    }
}

impl AnswerRule {
    /// Tokens that must follow those of the last mask; usually none.
    pub fn forced(&mut self) -> Vec<u32> {
        self.0.forced()
    }
}

impl fmt::Debug for AllowedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllowedTokens(..)")
    }
}

/// A set of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMask {
    words: Vec<u32>,
}

impl TokenMask {
    /// Bit `i % 32` of word `i / 32` says whether token `i` is in the set.
    pub fn words_mut(&mut self) -> &mut Vec<u32> {
        &mut self.words
    }

    /// Whether the set has a token.
    #[must_use]
    pub fn has(&self, token: u32) -> bool {
        let word = self.words.get(token as usize / 32);
        word.is_some_and(|word| (word >> (token % 32)) & 1 != 0)
    }

    /// Removes a token.
    pub fn remove(&mut self, token: u32) {
        if let Some(word) = self.words.get_mut(token as usize / 32) {
            *word &= !(1 << (token % 32));
        }
    }

    /// Keeps only these of its tokens.
    pub fn retain(&mut self, tokens: &[u32]) {
        let kept: Vec<u32> = tokens.iter().copied().filter(|token| self.has(*token)).collect();
        self.words.fill(0);
        for token in kept {
            if let Some(word) = self.words.get_mut(token as usize / 32) {
                *word |= 1 << (token % 32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_only_removes_tokens() {
        let all = [0b1011, 0b1];
        let none = AllowedTokens::new(|_, mask| mask.retain(&[2, 40]));
        assert!(matches!(none.begin().after(&[], &all), Err(NoToken::NoneAllowed)));
        let some = AllowedTokens::new(|tokens, mask| {
            mask.remove(tokens[0]);
            // Neither further ids nor missing words matter.
            mask.words_mut()[0] |= 0b100;
            mask.words_mut().truncate(1);
        });
        assert_eq!(some.begin().after(&[0], &all).ok(), Some(vec![0b1010, 0]));
        let mut mask = TokenMask { words: all.to_vec() };
        assert!(mask.has(3) && mask.has(32) && !mask.has(2) && !mask.has(64));
        mask.retain(&[32, 2, 64, 0]);
        assert_eq!(mask.words, [1, 1]);
        mask.remove(64);
        mask.remove(0);
        assert_eq!(mask.words, [0, 1]);
    }
}
