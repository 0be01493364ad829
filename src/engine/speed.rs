//! Estimate of a device's speed, from a measurement of about a second, before a model is loaded.

use web_time::Instant;

use crate::gpu::{Device, GpuError, Plan, Recorder, Tensor};
use crate::kernels::{
    ATTENTION_ROWS, Batch, Choices, Epilogue, Format, Linear, Matrix, MatrixPart, RmsNorm, Row,
    SampleParams, SeqRows,
};
use crate::model::{FfnKind, ModelConfig, ModelSize, OperatorKind};

/// Shape of the measured matrix: `in_proj` of LFM2-8B's convolutions.
const ROWS: usize = 6144;
const COLS: usize = 2048;
/// Distinct matrices on a GPU, together 170 MB, more than caches hold (96 MB at most), and products with each.
const MATRICES: usize = 24;
const ROUNDS: usize = 4;
/// Fewer rows on a software adapter, which is limited by arithmetic.
const SOFTWARE_ROWS: usize = 1024;
/// Small dispatches in sequence.
const CHAIN: usize = 512;
const SOFTWARE_CHAIN: usize = 64;

/// Measured speeds of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceSpeed {
    /// Bytes a second of a copy within its memory.
    pub copy: f64,
    /// Bytes a second of 4-bit weights in products with one row.
    pub products: f64,
    /// Seconds of a small kernel that depends on the one before.
    pub launch: f64,
}

impl DeviceSpeed {
    /// Measures a device. Takes about a second, most of it for compiling two kernels.
    ///
    /// # Errors
    /// [`GpuError`] of the few buffers and kernels that it makes.
    pub async fn measure(device: &Device) -> Result<Self, GpuError> {
        let copy = device.copy_speed().await?;
        let launch = chain(device).await?;
        let products = products(device, launch).await?;
        Ok(Self { copy, products, launch })
    }

    /// Range of tokens a second of one sequence after a short prompt, slowest and fastest. The
    /// range covers the costs that are not measured: the work of kernels other than products, and
    /// the slower reading of smaller matrices.
    #[must_use]
    pub fn decode(&self, config: &ModelConfig, size: &ModelSize) -> (f64, f64) {
        let active = size.weight_bytes as f64 * size.active_parameters as f64
            / size.total_parameters.max(1) as f64;
        let fastest = active / self.products + f64::from(kernels_a_token(config)) * self.launch;
        (0.5 / fastest, 1.0 / fastest)
    }
}

/// Number of kernels of a decoded token, greedy and in a context of one split.
fn kernels_a_token(config: &ModelConfig) -> u32 {
    let layer = |operator, ffn| {
        // in_proj and the convolution, out_proj; or q k v, their norm and RoPE, attention, out_proj.
        let operator = match operator {
            OperatorKind::ShortConv => 2,
            OperatorKind::FullAttention => 4,
        };
        // A router and its experts' two products; or two products.
        operator + if ffn == FfnKind::Moe { 3 } else { 2 }
    };
    let layers: u32 = config.layers.iter().map(|l| layer(l.operator, l.ffn)).sum();
    // Embedding, head, and two of sampling.
    1 + layers + 1 + 2
}

/// Seconds of a small kernel in a chain.
async fn chain(device: &Device) -> Result<f64, GpuError> {
    let length = if device.caps().software { SOFTWARE_CHAIN } else { CHAIN };
    let width = vec![1.0_f32; 64];
    let (a, b) = (device.tensor_of("x", &width).await?, device.tensor_of("h", &width).await?);
    let scale = device.tensor_of("scale", &width).await?;
    let reduce = Choices::by_capability(device.caps()).reduce;
    let mut recorder = Recorder::new(*device.caps(), false);
    for i in 0..length {
        let (x, h) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
        RmsNorm { x, scale: &scale, h, eps: 1e-5, only_logit_rows: false, reduce }
            .record(&mut recorder);
    }
    Ok(seconds(device, recorder).await? / length as f64)
}

