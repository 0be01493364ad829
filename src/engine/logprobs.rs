//! Log-probabilities of tokens.

use super::Sequence;
use super::runner::Output;
use crate::error::Error;
use crate::kernels::{
    Batch, LOGPROBS_WORDS, LogitRow, LogprobsMode, MAX_TOP_LOGPROBS, RowLogprobs, SampleParams,
};
use crate::model::PassOutput;

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

    /// What a row needs for the token that it draws.
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

impl Sequence {
    /// Runs `tokens`, continuing the sequence, and returns after each the log-probability of the token of `next` at the
    /// same index, with the `top` most probable tokens. To score a text, pass it without its last token, and
    /// without its first. The distribution is [`LogprobsMode::Raw`]. `chunk`: most tokens a pass. The first call
    /// allocates up to 64 MiB on the GPU beyond [`Engine::memory`](super::Engine::memory), and later ones nothing.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::ContextFull`], [`Error::Gpu`]; [`Error::Option`] if
    /// `next` has another length than `tokens`, or `top` is too large; [`Error::NotFinite`] if the model's output is
    /// broken.
    pub async fn logprobs(
        &mut self,
        tokens: &[u32],
        next: &[u32],
        top: u32,
        chunk: usize,
    ) -> Result<Vec<TokenLogprobs>, Error> {
        LogprobsOptions { top, mode: LogprobsMode::Raw }.check()?;
        self.engine().check_prompt(next)?;
        if next.len() != tokens.len() {
            let (got, need) = (next.len().to_string(), format!("{} tokens", tokens.len()));
            return Err(Error::Option { option: "next", got, need });
        }
        let mut all = Vec::with_capacity(tokens.len());
        let mut next = next.iter();
        for piece in self.pieces(tokens, chunk)? {
            let first = self.tokens().len();
            let runner = self.runner.clone();
            let output = PassOutput::Logprobs;
            runner.prepare(piece.len() as u32, output).await?;
            let target = runner.device.readback_for::<u32>(piece.len() * LOGPROBS_WORDS).await?;
            let wanted =
                |token: &u32| RowLogprobs { token: Some(*token), top, mode: LogprobsMode::Raw };
            let rows = (0..).zip(next.by_ref().take(piece.len()));
            let rows = rows.map(|(row, token)| LogitRow {
                logprobs: Some(wanted(token)),
                ..LogitRow::new(row)
            });
            let batch: Batch = self.next_batch(piece, rows.collect(), SampleParams::GREEDY)?;
            runner.learn_first(&batch, output).await?;
            let submission = runner.submit(&batch, output, &[(&target, Output::Logprobs)])?;
            let words = target.read::<u32>(Some(&submission)).await?;
            let rows = words.chunks_exact(LOGPROBS_WORDS);
            all.extend(rows.map(|row| TokenLogprobs::from_words(row, top)));
            let own = &all[all.len() - piece.len()..];
            if let Some(index) = own.iter().position(|one| !one.logprob.is_finite()) {
                return Err(Error::NotFinite { position: first + index });
            }
        }
        Ok(all)
    }
}
