//! Measures on the device what its capabilities do not tell.

use std::sync::{Mutex, PoisonError};

use web_time::Instant;

use super::batch::{Batch, Row, SampleParams, SeqRows};
use crate::gpu::{Context, GpuError, Recorder, Tensor};
use crate::kernels::{Activations, Choices, Epilogue, Format, Linear, Matrix, Part};

/// Columns of the measured matrix: LFM2's hidden size.
const COLS: usize = 2048;
/// Products in a measured submission.
const REPEATS: usize = 4;
/// Int8 must be faster by more than noise: it is the less exact of the two.
const MARGIN: f64 = 0.9;

/// What was measured before in this process, by adapter and driver.
static KNOWN: Mutex<Vec<(String, Activations)>> = Mutex::new(Vec::new());

/// The faster of float and int8 activations: products of a decoded token's row with a matrix in 4
/// bits, on this device. Takes some 100 ms the first time in a process.
///
/// # Errors
/// [`GpuError`] of the few buffers and two kernels that it makes.
pub async fn measure_activations(context: &Context) -> Result<Activations, GpuError> {
    let adapter = context.adapter();
    let key = format!("{} {} {:?}", adapter.name, adapter.driver, context.caps());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, measured)) = known().iter().find(|(k, _)| *k == key) {
        return Ok(*measured);
    }
    // On a GPU 113 MB, more than most caches hold, so that it is measured as it will be used.
    let rows = if context.caps().software { 1024 } else { 98_304 };
    let bench = Bench::new(context, rows).await?;
    let float = bench.seconds(Activations::Float).await?;
    let int8 = bench.seconds(Activations::Int8).await?;
    let faster = if int8 < MARGIN * float { Activations::Int8 } else { Activations::Float };
    log::info!("activations: float {:.3} ms, int8 {:.3} ms: {faster:?}", float * 1e3, int8 * 1e3);
    known().push((key, faster));
    Ok(faster)
}

struct Bench<'a> {
    context: &'a Context,
    weight: Matrix,
    x: Tensor<f32>,
    out: Tensor<f32>,
}

impl<'a> Bench<'a> {
    async fn new(context: &'a Context, rows: usize) -> Result<Self, GpuError> {
        let format = Format::Q4;
        let most = context.caps().max_part() as usize / format.row_bytes(COLS);
        let rows = rows.min(most & !1);
        let planes = format.planes(rows * COLS);
        let data = context.tensor("measured weights", planes.words).await?;
        let parts = vec![Part { format, first_row: 0, rows, data, planes }];
        let x = context.tensor_of("measured input", &[1.0; COLS]).await?;
        let out = context.tensor("measured output", rows).await?;
        Ok(Self { context, weight: Matrix { experts: 1, rows, cols: COLS, parts }, x, out })
    }

    /// The least time of a few submissions.
    async fn seconds(&self, activations: Activations) -> Result<f64, GpuError> {
        let choices = Choices { activations, ..Choices::by_capability(self.context.caps()) };
        let mut recorder = Recorder::new(*self.context.caps(), false);
        for _ in 0..REPEATS {
            Linear {
                weight: &self.weight,
                bias: None,
                x: &self.x,
                out: &self.out,
                epilogue: Epilogue::Store,
                logit_rows: false,
            }
            .record(&mut recorder, &choices, 1);
        }
        let batch = Batch {
            seqs: vec![SeqRows {
                slot: 0,
                rows: vec![Row { token: 0, position: 0 }],
                generated_from: 0,
                sample: SampleParams::GREEDY,
                pages: vec![0],
                logit_rows: Vec::new(),
            }],
        };
        let (words, shape): (Vec<u32>, _) = batch.encode(1);
        let table = self.context.tensor_of("batch", &words).await?;
        let plan = recorder.finish(self.context, &table).await?;
        let mut least = f64::INFINITY;
        // The first ones warm up.
        for run in 0..5 {
            let started = Instant::now();
            let mut encoder = self.context.encoder();
            encoder.replay_all(&plan, &shape);
            self.context.finished(&encoder.submit()).await?;
            if run >= 2 {
                least = least.min(started.elapsed().as_secs_f64());
            }
        }
        Ok(least)
    }
}
