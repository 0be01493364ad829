//! Log-probabilities in the engine's loop: those of drawn tokens, and those of prompts.

use super::TokenLogprobs;
use super::runner::Output;
use super::stepper::Stepper;
use crate::error::Error;
use crate::gpu::{Readback, Submission};
use crate::kernels::{Batch, LOGPROBS_WORDS, LogitRow, LogprobsMode, Row, RowLogprobs, SeqRows};
use crate::model::PassOutput;
use crate::schedule::{ChunkRows, Draw, SeqId};

impl Stepper {
    /// A readback for the log-probabilities of a pass, and the sequences of its logit rows; `None` if none are wanted.
    pub(super) async fn logprobs_readback(
        &self,
        batch: &Batch,
        draws: &[Draw],
    ) -> Result<Option<(Readback, Vec<SeqId>)>, Error> {
        let drawing = || batch.seqs.iter().filter(|seq| !seq.logit_rows.is_empty());
        if !drawing().any(|seq| seq.logit_rows[0].logprobs.is_some()) {
            return Ok(None);
        }
        let seq_of = |slot: u32| draws.iter().find(|draw| draw.slot == slot).map(|draw| draw.seq);
        let seqs: Vec<SeqId> = drawing().filter_map(|seq| seq_of(seq.slot)).collect();
        let words = seqs.len() * LOGPROBS_WORDS;
        Ok(Some((self.core.runner().device.readback_for::<u32>(words).await?, seqs)))
    }

    /// Submits the pass that scores prompts: the log-probability of each row's next token.
    pub(super) async fn submit_scored(
        &self,
        chunk: &[ChunkRows],
    ) -> Result<Option<(Readback, Submission)>, Error> {
        let batch =
            Batch { seqs: chunk.iter().filter_map(|rows| self.scored_rows(rows)).collect() };
        if batch.seqs.is_empty() {
            return Ok(None);
        }
        let (runner, output) = (self.core.runner(), PassOutput::Logprobs);
        let _passes = runner.prepare(batch.n_rows() as u32, output, batch.has_lora()).await?;
        let words = batch.n_logit_rows() * LOGPROBS_WORDS;
        let target = runner.device.readback_for::<u32>(words).await?;
        runner.learn_first(&batch, output).await?;
        let submission = runner.submit(&batch, output, &[(&target, Output::Logprobs)])?;
        Ok(Some((target, submission)))
    }

    fn scored_rows(&self, rows: &ChunkRows) -> Option<SeqRows> {
        let top = self.jobs.get(&rows.seq)?.scored?;
        let scheduler = self.core.scheduler();
        let tokens = scheduler.tokens(rows.seq).get(rows.start..=rows.end)?;
        let row = |(position, token): (u32, &u32)| Row { token: *token, position };
        let all = (rows.start as u32..).zip(&tokens[..tokens.len() - 1]).map(row).collect();
        let mut seq = self.seq_rows(&scheduler, (rows.seq, rows.slot), all, false, &[])?;
        let mode = LogprobsMode::Raw;
        let score = |(row, token): (u32, &u32)| LogitRow {
            logprobs: Some(RowLogprobs { token: Some(*token), top, mode }),
            ..LogitRow::new(row)
        };
        seq.logit_rows = (0..).zip(&tokens[1..]).map(score).collect();
        Some(seq)
    }

    /// Hands out the log-probabilities of prompts. `words` has those of all rows of the chunk.
    pub(super) fn scored(&mut self, chunk: &[ChunkRows], words: &[u32]) {
        let mut words = words.chunks_exact(LOGPROBS_WORDS);
        for rows in chunk {
            // A step begins only with answers whose readers were there, so all rows of the chunk ran.
            let all: Vec<_> = words.by_ref().take(rows.end - rows.start).collect();
            let Some(job) = self.jobs.get_mut(&rows.seq) else { continue };
            let top = job.scored.unwrap_or_default();
            let scores: Vec<_> =
                all.into_iter().map(|row| TokenLogprobs::from_words(row, top)).collect();
            match scores.iter().position(|one| !one.logprob.is_finite()) {
                Some(index) => {
                    self.fail(rows.seq, Error::NotFinite { position: rows.start + index });
                }
                None => job.took_scores(rows.start, rows.end, scores),
            }
        }
    }
}
