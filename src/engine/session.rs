//! A session: one sequence and its state on the GPU.

use super::Engine;
use crate::error::Error;
use crate::kernels::{PAGE, Row, SampleParams, SeqRows};
use crate::state::MAX_REWIND;

/// One sequence. Its state stays on the GPU between answers, so that a conversation's next turn
/// computes only its new tokens. Dropping it frees the sequence.
pub struct Session {
    engine: Engine,
    slot: u32,
    pages: Vec<u32>,
    /// Tokens whose state is on the GPU, by position.
    tokens: Vec<u32>,
    /// Positions that have been written, at least `tokens.len()`. The rest was computed past a stop
    /// and is not part of the text. The conv ring can go back [`MAX_REWIND`] positions from here.
    written: usize,
}

impl Engine {
    /// A new sequence on the engine.
    ///
    /// # Errors
    /// [`Error::NoFreeSequence`] if all are taken.
    pub fn session(&self) -> Result<Session, Error> {
        Session::new(self.clone())
    }
}

impl Session {
    pub(super) fn new(engine: Engine) -> Result<Self, Error> {
        let slots = engine.inner.runner.state.n_slots;
        let slot = engine.free().slots.pop().ok_or(Error::NoFreeSequence { slots })?;
        Ok(Self { engine, slot, pages: Vec::new(), tokens: Vec::new(), written: 0 })
    }

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
        self.written = 0;
    }

    pub(super) fn check_prompt(&self, prompt: &[u32]) -> Result<(), Error> {
        let vocab = self.engine.config().vocab_size;
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        match prompt.iter().position(|id| *id as usize >= vocab) {
            Some(index) => Err(Error::TokenOutOfRange { index, id: prompt[index], vocab }),
            None => Ok(()),
        }
    }

    /// Goes back to the longest prefix of `prompt` whose state can be reused, and returns its
    /// length: at most `prompt.len() - 1`, since the last token must run for its logits.
    pub(super) fn reuse(&mut self, prompt: &[u32]) -> usize {
        let common = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let kept = common.min(prompt.len() - 1);
        let kept = if self.written - kept > MAX_REWIND as usize { 0 } else { kept };
        self.tokens.truncate(kept);
        if kept == 0 {
            self.written = 0;
        }
        kept
    }

    /// Takes pages for positions below `positions`.
    pub(super) fn reserve(&mut self, positions: usize) -> Result<(), Error> {
        let need = positions.div_ceil(PAGE as usize);
        let mut free = self.engine.free();
        while self.pages.len() < need {
            let slots = self.engine.inner.runner.state.n_slots;
            self.pages.push(free.pages.take().ok_or(Error::NoFreeSequence { slots })?);
        }
        Ok(())
    }

    /// The rows of this session's next pass: `tokens` at the positions from `first_position` on.
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
        }
    }

    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    /// Records that the state of `tokens` is on the GPU and that positions below `written` were
    /// written.
    pub(super) fn advance(&mut self, tokens: &[u32], written: usize) {
        self.tokens.extend_from_slice(tokens);
        self.written = self.written.max(written);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut free = self.engine.free();
        free.slots.push(self.slot);
        free.pages.give_back(self.pages.drain(..));
    }
}
