//! Runs batches: the plans of a loaded model and the buffers they work on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use web_time::Instant;

use super::passes::{AdaptedPasses, Passes, PlanKey, lock};
use super::progress::Reporter;
use crate::error::Error;
use crate::gpu::{
    Device, GpuError, OnCompiled, Plan, Profile, Readback, Recorder, StepShape, Submission, Tensor,
    Variant,
};
use crate::kernels::{Batch, Choices, LogprobsBuffers, PAGE, SeqRows};
use crate::model::{Forward, ModelConfig, PassOutput, Scratch, Weights};
use crate::state::State;

/// Target duration of one submission of a long pass, in seconds. Drivers reset a device after about
/// two.
const SUBMISSION_SECONDS: f64 = 0.1;
/// Most rows of a pass that is always one submission. At 0.05 T multiply-adds a second, which is slow for an integrated
/// GPU, eight rows of LFM2-8B-A1B take a quarter of a second.
const WHOLE_ROWS: u32 = 8;
/// Bytes of logits of one inspected pass; more rows take more passes.
const INSPECTED_BYTES: usize = 64 << 20;
/// Work of the device before a profile begins: an idle GPU has a slow clock.
const WARM_UP: Duration = Duration::from_millis(300);

/// The model's buffers and its recorded passes.
pub(super) struct Runner {
    pub device: Device,
    pub config: ModelConfig,
    pub state: State,
    pub scratch: Scratch,
    pub choices: Choices,
    /// Most rows of a pass.
    pub max_rows: u32,
    batch_table: Tensor<u32>,
    /// The model itself.
    base: Arc<Passes>,
    /// With LoRA adapters.
    pub(super) adapted: AdaptedPasses,
    /// The lock is held while a batch is uploaded and submitted, since all batches share one table.
    pub(super) pace: Mutex<Pace>,
    /// Buffers of passes that draw no token; made for the first such pass.
    inspected: Mutex<Option<Arc<Inspected>>>,
}

/// Output buffers of passes that draw no token.
struct Inspected {
    /// `[rows, vocab_size]`.
    logits: Tensor<f32>,
    logprobs: LogprobsBuffers,
}

/// Output of a pass that the host reads. It is copied in the pass's own submission, before another
/// pass can overwrite it.
pub(super) enum Output {
    /// The tokens that were drawn last for all slots.
    NextTokens,
    /// The log-probabilities of all logit rows, `[logit rows, LOGPROBS_WORDS]`.
    Logprobs,
    /// The logits of all logit rows.
    Logits,
}

/// The part of a batch that is submitted.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    UntilDraws,
    Draws,
}

/// Estimate of the device's speed.
pub(super) struct Pace {
    pub macs_per_second: f64,
    /// Whether the speed was measured.
    pub known: bool,
}

impl Pace {
    /// A low guess, for a first long pass from which nothing could be learnt. No watchdog ends a
    /// software adapter's work; discrete GPUs are at least ten times as fast as the slowest
    /// integrated ones.
    fn guess(device: &Device) -> Self {
        let macs_per_second = if device.adapter().kind == "discrete" { 200e9 } else { 20e9 };
        Self { macs_per_second, known: false }
    }

    /// Multiply-adds of one submission.
    fn macs(&self) -> u64 {
        (self.macs_per_second * SUBMISSION_SECONDS) as u64
    }

    /// The speed at which `macs` multiply-adds take `seconds`.
    fn measured(macs: u64, seconds: f64) -> Self {
        let macs_per_second = (macs as f64 / seconds.max(1e-6)).clamp(1e8, 1e15);
        Self { macs_per_second, known: true }
    }
}

impl Runner {
    /// Makes the batch table. [`Runner::compile`] makes the plans.
    pub async fn new(
        device: Device,
        config: ModelConfig,
        weights: Weights,
        state: State,
        scratch: Scratch,
        choices: Choices,
        max_rows: u32,
    ) -> Result<Self, Error> {
        let pages = state.context.div_ceil(PAGE) as usize;
        let words = Batch::capacity(max_rows as usize, state.n_slots as usize, pages);
        let batch_table = device.tensor("batch", words).await?;
        let pace = Mutex::new(Pace::guess(&device));
        Ok(Self {
            device,
            config,
            state,
            scratch,
            choices,
            max_rows,
            batch_table,
            base: Arc::new(Passes::new(weights)),
            adapted: AdaptedPasses::default(),
            pace,
            inspected: Mutex::new(None),
        })
    }

    /// Records the plans that generation needs and compiles their kernels. All are recorded before the
    /// first kernel is compiled, so that progress has a total.
    pub async fn compile(self, reporter: Reporter) -> Result<Self, Error> {
        self.compile_passes(&self.base, &|done, total| reporter.kernels(done, total)).await?;
        if reporter.stopped() {
            return Err(Error::Cancelled);
        }
        Ok(self)
    }