/// Bytes of weights a second that products read.
async fn products(device: &Device, launch: f64) -> Result<f64, GpuError> {
    let format = Format::Q4;
    let software = device.caps().software;
    let (rows, matrices) = if software { (SOFTWARE_ROWS, 1) } else { (ROWS, MATRICES) };
    let choices = Choices::by_capability(device.caps());
    let x = device.tensor_of("input", &vec![1.0_f32; COLS]).await?;
    let out: Tensor<f32> = device.tensor("output", rows).await?;
    let mut weights = Vec::new();
    let mut bytes = 0;
    for _ in 0..matrices {
        let planes = format.planes(rows * COLS);
        let data = device.tensor("weights", planes.words).await?;
        bytes += data.bytes();
        let parts = vec![MatrixPart { format, first_row: 0, rows, data, planes }];
        weights.push(Matrix { experts: 1, rows, cols: COLS, parts, lora: None });
    }
    let mut recorder = Recorder::new(*device.caps(), false);
    for _ in 0..ROUNDS {
        for weight in &weights {
            let (x, out, epilogue) = (&x, &out, Epilogue::Store);
            Linear { weight, bias: None, x, norm: None, out, epilogue, only_logit_rows: false }
                .record(&mut recorder, &choices, 1);
        }
    }
    let launches = (ROUNDS * matrices) as f64 * launch;
    let took = seconds(device, recorder).await?;
    // The cost of launches is subtracted, since it is counted separately.
    Ok((bytes * ROUNDS as u64) as f64 / (took - launches).max(0.1 * took))
}

/// The shortest time of a few replays for one row.
async fn seconds(device: &Device, recorder: Recorder) -> Result<f64, GpuError> {
    let row = SeqRows {
        slot: 0,
        rows: vec![Row { token: 0, position: 0 }],
        generated_from: 0,
        lora: None,
        sample: SampleParams::GREEDY,
        pages: vec![0],
        logit_rows: Vec::new(),
        snapshot_columns: Vec::new(),
    };
    let (words, shape): (Vec<u32>, _) = Batch { seqs: vec![row] }.encode(1, ATTENTION_ROWS);
    let table = device.tensor_of("batch", &words).await?;
    let plan: Plan = recorder.finish(device, &table).await?;
    let mut least = f64::INFINITY;
    // The first replays wake the device up.
    for run in 0..6 {
        let started = Instant::now();
        let mut encoder = device.encoder();
        encoder.replay_all(&plan, &shape);
        device.wait_for(&encoder.submit()).await?;
        if run >= 2 {
            least = least.min(started.elapsed().as_secs_f64());
        }
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{WeightChoice, synthetic_model};

    #[test]
    fn a_token_takes_as_many_kernels_as_are_recorded() {
        let (config, _) = synthetic_model("lfm2-8b-a1b", WeightChoice::Q4).unwrap().unwrap();
        // The number counted on a device: docs/performance.md.
        assert_eq!(kernels_a_token(&config), 134);
    }

    #[test]
    fn an_estimate_is_made_of_bytes_and_launches() {
        let (config, _) = synthetic_model("lfm2-8b-a1b", WeightChoice::Q4).unwrap().unwrap();
        let size =
            ModelSize { total_parameters: 8, active_parameters: 2, weight_bytes: 4_000_000_000 };
        let speed = DeviceSpeed { copy: 3e12, products: 1e12, launch: 2e-6 };
        let (slow, fast) = speed.decode(&config, &size);
        assert!(
            (fast - 1.0 / (1e-3 + 134.0 * 2e-6)).abs() < 1e-6 && (slow - fast / 2.0).abs() < 1e-6
        );
    }

    #[test]
    fn a_device_is_measured() {
        let device = pollster::block_on(Device::request(&Default::default())).unwrap();
        let speed = pollster::block_on(DeviceSpeed::measure(&device)).unwrap();
        assert!((1e7..1e15).contains(&speed.copy), "{speed:?}");
        assert!((1e6..1e14).contains(&speed.products), "{speed:?}");
        assert!((1e-8..1.0).contains(&speed.launch), "{speed:?}");
    }
}
