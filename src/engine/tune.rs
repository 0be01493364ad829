//! Measures on the device what its capabilities do not tell.

use std::sync::{Mutex, PoisonError};

use web_time::Instant;

use super::batch::{Batch, Row, SampleParams, SeqRows};
use crate::gpu::{Context, GpuError, Recorder, Tensor};
use crate::kernels::{
    Activations, Choices, Epilogue, Format, Linear, MatmulCoop, Matrix, Multiply, Part,
};

/// Columns of the measured matrix: LFM2's hidden size.
const COLS: usize = 2048;
/// Products in a measured submission.
const REPEATS: usize = 4;
/// The second choice must be faster by more than noise: it is the less exact of the two.
const MARGIN: f64 = 0.9;
/// Rows of the measured pass of many rows: a short prompt.
const MANY: usize = 64;

/// What has been measured on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The faster activations.
    pub activations: Option<Activations>,
    /// What multiplies faster.
    pub multiply: Option<Multiply>,
}

/// What was measured before in this process, by adapter and driver.
static KNOWN: Mutex<Vec<(String, Measured)>> = Mutex::new(Vec::new());

/// What is known of a device, to be read or added to.
fn known<T>(context: &Context, f: impl FnOnce(&mut Measured) -> T) -> T {
    let adapter = context.adapter();
    let key = format!("{} {} {:?}", adapter.name, adapter.driver, context.caps());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, measured)) = known.iter_mut().find(|(k, _)| *k == key) {
        return f(measured);
    }
    let mut measured = Measured::default();
    let result = f(&mut measured);
    known.push((key, measured));
    result
}

/// What has been measured on this device in this process, for a program to keep.
#[must_use]
pub fn measured(context: &Context) -> Measured {
    known(context, |measured| *measured)
}

/// Tells what an earlier process measured on this device; it is not measured again.
pub fn recall(context: &Context, earlier: Measured) {
    known(context, |measured| {
        measured.activations = measured.activations.or(earlier.activations);
        measured.multiply = measured.multiply.or(earlier.multiply);
    });
}

/// The faster of float and int8 activations: products of a decoded token's row with a matrix in 4
/// bits, on this device. Takes some 100 ms the first time in a process.
///
/// # Errors
/// [`GpuError`] of the few buffers and two kernels that it makes.
pub(super) async fn measure_activations(context: &Context) -> Result<Activations, GpuError> {
    if let Some(faster) = measured(context).activations {
        return Ok(faster);
    }
    // On a GPU 113 MB, more than most caches hold, so that it is measured as it will be used.
    let rows = if context.caps().software { 1024 } else { 98_304 };
    let float = Choices::by_capability(context.caps());
    let int8 = Choices { activations: Activations::Int8, ..float };
    let faster = second_is_faster(context, "int8 activations", rows, 1, [float, int8]).await?;
    let faster = if faster { Activations::Int8 } else { Activations::Float };
    known(context, |measured| measured.activations = Some(faster));
    Ok(faster)
}

/// The faster of lanes and matrix units for products of many rows, on this device; lanes where it
/// has no matrix units that kernels can use, or where lanes own rows.
///
/// # Errors
/// As [`measure_activations`].
pub(super) async fn measure_multiply(context: &Context) -> Result<Multiply, GpuError> {
    let lanes = Choices::by_capability(context.caps());
    if lanes.reduce.is_serial() || !MatmulCoop::available(context.caps()) {
        return Ok(Multiply::Lanes);
    }
    if let Some(faster) = measured(context).multiply {
        return Ok(faster);
    }
    let units = Choices { multiply: Multiply::MatrixUnits, ..lanes };
    let faster = second_is_faster(context, "matrix units", 8192, MANY, [lanes, units]).await?;
    let faster = if faster { Multiply::MatrixUnits } else { Multiply::Lanes };
    known(context, |measured| measured.multiply = Some(faster));
    Ok(faster)
}

/// Whether the second choice takes clearly less time for products of `items` rows with a matrix of
/// `rows` rows.
async fn second_is_faster(
    context: &Context,
    what: &str,
    rows: usize,
    items: usize,
    [first, second]: [Choices; 2],
) -> Result<bool, GpuError> {
    let bench = Bench::new(context, rows, items).await?;
    let without = bench.seconds(first).await?;
    let with = bench.seconds(second).await?;
    let faster = with < MARGIN * without;
    log::info!("{what}: {:.3} ms, without {:.3} ms: {faster}", with * 1e3, without * 1e3);
    Ok(faster)
}

struct Bench<'a> {
    context: &'a Context,
    weight: Matrix,
    x: Tensor<f32>,
    out: Tensor<f32>,
    items: usize,
}

impl<'a> Bench<'a> {
    async fn new(context: &'a Context, rows: usize, items: usize) -> Result<Self, GpuError> {
        let format = Format::Q4;
        let most = context.caps().max_part() as usize / format.row_bytes(COLS);
        let rows = rows.min(most & !1);
        let planes = format.planes(rows * COLS);
        let data = context.tensor("measured weights", planes.words).await?;
        let parts = vec![Part { format, first_row: 0, rows, data, planes }];
        let x = context.tensor_of("measured input", &vec![1.0; items * COLS]).await?;
        let out = context.tensor("measured output", items * rows).await?;
        let weight = Matrix { experts: 1, rows, cols: COLS, parts };
        Ok(Self { context, weight, x, out, items })
    }

    /// The least time of a few submissions.
    async fn seconds(&self, choices: Choices) -> Result<f64, GpuError> {
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
            .record(&mut recorder, &choices, self.items as u32);
        }
        let batch = Batch {
            seqs: vec![SeqRows {
                slot: 0,
                rows: (0..self.items as u32).map(|position| Row { token: 0, position }).collect(),
                generated_from: 0,
                sample: SampleParams::GREEDY,
                pages: (0..(self.items as u32).div_ceil(crate::state::PAGE)).collect(),
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
