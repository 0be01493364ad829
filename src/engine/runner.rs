//! Runs batches: the plans of a loaded model and the buffers they work on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Batch;
use super::progress::Teller;
use crate::error::Error;
use crate::gpu::{
    Context, GpuError, KernelTime, Plan, Readback, Recorder, StepShape, Submission, Tensor,
};
use crate::kernels::{Choices, flash_tile_rows};
use crate::model::{Forward, ModelConfig, Scratch, Weights};
use crate::state::State;

/// How long one submission of a long pass may take, in seconds: drivers reset after about two.
const SUBMISSION_SECONDS: f64 = 0.1;
/// Multiply-adds a second assumed before the first pass has been timed: a slow integrated GPU.
const FIRST_GUESS: f64 = 20e9;

/// What a plan was recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PlanKey {
    /// Most rows.
    rows: u32,
    /// Whether it draws tokens.
    sample: bool,
}

/// The model's buffers and its recorded passes.
pub(super) struct Runner {
    pub context: Context,
    pub config: ModelConfig,
    pub weights: Weights,
    pub state: State,
    pub scratch: Scratch,
    pub choices: Choices,
    /// Most rows of a pass.
    pub max_rows: u32,
    batch_table: Tensor<u32>,
    plans: Mutex<BTreeMap<PlanKey, Arc<Plan>>>,
    /// Held while a batch is uploaded and submitted: both use the one batch table.
    pace: Mutex<Pace>,
}

/// What has been learnt of the device's speed.
struct Pace {
    macs_per_second: f64,
}

impl Runner {
    /// Makes the batch table and records the plans that generation needs.
    #[allow(clippy::too_many_arguments)]
    pub async fn new(
        context: Context,
        config: ModelConfig,
        weights: Weights,
        state: State,
        scratch: Scratch,
        choices: Choices,
        max_rows: u32,
        teller: Teller,
    ) -> Result<Self, Error> {
        let pages = state.context.div_ceil(crate::state::PAGE) as usize;
        let words = Batch::capacity(max_rows as usize, state.n_slots as usize, pages);
        let batch_table = context.tensor("batch", words).await?;
        let runner = Self {
            context,
            config,
            weights,
            state,
            scratch,
            choices,
            max_rows,
            batch_table,
            plans: Mutex::new(BTreeMap::new()),
            pace: Mutex::new(Pace { macs_per_second: FIRST_GUESS }),
        };
        // All are recorded before the first is compiled, so that it is known how much there is to do.
        let keys = runner.buckets().into_iter().map(|rows| PlanKey { rows, sample: true });
        let recorded: Vec<_> = keys.map(|key| (key, runner.recorder(key, false))).collect();
        let variants = recorded.iter().flat_map(|(_, r)| r.variants());
        runner.context.compile(variants, &|done, total| teller.kernels(done, total)).await?;
        if teller.stopped() {
            return Err(Error::Cancelled);
        }
        for (key, recorder) in recorded {
            let plan = recorder.finish(&runner.context, &runner.batch_table).await?;
            lock(&runner.plans).insert(key, Arc::new(plan));
        }
        Ok(runner)
    }

    /// Rows that plans are recorded for: one sequence decodes with 1, few rows with up to 8, and
    /// one plan takes all chunks, since its grids follow the rows.
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

    fn bucket(&self, rows: u32) -> u32 {
        self.buckets().into_iter().find(|b| rows <= *b).unwrap_or(self.max_rows)
    }

    /// Records the plan that `rows` rows need, unless it is there.
    pub async fn prepare(&self, rows: u32, sample: bool) -> Result<(), GpuError> {
        let key = PlanKey { rows: self.bucket(rows), sample };
        if self.plan(key).is_none() {
            let plan = Arc::new(self.record(key, false).await?);
            lock(&self.plans).insert(key, plan);
        }
        Ok(())
    }

    fn plan(&self, key: PlanKey) -> Option<Arc<Plan>> {
        lock(&self.plans).get(&key).cloned()
    }

    async fn record(&self, key: PlanKey, probing: bool) -> Result<Plan, GpuError> {
        self.recorder(key, probing).finish(&self.context, &self.batch_table).await
    }

