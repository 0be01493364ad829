//! Cases of log-probabilities, which run beside those of sampling.

use super::Rng;
use super::compare::{Comparison, EPSILON};
use crate::kernels::{Batch, LOGPROBS_WORDS, LogprobsMode, NOT_FINITE, RowLogprobs};
use crate::reference::{largest, log_softmax};

/// Lets two of three logit rows want log-probabilities: of the model's own logits, some of them of a given
/// token, or of the processed ones.
pub(super) fn want_logprobs(batch: &mut Batch, top: u32, vocab: usize, rng: &mut Rng) {
    let rows = batch.seqs.iter_mut().flat_map(|seq| &mut seq.logit_rows);
    for (i, row) in rows.enumerate() {
        let given = rng.below(vocab) as u32;
        let (mode, token) = match i % 3 {
            0 => (LogprobsMode::Raw, (rng.below(2) == 0).then_some(given)),
            1 => (LogprobsMode::Processed, None),
            _ => continue,
        };
        row.logprobs = Some(RowLogprobs { token, top, mode });
    }
}

/// A logit row whose log-probabilities are compared.
pub(super) struct LogprobsRow<'a> {
    pub wanted: RowLogprobs,
    /// The logits of its distribution.
    pub logits: &'a [f32],
    /// Tokens that are listed.
    pub allowed: &'a [bool],
    /// The token that the kernels drew.
    pub drawn: u32,
    /// The kernel's output, [`LOGPROBS_WORDS`] words.
    pub words: &'a [u32],
}

impl LogprobsRow<'_> {
    /// Compares it with the twin's.
    pub fn compare(&self, c: &mut Comparison) {
        let Self { wanted, logits, allowed, words, .. } = self;
        debug_assert_eq!(words.len(), LOGPROBS_WORDS);
        let counted = |id: usize| wanted.mode == LogprobsMode::Raw || allowed[id];
        if (0..logits.len()).any(|id| counted(id) && !logits[id].is_finite()) {
            // The answer ends with an error.
            return;
        }
        let all = log_softmax(logits, counted);
        let ids = largest(logits, wanted.top as usize, |id| allowed[id]);
        let token = wanted.token.unwrap_or(self.drawn);
        let mut want_ids = vec![token];
        want_ids.extend(ids.iter().map(|id| *id as u32));
        want_ids.resize(1 + wanted.top as usize, u32::MAX);
        let pairs: Vec<&[u32]> = words.chunks(2).take(want_ids.len()).collect();
        let got_ids: Vec<u32> = pairs.iter().map(|pair| pair[0]).collect();
        c.exact("tokens of log-probabilities", &got_ids, &want_ids);
        let known = |id: &u32| all.get(*id as usize).map_or(0.0, |p| *p as f32);
        let real = want_ids.iter().take_while(|id| **id != u32::MAX && **id != NOT_FINITE);
        let want: Vec<f32> = real.map(known).collect();
        let got: Vec<f32> = pairs.iter().take(want.len()).map(|p| f32::from_bits(p[1])).collect();
        let largest = logits.iter().fold(0.0f32, |most, l| most.max(l.abs()));
        c.floats("log-probabilities", &got, &want, |at| {
            // Rounding of l - high, of the sum's terms, and of log.
            (f64::from(want[at].abs()) + f64::from(largest)) * 4.0 * EPSILON + 4e-6
        });
    }
}
