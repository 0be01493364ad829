//! A sequence whose passes the caller runs: for logits, intermediates and profiles.

use super::Engine;
use crate::error::Error;
use crate::kernels::{PAGE, Row, SampleParams, SeqRows};

/// A sequence outside the engine's schedule: its caller runs tokens and reads logits or intermediates.
/// It occupies a slot and pages of the engine until it is dropped.
pub struct Sequence {
    engine: Engine,
    /// Its place among the states on the GPU.
    pub(super) slot: u32,
    pages: Vec<u32>,
    /// Tokens whose state is on the GPU, by position.
    tokens: Vec<u32>,
}

impl Engine {
    /// A new sequence on the engine.
    ///
    /// # Errors
    /// [`Error::NoFreeSequence`] if all are taken.
    pub fn sequence(&self) -> Result<Sequence, Error> {
        let slots = self.runner().state.n_slots;
        let slot = self.scheduler().lease_slot().ok_or(Error::NoFreeSequence { slots })?;
        Ok(Sequence { engine: self.clone(), slot, pages: Vec::new(), tokens: Vec::new() })
    }
}

impl Sequence {
    /// The engine it runs on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Tokens whose state is on the GPU.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Takes pages for positions below `positions`.
    pub(super) fn reserve(&mut self, positions: usize) -> Result<(), Error> {
        let need = positions.div_ceil(PAGE as usize);
        let mut scheduler = self.engine.scheduler();
        while self.pages.len() < need {
            let slots = self.engine.runner().state.n_slots;
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
        logit_rows: Vec<u32>,
    ) -> SeqRows {
        let rows: Vec<Row> = (first_position as u32..)
            .zip(tokens)
            .map(|(position, token)| Row { token, position })
            .collect();
        let end = first_position + rows.len();
        SeqRows {
            slot: self.slot,
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
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.engine.scheduler().end_lease(self.slot, self.pages.drain(..));
        self.engine.wake();
    }
}
