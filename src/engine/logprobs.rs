//! Log-probabilities of tokens.

use crate::error::Error;
use crate::kernels::{LogprobsMode, MAX_TOP_LOGPROBS, RowLogprobs};

/// Log-probabilities that an answer's tokens have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogprobsOptions {
    /// Number of the most probable tokens beside the drawn one, at most [`MAX_TOP_LOGPROBS`].
    pub top: u32,
    /// The distribution.
    pub mode: LogprobsMode,
}

impl LogprobsOptions {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.top <= MAX_TOP_LOGPROBS {
            return Ok(());
        }
        let need = format!("at most {MAX_TOP_LOGPROBS}");
        Err(Error::Option { option: "top_logprobs", got: self.top.to_string(), need })
    }

    /// These options for the token that a row draws.
    pub(super) fn of_drawn(self) -> RowLogprobs {
        RowLogprobs { token: None, top: self.top, mode: self.mode }
    }
}

/// A token, its log-probability, and the most probable tokens at its position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenLogprobs {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The most probable tokens with their log-probabilities, most probable first. They may include `token`, and are
    /// fewer than asked for only if fewer tokens may be drawn.
    pub top: Vec<(u32, f32)>,
}

impl TokenLogprobs {
    /// Reads a row of the kernel's output.
    pub(super) fn from_words(words: &[u32], top: u32) -> Self {
        let mut pairs = words.chunks_exact(2).map(|pair| (pair[0], f32::from_bits(pair[1])));
        let (token, logprob) = pairs.next().unwrap_or_default();
        // The rest of a list that is too short.
        const NOTHING: u32 = u32::MAX;
        let listed = pairs.take(top as usize).take_while(|(token, _)| *token != NOTHING);
        Self { token, logprob, top: listed.collect() }
    }
}