    /// Records and compiles the plans that generation needs.
    pub(super) async fn compile_passes(
        &self,
        passes: &Passes,
        progress: OnCompiled<'_>,
    ) -> Result<(), Error> {
        let recorded = self.record_all(&passes.weights);
        let variants = recorded.iter().flat_map(|(_, r)| r.variants());
        self.device.compile(variants, progress).await?;
        for (key, recorder) in recorded {
            passes.insert(key, recorder.finish(&self.device, &self.batch_table).await?);
        }
        Ok(())
    }

    /// The weights of the model itself.
    pub fn weights(&self) -> &Weights {
        &self.base.weights
    }

    /// The kernel variants of the plans that generation needs, each once, in order of first use.
    pub fn variants(&self) -> Vec<Variant> {
        let mut all = Vec::new();
        for variant in self.record_all(self.weights()).iter().flat_map(|(_, r)| r.variants()) {
            if !all.contains(variant) {
                all.push(variant.clone());
            }
        }
        all
    }

    pub(super) fn record_all(&self, weights: &Weights) -> Vec<(PlanKey, Recorder)> {
        let output = PassOutput::Tokens;
        let keys = self.buckets().into_iter().map(|rows| PlanKey { rows, output });
        let Scratch { logits, logprobs, .. } = &self.scratch;
        let output = (logits, logprobs);
        keys.map(|key| (key, self.record_forward(weights, key, false, output))).collect()
    }

