//! A sequence whose passes the caller runs: for logits, intermediates and profiles.

use std::sync::Arc;

use super::Engine;
use super::answer::LoraChoice;
use super::loras::LoraOfSeq;
use super::runner::Runner;
use crate::error::Error;
use crate::kernels::{LogitRow, PAGE, Row, SampleParams, SeqRows};
use crate::state::MAX_REWIND;

/// A sequence outside the engine's schedule: its caller runs tokens and reads logits or intermediates.
/// It occupies a slot and pages of the engine until it is dropped. After the loss of the device it only returns that
/// error.
pub struct Sequence {
    engine: Engine,
    /// The model on the device that has this sequence's state.
    pub(super) runner: Arc<Runner>,
    /// Its place among the states on the GPU.
    pub(super) slot: u32,
    pub(super) lora: Option<LoraOfSeq>,
    pages: Vec<u32>,
    /// Tokens whose state is on the GPU, by position.
    tokens: Vec<u32>,
    /// One past the furthest position that has run since position 0.
    furthest: usize,
}

impl Engine {
    /// A new sequence on the engine.
    ///
    /// # Errors
    /// [`Error::NoFreeSequence`] if all are taken.
    pub fn sequence(&self) -> Result<Sequence, Error> {
        let runner = self.runner();
        let slots = runner.state.n_slots;
        let slot = self.scheduler().lease_slot().ok_or(Error::NoFreeSequence { slots })?;
        Ok(Sequence {
            engine: self.clone(),
            runner,
            slot,
            lora: None,
            pages: Vec::new(),
            tokens: Vec::new(),
            furthest: 0,
        })
    }
}

impl Sequence {
    /// The engine it runs on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs later tokens with a LoRA adapter, or with the model alone.
    ///
    /// # Errors
    /// [`Error::Lora`] if there is none of this name, [`Error::Option`] if tokens have run: their state would be
    /// another adapter's.
    pub fn set_lora(&mut self, choice: Option<&LoraChoice>) -> Result<(), Error> {
        if !self.tokens.is_empty() {
            let (got, need) =
                (format!("{} tokens", self.tokens.len()), "a new sequence".to_owned());
            return Err(Error::Option { option: "lora", got, need });
        }
        self.lora = self.engine.lora(choice)?;
        Ok(())
    }

    /// Tokens whose state is on the GPU.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets the tokens from `position` on, e.g. drafts that were rejected: 0, or at most 14 positions before
    /// the furthest that has run, since the convolutions keep no earlier inputs.
    ///
    /// # Errors
    /// [`Error::Option`] for other positions; then nothing changes.
    pub fn rewind(&mut self, position: usize) -> Result<(), Error> {
        let (have, least) = (self.tokens.len(), self.furthest.saturating_sub(MAX_REWIND as usize));
        if position > have || (position > 0 && position < least) {
            let need = format!("0, or {least} to {have}");
            return Err(Error::Option { option: "position", got: position.to_string(), need });
        }
        self.tokens.truncate(position);
        if position == 0 {
            self.furthest = 0;
        }
        Ok(())
    }

    /// Takes pages for positions below `positions`.
    pub(super) fn reserve(&mut self, positions: usize) -> Result<(), Error> {
        let need = positions.div_ceil(PAGE as usize);
        let mut scheduler = self.engine.scheduler();
        while self.pages.len() < need {
            let slots = self.runner.state.n_slots;
            self.pages.push(scheduler.lease_page().ok_or(Error::NoFreeSequence { slots })?);
        }
        Ok(())
    }

    /// The rows of this sequence's next pass: `tokens` at the positions from `first_position` on.
    pub(super) fn rows(
        &self,
        first_position: usize,
        tokens: impl Iterator<Item = u32>,
        generated_from: usize,
        sample: SampleParams,
        logit_rows: Vec<LogitRow>,
    ) -> SeqRows {
        let rows: Vec<Row> = (first_position as u32..)
            .zip(tokens)
            .map(|(position, token)| Row { token, position })
            .collect();
        let end = first_position + rows.len();
        SeqRows {
            slot: self.slot,
            lora: self.lora.as_ref().map(LoraOfSeq::place),
            rows,
            generated_from: generated_from as u32,
            sample,
            pages: self.pages[..end.div_ceil(PAGE as usize)].to_vec(),
            logit_rows,
            snapshot_columns: Vec::new(),
        }
    }

    /// Records that the state of `tokens` is on the GPU.
    pub(super) fn advance(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
        self.furthest = self.furthest.max(self.tokens.len());
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.engine.scheduler().end_lease(self.slot, self.pages.drain(..));
        self.engine.wake();
    }
}
