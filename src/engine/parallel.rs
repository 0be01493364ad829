//! Several sequences, a token of each in one pass, for the details that `lfm2 bench --parallel` prints.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::runner::Runner;
use super::{SamplingOptions, Sequence};
use crate::error::Error;
use crate::gpu::Profile;
use crate::kernels::{Batch, LogitRow, SampleParams};
use crate::model::PassOutput;

/// Sequences of one engine that decode at once.
pub(crate) struct Parallel<'s> {
    sequences: &'s mut [Sequence],
    runner: Arc<Runner>,
    sample: SampleParams,
}

impl<'s> Parallel<'s> {
    /// Prepares passes of one row for each sequence.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] without sequences, [`Error::Gpu`].
    pub async fn new(
        sequences: &'s mut [Sequence],
        sampling: &SamplingOptions,
    ) -> Result<Self, Error> {
        let runner = sequences.first().ok_or(Error::EmptyPrompt)?.runner.clone();
        let lora = sequences.iter().any(|sequence| sequence.lora.is_some());
        runner.prepare(sequences.len() as u32, PassOutput::Tokens, lora).await?;
        let sample = sampling.params(sampling.seed.unwrap_or_default());
        Ok(Self { sequences, runner, sample })
    }

    /// Times each kernel of such a pass, as [`Sequence::profile`] does.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`], [`Error::ContextFull`], [`Error::Gpu`].
    pub async fn profile(&mut self, tokens: &[u32]) -> Result<Option<Profile>, Error> {
        let batch = self.batch(tokens)?;
        self.runner.profile(&batch).await
    }

    /// Runs such a pass and counts the experts that its rows choose: the mean over the layers with experts,
    /// or `None` without such layers.
    ///
    /// # Errors
    /// As [`Parallel::profile`].
    pub async fn distinct_experts(&mut self, tokens: &[u32]) -> Result<Option<f64>, Error> {
        let Some(top_k) = self.runner.config.moe.as_ref().map(|moe| moe.top_k) else {
            return Ok(None);
        };
        let mut batch = self.batch(tokens)?;
        for seq in &mut batch.seqs {
            seq.logit_rows.clear();
        }
        let trace = self.runner.trace(&batch).await?;
        let chosen = |ids: &[u32]| {
            let own = ids.iter().take(tokens.len() * top_k);
            own.collect::<BTreeSet<_>>().len() as f64
        };
        let layers = trace.iter().filter(|(name, _)| name.ends_with(".feed_forward.ids"));
        let counts: Vec<f64> = layers.map(|(_, ids)| chosen(ids)).collect();
        Ok((!counts.is_empty()).then(|| counts.iter().sum::<f64>() / counts.len() as f64))
    }

    fn batch(&mut self, tokens: &[u32]) -> Result<Batch, Error> {
        let mut seqs = Vec::new();
        for (sequence, token) in self.sequences.iter_mut().zip(tokens) {
            let token = std::slice::from_ref(token);
            sequence.check_room(token)?;
            let row = vec![LogitRow::new(0)];
            seqs.extend(sequence.next_batch(token, row, self.sample.clone())?.seqs);
        }
        Ok(Batch { seqs })
    }
}
