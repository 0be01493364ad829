//! Masks of the tokens that may be drawn, in the engine's loop.

use super::stepper::Stepper;
use crate::kernels::Batch;
use crate::schedule::SeqId;

impl Stepper {
    /// Whether masks of a batch follow from tokens that the host has not read. The batch's pass then begins before
    /// they are read, and draws after.
    pub(super) fn waits_for_tokens(&self, batch: &Batch) -> bool {
        let mut rows = batch.seqs.iter().flat_map(|seq| &seq.logit_rows);
        !self.in_flight.is_empty() && rows.any(|row| row.allowed != 0)
    }

    /// Uploads the masks of a batch's answers with a rule for the tokens that may be drawn.
    pub(super) fn write_masks(&mut self, batch: &Batch, draws: &[(SeqId, u32, u32)]) {
        let core = self.core.clone();
        let runner = core.runner();
        for (id, _, slot) in draws {
            if !batch.seqs.iter().any(|seq| seq.slot == *slot) {
                continue;
            }
            let Some(job) = self.jobs.get_mut(id) else { continue };
            let Some(rule) = &mut job.allowed else { continue };
            // The rule may take long, and callers need the scheduler meanwhile.
            let tokens = core.scheduler().tokens(*id)[job.prompt_len..].to_vec();
            match rule.after(&tokens, &core.all_tokens) {
                Ok(mask) => {
                    let at = (1 + *slot as usize) * mask.len();
                    runner.device.write(&runner.scratch.allowed, at, &mask);
                }
                Err(reason) => job.no_token = Some(reason),
            }
        }
    }
}
