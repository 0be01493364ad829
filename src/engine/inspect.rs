//! Inspection of a pass: all logits of a text, every intermediate, the time of each kernel.

use super::Sequence;
use super::runner::Output;
use crate::error::Error;
use crate::gpu::Profile;
use crate::kernels::{Batch, LogitRow, SampleParams};
use crate::model::PassOutput;

/// Named intermediates of one pass, as 32-bit words (f32 bits, or u32 for expert ids).
pub type Trace = Vec<(String, Vec<u32>)>;

impl Sequence {
    /// Runs `tokens`, continuing the sequence, and makes no logits.
    ///
    /// # Errors
    /// As [`Sequence::logits`].
    pub async fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check_room(tokens)?;
        let runner = self.runner.clone();
        for piece in tokens.chunks(runner.max_rows as usize) {
            // Without logit rows no token is drawn.
            let output = PassOutput::Tokens;
            let _passes = runner.prepare(piece.len() as u32, output, self.lora.is_some()).await?;
            let batch = self.next_batch(piece, Vec::new(), SampleParams::GREEDY)?;
            runner.learn_first(&batch, output).await?;
            let submission = runner.submit(&batch, output, &[])?;
            runner.device.wait_for(&submission).await?;
        }
        Ok(())
    }

    /// The logits after each token, `[tokens.len(), vocab_size]`, continuing the sequence, at most
    /// `chunk` tokens a pass. The first call allocates up to 64 MiB on the GPU beyond
    /// [`Engine::memory`](super::Engine::memory).
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::ContextFull`], [`Error::Gpu`].
    pub async fn logits(&mut self, tokens: &[u32], chunk: usize) -> Result<Vec<f32>, Error> {
        let mut all = Vec::new();
        for piece in self.pieces(tokens, chunk)? {
            let runner = self.runner.clone();
            let output = PassOutput::Logits;
            let _passes = runner.prepare(piece.len() as u32, output, self.lora.is_some()).await?;
            let len = piece.len() * runner.config.vocab_size;
            let target = runner.device.readback_for::<f32>(len).await?;
            let batch = self.inspected(piece)?;
            runner.learn_first(&batch, output).await?;
            let submission = runner.submit(&batch, output, &[(&target, Output::Logits)])?;
            all.extend(target.read::<f32>(Some(&submission)).await?);
        }
        Ok(all)
    }

    /// Runs `tokens` in one pass, continuing the sequence, and returns every named intermediate:
    /// `model.embed_tokens`, `model.layers.N` (the residual stream after layer N),
    /// `model.layers.N.feed_forward.ids` and `.gates`, and `logits`. Buffers are returned whole:
    /// rows beyond the pass hold older values.
    ///
    /// # Errors
    /// As [`Sequence::logits`]; also [`Error::Option`] for more tokens than one pass takes.
    pub async fn trace(&mut self, tokens: &[u32]) -> Result<Trace, Error> {
        let pieces = self.pieces(tokens, tokens.len())?;
        let [piece] = pieces[..] else {
            return Err(Error::Option {
                option: "tokens",
                got: tokens.len().to_string(),
                need: "as many as one pass takes".to_owned(),
            });
        };
        let batch = self.inspected(piece)?;
        self.runner.trace(&batch).await
    }

    /// Runs `tokens` in one pass, continuing the sequence, and returns the GPU time of each kernel:
    /// medians of several replays, after a warm-up of 0.3 s. `None` if the device has no
    /// timestamps. Only the last token's logits are computed, as in generation. Nothing else may
    /// run on the engine meanwhile.
    ///
    /// # Errors
    /// As [`Sequence::trace`].
    pub async fn profile(&mut self, tokens: &[u32]) -> Result<Option<Profile>, Error> {
        self.engine().check_prompt(tokens)?;
        let last = vec![LogitRow::new(tokens.len() as u32 - 1)];
        let batch = self.next_batch(tokens, last, SampleParams::GREEDY)?;
        self.runner.profile(&batch).await
    }

    pub(super) fn pieces<'a>(
        &self,
        tokens: &'a [u32],
        chunk: usize,
    ) -> Result<Vec<&'a [u32]>, Error> {
        self.check_room(tokens)?;
        let runner = &self.runner;
        Ok(tokens.chunks(chunk.clamp(1, runner.inspected_rows())).collect())
    }

    /// Refuses invalid tokens, and more tokens than the context has room for.
    pub(super) fn check_room(&self, tokens: &[u32]) -> Result<(), Error> {
        self.engine().check_prompt(tokens)?;
        let (context, have) = (self.engine().context_length(), self.tokens().len());
        if have + tokens.len() > context {
            return Err(Error::ContextFull {
                prompt: have + tokens.len(),
                context,
                most: self.engine().config().max_position_embeddings,
            });
        }
        Ok(())
    }

    /// A batch of these tokens at the sequence's next positions, with the logits of all of them.
    fn inspected(&mut self, tokens: &[u32]) -> Result<Batch, Error> {
        let rows = (0..tokens.len() as u32).map(LogitRow::new).collect();
        self.next_batch(tokens, rows, SampleParams::GREEDY)
    }

    /// A batch of these tokens at the sequence's next positions, with the logits of `logit_rows`.
    pub(super) fn next_batch(
        &mut self,
        tokens: &[u32],
        logit_rows: Vec<LogitRow>,
        sample: SampleParams,
    ) -> Result<Batch, Error> {
        let first = self.tokens().len();
        let end = first + tokens.len();
        self.reserve(end)?;
        let rows = self.rows(first, tokens.iter().copied(), end, sample, logit_rows);
        self.advance(tokens);
        Ok(Batch { seqs: vec![rows] })
    }
}
