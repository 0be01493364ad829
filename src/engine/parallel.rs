//! Several sequences, a token of each in one pass: what `lfm2 bench --parallel` measures.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::runner::{Output, Runner};
use super::{Engine, SamplingOptions, Sequence};
use crate::error::Error;
use crate::gpu::{Profile, Readback, Submission};
use crate::kernels::{Batch, LogitRow, NOT_FINITE, SampleParams};
use crate::model::PassOutput;

/// Sequences of one engine that decode at once.
pub(crate) struct Parallel<'s> {
    sequences: &'s mut [Sequence],
    engine: Engine,
    runner: Arc<Runner>,
    sample: SampleParams,
    /// More than passes in flight.
    readbacks: Vec<Readback>,
    /// Passes that the host has not read, and their readbacks.
    in_flight: VecDeque<(Submission, usize)>,
    steps: usize,
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
        let first = sequences.first().ok_or(Error::EmptyPrompt)?;
        let (engine, runner) = (first.engine().clone(), first.runner.clone());
        runner.prepare(sequences.len() as u32, PassOutput::Tokens).await?;
        let mut readbacks = Vec::new();
        for _ in 0..engine.read_ahead() + 2 {
            let slots = runner.state.n_slots as usize;
            readbacks.push(runner.device.readback_for::<u32>(slots).await?);
        }
        let sample = sampling.params(sampling.seed.unwrap_or_default());
        let in_flight = VecDeque::new();
        Ok(Self { sequences, engine, runner, sample, readbacks, in_flight, steps: 0 })
    }

    /// Runs one token of each sequence and draws the next of each. As in generation, the host reads
    /// a pass when it has submitted the following ones.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`], [`Error::Gpu`], [`Error::NotFinite`].
    pub async fn step(&mut self, tokens: &[u32]) -> Result<(), Error> {
        let batch = self.batch(tokens)?;
        let readback = self.steps % self.readbacks.len();
        self.steps += 1;
        let target = (&self.readbacks[readback], Output::NextTokens);
        let submission = self.runner.submit(&batch, PassOutput::Tokens, &[target])?;
        self.in_flight.push_back((submission, readback));
        while self.in_flight.len() > self.engine.read_ahead() as usize {
            self.read().await?;
        }
        Ok(())
    }

    /// Reads the passes that have not been read.
    ///
    /// # Errors
    /// As [`Parallel::step`].
    pub async fn finish(&mut self) -> Result<(), Error> {
        while !self.in_flight.is_empty() {
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Error> {
        let Some((submission, readback)) = self.in_flight.pop_front() else { return Ok(()) };
        let drawn = self.readbacks[readback].read::<u32>(Some(&submission)).await?;
        let broken =
            |s: &&Sequence| drawn.get(s.slot as usize).is_none_or(|token| *token == NOT_FINITE);
        match self.sequences.iter().find(broken) {
            Some(sequence) => Err(Error::NotFinite { position: sequence.tokens().len() }),
            None => Ok(()),
        }
    }

    /// Times each kernel of such a pass, as [`Sequence::profile`] does.
    ///
    /// # Errors
    /// As [`Parallel::step`].
    pub async fn profile(&mut self, tokens: &[u32]) -> Result<Option<Profile>, Error> {
        let batch = self.batch(tokens)?;
        self.runner.profile(&batch).await
    }

    /// Runs such a pass and counts the experts that its rows choose: the mean over the layers with experts,
    /// or `None` without such layers.
    ///
    /// # Errors
    /// As [`Parallel::step`].
    pub async fn distinct_experts(&mut self, tokens: &[u32]) -> Result<Option<f64>, Error> {
        let Some(top_k) = self.engine.config().moe.as_ref().map(|moe| moe.top_k) else {
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
