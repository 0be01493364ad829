//! Masks of the tokens that may be drawn, in the engine's loop, and tokens that must follow.

use super::stepper::Stepper;
use crate::kernels::Batch;
use crate::schedule::{Draw, SeqId};

/// Fewest forced tokens that are appended: a single one takes a pass in any case.
const LEAST_FORCED: usize = 2;
/// Most of them at once: passes of more rows may use other kernels.
const MOST_FORCED: usize = 64;

impl Stepper {
    /// Whether masks of a batch follow from tokens that the host has not read. The batch's pass then begins before
    /// they are read, and draws after.
    pub(super) fn waits_for_tokens(&self, batch: &Batch) -> bool {
        let mut rows = batch.seqs.iter().flat_map(|seq| &seq.logit_rows);
        !self.in_flight.is_empty() && rows.any(|row| row.allowed != 0)
    }

    /// Uploads the masks of a batch's answers with a rule for the tokens that may be drawn. Tokens that a rule forces
    /// are appended: their rows are computed together, and nothing is drawn for them.
    pub(super) fn write_masks(&mut self, batch: &Batch, draws: &[Draw]) {
        let core = self.core.clone();
        let runner = core.runner();
        for draw in draws {
            let id = draw.seq;
            if !batch.seqs.iter().any(|seq| seq.slot == draw.slot) {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let Some(rule) = &mut job.allowed else { continue };
            // The rule may take long, and callers need the scheduler meanwhile.
            let tokens = core.scheduler().tokens(id)[job.prompt_len..].to_vec();
            let mut forced = Vec::new();
            match rule.after(&tokens, &core.all_tokens) {
                Ok(mask) => {
                    let at = (1 + draw.slot as usize) * mask.len();
                    runner.device.write(&runner.scratch.allowed, at, &mask);
                    // Only drawn tokens have log-probabilities.
                    if job.logprobs.is_none() {
                        forced = rule.forced();
                    }
                }
                Err(reason) => job.no_token = Some(reason),
            }
            forced.truncate(MOST_FORCED);
            if forced.len() >= LEAST_FORCED {
                self.append(id, &forced);
            }
        }
    }

    fn append(&mut self, id: SeqId, tokens: &[u32]) {
        let appended = self.core.scheduler().append(id, tokens);
        for token in &tokens[..appended] {
            // A stop string may end the answer.
            self.take_token(id, *token, None);
        }
    }
}
