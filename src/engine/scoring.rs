//! Scores a given text: the log-probability of each of its tokens.

use super::runner::Output;
use super::{LogprobsOptions, Sequence, TokenLogprobs};
use crate::error::Error;
use crate::kernels::{Batch, LOGPROBS_WORDS, LogitRow, LogprobsMode, RowLogprobs, SampleParams};
use crate::model::PassOutput;

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
            let _passes = runner.prepare(piece.len() as u32, output, self.lora.is_some()).await?;
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