    fn recorder(&self, key: PlanKey, probing: bool) -> Recorder {
        let mut recorder = Recorder::new(*self.context.caps(), probing);
        let forward = Forward {
            config: &self.config,
            weights: &self.weights,
            state: &self.state,
            scratch: &self.scratch,
            choices: self.choices,
            rows: key.rows,
        };
        forward.record(&mut recorder, key.sample);
        recorder
    }

    fn upload(&self, batch: &Batch) -> StepShape {
        let c = &self.config;
        let tile_rows = flash_tile_rows(c.n_heads as u32, c.n_kv_heads as u32, c.head_dim as u32);
        let (table, shape) = batch.encode(tile_rows);
        self.context.write(&self.batch_table, 0, &table);
        shape
    }

    /// Runs a batch; if it samples, copies the drawn tokens of slots `read` to `target` behind it.
    /// A decode step is one submission. A long chunk is cut into several, none of them long.
    pub fn submit(
        &self,
        batch: &Batch,
        sample: bool,
        target: Option<(&Readback, u32)>,
    ) -> Result<Submission, Error> {
        self.context.check()?;
        if batch.n_rows() > self.max_rows as usize {
            let reason = format!("{} rows, at most {} are planned", batch.n_rows(), self.max_rows);
            return Err(GpuError::Validation { what: "a batch".to_owned(), reason }.into());
        }
        let pace = lock(&self.pace);
        let shape = self.upload(batch);
        let plan =
            self.plan(PlanKey { rows: self.bucket(shape.rows), sample }).ok_or_else(|| {
                let reason = format!("no plan for {} rows", shape.rows);
                GpuError::Validation { what: "a batch".to_owned(), reason }
            })?;
        let macs = match shape.rows {
            few if few <= self.choices.matvec_rows => u64::MAX,
            _ => (pace.macs_per_second * SUBMISSION_SECONDS) as u64,
        };
        let mut pieces = plan.pieces(shape.rows, macs);
        let last = pieces.pop().unwrap_or_default();
        for piece in pieces {
            let mut encoder = self.context.encoder();
            encoder.replay(&plan, &shape, piece);
            encoder.submit();
        }
        let mut encoder = self.context.encoder();
        encoder.replay(&plan, &shape, last);
        if let Some((target, slot)) = target {
            encoder.copy_back(&self.state.next_token, slot as usize, target);
        }
        let submission = encoder.submit();
        self.context.check()?;
        Ok(submission)
    }

    /// Learns the device's speed from a chunk of `rows` rows that took `seconds`.
    pub fn learn(&self, rows: u32, seconds: f64) {
        let key = PlanKey { rows: self.bucket(rows), sample: true };
        if let (Some(plan), true) = (self.plan(key), rows > self.choices.matvec_rows) {
            let macs = plan.macs_per_row() as f64 * f64::from(rows);
            lock(&self.pace).macs_per_second = (macs / seconds.max(1e-6)).clamp(1e8, 1e15);
        }
    }

    /// Runs a batch that draws its tokens, and times every kernel.
    pub async fn profile(&self, batch: &Batch) -> Result<Option<Vec<KernelTime>>, Error> {
        let rows = self.bucket(batch.n_rows() as u32);
        let plan = self.record(PlanKey { rows, sample: true }, false).await?;
        let shape = {
            let _pace = lock(&self.pace);
            self.upload(batch)
        };
        Ok(self.context.profile(&plan, &shape).await?)
    }

    /// Runs a batch with all intermediates kept, and reads them: for tests and `selftest`.
    pub async fn trace(&self, batch: &Batch) -> Result<Vec<(String, Vec<u32>)>, Error> {
        let rows = self.bucket(batch.n_rows() as u32);
        let plan = self.record(PlanKey { rows, sample: false }, true).await?;
        let submission = {
            let _pace = lock(&self.pace);
            let shape = self.upload(batch);
            let mut encoder = self.context.encoder();
            encoder.replay_all(&plan, &shape);
            encoder.submit()
        };
        self.context.finished(&submission).await?;
        Ok(plan.probes().await?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