    /// Row counts of the recorded plans: 1, and 2 and 4 if there may be several sequences; 64 for other passes of few
    /// rows; and one plan for all longer chunks. A plan also serves fewer rows, since a replay's grids follow the batch.
    fn buckets(&self) -> Vec<u32> {
        let few = self.choices.matvec_rows;
        let mut all = vec![1];
        if self.state.n_slots > 1 {
            all.extend([2, 4]);
        }
        all.extend([few, self.max_rows]);
        all.retain(|rows| *rows <= self.max_rows);
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn bucket(&self, rows: u32) -> u32 {
        self.buckets().into_iter().find(|b| rows <= *b).unwrap_or(self.max_rows)
    }

    /// Records the plan for `rows` rows unless it exists. `lora`: for a batch with LoRA adapters. The caller holds the
    /// returned passes until it has submitted the batch, since loading an adapter replaces them.
    pub async fn prepare(
        &self,
        rows: u32,
        output: PassOutput,
        lora: bool,
    ) -> Result<Arc<Passes>, GpuError> {
        let key = PlanKey { rows: self.bucket(rows), output };
        let passes = self.passes(lora)?;
        if passes.plan(key).is_none() {
            passes.insert(key, self.make_plan(&passes.weights, key, false).await?);
        }
        Ok(passes)
    }

    /// The passes of batches with LoRA adapters, or of those without.
    fn passes(&self, lora: bool) -> Result<Arc<Passes>, GpuError> {
        if !lora {
            return Ok(self.base.clone());
        }
        let none = || refused("a LoRA adapter that was removed".to_owned());
        self.adapted.passes().ok_or_else(none)
    }

    fn plan(&self, batch: &Batch, output: PassOutput) -> Result<Option<Arc<Plan>>, GpuError> {
        let key = PlanKey { rows: self.bucket(batch.n_rows() as u32), output };
        let lora = batch.has_lora();
        let plan = self.passes(lora)?.plan(key);
        Ok(plan.or_else(|| self.adapted.plan_before(key).filter(|_| lora)))
    }

    /// A plan of its own for a batch, of which intermediates may be kept.
    async fn own_plan(
        &self,
        batch: &Batch,
        output: PassOutput,
        probing: bool,
    ) -> Result<Plan, GpuError> {
        let key = PlanKey { rows: self.bucket(batch.n_rows() as u32), output };
        self.make_plan(&self.passes(batch.has_lora())?.weights, key, probing).await
    }

    async fn make_plan(
        &self,
        weights: &Weights,
        key: PlanKey,
        probing: bool,
    ) -> Result<Plan, GpuError> {
        let recorder = match key.output {
            PassOutput::Tokens => {
                let Scratch { logits, logprobs, .. } = &self.scratch;
                self.record_forward(weights, key, probing, (logits, logprobs))
            }
            PassOutput::Logprobs | PassOutput::Logits => {
                let inspected = self.inspected().await?;
                let output = (&inspected.logits, &inspected.logprobs);
                self.record_forward(weights, key, probing, output)
            }
        };
        recorder.finish(&self.device, &self.batch_table).await
    }

    fn record_forward(
        &self,
        weights: &Weights,
        key: PlanKey,
        probing: bool,
        (logits, logprobs): (&Tensor<f32>, &LogprobsBuffers),
    ) -> Recorder {
        let mut recorder = Recorder::new(*self.device.caps(), probing);
        let forward = Forward {
            config: &self.config,
            weights,
            state: &self.state,
            scratch: &self.scratch,
            logits,
            logprobs,
            choices: self.choices,
            rows: key.rows,
        };
        forward.record(&mut recorder, key.output);
        recorder
    }

    /// Most logit rows of a pass that draws no token.
    pub fn inspected_rows(&self) -> usize {
        (INSPECTED_BYTES / (4 * self.config.vocab_size)).clamp(1, self.max_rows as usize)
    }

    /// The buffers of inspected passes, made on first use. An engine that only answers never needs
    /// them.
    async fn inspected(&self) -> Result<Arc<Inspected>, GpuError> {
        if let Some(inspected) = &*lock(&self.inspected) {
            return Ok(inspected.clone());
        }
        let (rows, vocab) = (self.inspected_rows(), self.config.vocab_size);
        let logits = self.device.tensor("inspected logits", rows * vocab).await?;
        let logprobs = LogprobsBuffers::new(&self.device, rows, vocab, false).await?;
        let made = Arc::new(Inspected { logits, logprobs });
        Ok(lock(&self.inspected).get_or_insert(made).clone())
    }

    fn upload(&self, batch: &Batch) -> StepShape {
        let Choices { multiply, attention_rows, .. } = self.choices;
        let tile_rows = self.config.heads(self.state.kv_format).tile_rows(multiply);
        let (table, shape) = batch.encode(tile_rows, attention_rows);
        self.device.write(&self.batch_table, 0, &table);
        shape
    }

    /// Learns the device's speed before its first long pass, from that pass's beginning up to its
    /// first product, which runs once more than needed. The pass must begin its sequences: then
    /// nothing precedes it, and a second run computes the same.
    pub async fn learn_first(&self, batch: &Batch, output: PassOutput) -> Result<(), Error> {
        let rows = batch.n_rows() as u32;
        let begins = |seq: &SeqRows| seq.rows.first().is_none_or(|row| row.position == 0);
        if !self.is_long(rows) || lock(&self.pace).known || !batch.seqs.iter().all(begins) {
            return Ok(());
        }
        let Some(plan) = self.plan(batch, output)? else { return Ok(()) };
        // Weights may still be on their way to the device.
        self.device.wait_for(&self.device.submit_uploads()).await?;
        let started = Instant::now();
        let (submission, macs) = {
            let _pace = lock(&self.pace);
            let shape = self.upload(batch);
            let (piece, macs) = plan.piece(0, rows, 0);
            let mut encoder = self.device.encoder();
            encoder.replay(&plan, &shape, piece);
            (encoder.submit(), macs)
        };
        self.device.wait_for(&submission).await?;
        *lock(&self.pace) = Pace::measured(macs, started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Whether a pass of `rows` rows is cut into submissions.
    fn is_long(&self, rows: u32) -> bool {
        (WHOLE_ROWS + 1..=self.max_rows).contains(&rows)
    }

    /// Runs a batch and copies the wanted outputs to `targets`. A decode step is one submission. A
    /// long chunk is cut into several short ones.
    pub fn submit(
        &self,
        batch: &Batch,
        output: PassOutput,
        targets: &[(&Readback, Output)],
    ) -> Result<Submission, Error> {
        self.submit_part(batch, output, Part::Whole, targets)
    }

    fn submit_part(
        &self,
        batch: &Batch,
        output: PassOutput,
        part: Part,
        targets: &[(&Readback, Output)],
    ) -> Result<Submission, Error> {
        self.device.check()?;
        if batch.n_rows() > self.max_rows as usize {
            let reason = format!("{} rows, at most {} are planned", batch.n_rows(), self.max_rows);
            return Err(refused(reason).into());
        }
        let most = match output {
            PassOutput::Tokens => self.state.n_slots as usize,
            PassOutput::Logprobs | PassOutput::Logits => self.inspected_rows(),
        };
        if batch.n_logit_rows() > most {
            let reason = format!("logits of {} rows, at most {most}", batch.n_logit_rows());
            return Err(refused(reason).into());
        }
        let pace = lock(&self.pace);
        let shape = self.upload(batch);
        let missing = || refused(format!("no plan for {} rows", shape.rows));
        let plan = self.plan(batch, output)?.ok_or_else(missing)?;
        // Most multiply-adds of a piece, which is one submission.
        let macs = if self.is_long(shape.rows) { pace.macs() } else { u64::MAX };
        let [until_draws, draws] = plan.halves();
        let commands = match part {
            Part::Whole => until_draws.start..draws.end,
            Part::UntilDraws => until_draws,
            Part::Draws => draws,
        };
        let mut start = commands.start;
        loop {
            let (piece, _) = plan.piece(start, shape.rows, macs);
            let end = piece.end.min(commands.end);
            let last = end == commands.end;
            let mut encoder = self.device.encoder();
            encoder.replay(&plan, &shape, start..end);
            let inspected = lock(&self.inspected).clone();
            for (target, wanted) in targets.iter().filter(|_| last) {
                match (wanted, &inspected) {
                    (Output::NextTokens, _) => {
                        encoder.copy_back(&self.state.next_token, 0, target);
                    }
                    (Output::Logprobs, _) if output == PassOutput::Tokens => {
                        encoder.copy_back(&self.scratch.logprobs.logprobs, 0, target);
                    }
                    (Output::Logprobs, Some(inspected)) => {
                        encoder.copy_back(&inspected.logprobs.logprobs, 0, target);
                    }
                    (Output::Logits, Some(inspected)) => {
                        encoder.copy_back(&inspected.logits, 0, target);
                    }
                    (_, None) => return Err(refused("no buffers for its output".to_owned()).into()),
                }
            }
            let submission = encoder.submit();
            if last {
                self.device.check()?;
                return Ok(submission);
            }
            start = end;
        }
    }

    /// Submits the part of a batch before its tokens are drawn, so that the host can compute masks meanwhile.
    /// [`Runner::submit_draws`] submits the rest. Between them, no other pass that draws tokens may run.
    pub fn submit_until_draws(&self, batch: &Batch) -> Result<(), Error> {
        self.submit_part(batch, PassOutput::Tokens, Part::UntilDraws, &[]).map(|_| ())
    }

    /// Submits the part of a batch that draws its tokens, after [`Runner::submit_until_draws`].
    pub fn submit_draws(
        &self,
        batch: &Batch,
        targets: &[(&Readback, Output)],
    ) -> Result<Submission, Error> {
        self.submit_part(batch, PassOutput::Tokens, Part::Draws, targets)
    }

    /// Learns the device's speed from a chunk of `rows` rows that took `seconds`.
    pub fn learn(&self, rows: u32, seconds: f64) {
        let key = PlanKey { rows: self.bucket(rows), output: PassOutput::Tokens };
        if let (Some(plan), true) = (self.base.plan(key), self.is_long(rows)) {
            let macs = plan.macs_per_row() * u64::from(rows);
            *lock(&self.pace) = Pace::measured(macs, seconds);
        }
    }

    /// Runs a batch repeatedly and times every kernel: three to nine times, depending on the
    /// device's speed.
    pub async fn profile(&self, batch: &Batch) -> Result<Option<Profile>, Error> {
        let plan = self.own_plan(batch, PassOutput::Tokens, false).await?;
        let shape = {
            let _pace = lock(&self.pace);
            self.upload(batch)
        };
        let started = Instant::now();
        while started.elapsed() < WARM_UP {
            let mut encoder = self.device.encoder();
            encoder.replay_all(&plan, &shape);
            self.device.wait_for(&encoder.submit()).await?;
        }
        let started = Instant::now();
        let goes_on = |n| n < 3 || (n < 9 && started.elapsed() < Duration::from_secs(3));
        Ok(self.device.profile(&plan, &shape, goes_on).await?)
    }

    /// Runs a batch, keeps all intermediates and reads them.
    pub async fn trace(&self, batch: &Batch) -> Result<Vec<(String, Vec<u32>)>, Error> {
        let plan = self.own_plan(batch, PassOutput::Logits, true).await?;
        let submission = {
            let _pace = lock(&self.pace);
            let shape = self.upload(batch);
            let mut encoder = self.device.encoder();
            encoder.replay_all(&plan, &shape);
            encoder.submit()
        };
        self.device.wait_for(&submission).await?;
        Ok(plan.probes().await?)
    }
}

fn refused(reason: String) -> GpuError {
    GpuError::Validation { what: "a batch".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 512 rows of LFM2-8B-A1B are 0.8 T multiply-adds, and its first product 6.4 G. A fast device
    /// gets few submissions, a slow one no long submission.
    #[test]
    fn a_first_chunk_is_cut_by_measured_speed() {
        let (chunk, product, overhead) = (512.0 * 1.5e9, 512 * 6144 * 2048, 80e-6);
        for (speed, most) in [(60e12, 1.0), (8e12, 2.0), (1.25e12, 8.0), (0.05e12, 155.0)] {
            let pace = Pace::measured(product, overhead + product as f64 / speed);
            let piece = (pace.macs() as f64).min(chunk);
            assert!((chunk / piece).ceil() <= most, "{speed}: {} submissions", chunk / piece);
            assert!(piece / speed < 2.0 * SUBMISSION_SECONDS, "{speed}: {}", piece / speed);
        }
    }
}
