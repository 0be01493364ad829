//! The device, the configuration that shapes are taken from, and tensors with noise.

use lfm2_wgpu::gpu::{Device, GpuError, Plan, Recorder, StepShape, Tensor};
use lfm2_wgpu::kernels::{
    ATTENTION_ROWS, Batch, Choices, Format, LogitRow, LogprobsMode, Matrix, MatrixPart, PAGE, Row,
    RowLogprobs, SampleParams, SeqLora, SeqRows,
};
use lfm2_wgpu::model::{ModelConfig, MoeConfig, WeightChoice, synthetic_model};

/// Words of noise, made once and repeated: 4 MB.
const NOISE: usize = 1 << 20;

/// A plan and the sizes for its replay.
pub type Made = Result<(Plan, StepShape), GpuError>;

/// The device and the configuration.
pub struct Setup {
    pub device: Device,
    pub config: ModelConfig,
    pub moe: MoeConfig,
    pub choices: Choices,
    /// Rows of a prefill chunk: few on a CPU driver, where more take seconds.
    pub chunk: usize,
    noise: Vec<u32>,
}

impl Setup {
    pub fn new(device: Device) -> Result<Self, Box<dyn std::error::Error>> {
        let (config, _) = synthetic_model("lfm2-8b-a1b", WeightChoice::Q4).ok_or("no shape")??;
        let moe = config.moe.ok_or("no experts")?;
        let choices = Choices::by_capability(device.caps());
        let chunk = if device.caps().software { 32 } else { 512 };
        let mut state = 0x9e37_79b9_u32;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            // Words are normal numbers of both signs as f32, as two halves or two bf16, and as integers and
            // scales.
            state & 0x8fff_8fff | 0x2000_2000
        });
        let noise = noise.take(NOISE).collect();
        Ok(Self { device, config, moe, choices, chunk, noise })
    }

    /// Noise for weights, keys and values in any format.
    pub fn words(&self, len: usize) -> Result<Tensor<u32>, GpuError> {
        let tensor = pollster::block_on(self.device.tensor("words", len))?;
        for at in (0..len).step_by(NOISE) {
            self.device.write(&tensor, at, &self.noise[..NOISE.min(len - at)]);
            self.device.flush_uploads();
        }
        Ok(tensor)
    }

    /// Activations between -1 and 1.
    pub fn floats(&self, len: usize) -> Result<Tensor<f32>, GpuError> {
        let float = |word: &u32| f32::from(*word as u16) / 32_768.0 - 1.0;
        let values: Vec<f32> = self.noise.iter().cycle().take(len).map(float).collect();
        pollster::block_on(self.device.tensor_of("floats", &values))
    }

    /// Logits, roughly normal with a deviation of 3 as a model's.
    pub fn logits(&self, len: usize) -> Result<Tensor<f32>, GpuError> {
        let float = |word: &u32| f32::from(*word as u16) / 32_768.0 - 1.0;
        let logit = |words: &[u32]| 3.0 * words.iter().map(float).sum::<f32>();
        let values: Vec<f32> = self.noise.windows(3).take(len).map(logit).collect();
        pollster::block_on(self.device.tensor_of("logits", &values))
    }

    /// Zeros.
    pub fn zeros(&self, len: usize) -> Result<Tensor<u32>, GpuError> {
        pollster::block_on(self.device.tensor("zeros", len))
    }

    /// Experts of `rows` rows: all different in a row, and each about as frequent.
    pub fn ids(&self, rows: usize) -> Result<Tensor<u32>, GpuError> {
        let (experts, top_k) = (self.moe.num_experts, self.moe.top_k);
        let id = |i: usize| ((i / top_k * 7 + i % top_k * 9) % experts) as u32;
        let ids: Vec<u32> = (0..rows * top_k).map(id).collect();
        pollster::block_on(self.device.tensor_of("ids", &ids))
    }

    /// A matrix of noise, in parts that fit the device.
    pub fn matrix(&self, format: Format, shape: [usize; 3]) -> Result<Matrix, GpuError> {
        let [experts, rows, cols] = shape;
        let most = self.device.caps().max_part();
        let parts = Matrix::split(format, experts, 0..rows, cols, most)
            .into_iter()
            .map(|(first_row, rows)| {
                let planes = format.planes(experts * rows * cols);
                Ok(MatrixPart { format, first_row, rows, data: self.words(planes.words)?, planes })
            })
            .collect::<Result<_, GpuError>>()?;
        Ok(Matrix { experts, rows, cols, parts, lora: None })
    }

    /// A plan of the recorded dispatches, for the last `rows` rows of a sequence of `positions`. The last row
    /// is sampled with every option on.
    pub fn plan(&self, rows: usize, positions: usize, record: impl FnOnce(&mut Recorder)) -> Made {
        self.plan_of_tiles(rows, positions, 1, record)
    }

    /// The same with tiles of `tile_rows` rows for flash attention.
    pub fn plan_of_tiles(
        &self,
        rows: usize,
        positions: usize,
        tile_rows: u32,
        record: impl FnOnce(&mut Recorder),
    ) -> Made {
        let mut recorder = Recorder::new(*self.device.caps(), false);
        record(&mut recorder);
        let batch = Batch {
            seqs: vec![SeqRows {
                slot: 0,
                rows: (positions - rows..positions)
                    .map(|p| Row { token: p as u32 * 13, position: p as u32 })
                    .collect(),
                generated_from: (positions - rows) as u32,
                // Kernels of matrices without adapters do not read it.
                lora: Some(SeqLora { slot: 0, scale: 1.0 }),
                sample: SampleParams {
                    temperature: 0.7,
                    top_k: 50,
                    top_p: 0.9,
                    min_p: 0.05,
                    repetition_penalty: 1.05,
                    ..SampleParams::GREEDY
                },
                pages: (0..positions.div_ceil(PAGE as usize) as u32).collect(),
                logit_rows: vec![LogitRow {
                    logprobs: Some(RowLogprobs { token: None, top: 5, mode: LogprobsMode::Raw }),
                    ..LogitRow::new(rows as u32 - 1)
                }],
                snapshot_columns: Vec::new(),
            }],
        };
        let (table, shape) = batch.encode(tile_rows, ATTENTION_ROWS);
        pollster::block_on(async {
            let table = self.device.tensor_of("batch", &table).await?;
            Ok((recorder.finish(&self.device, &table).await?, shape))
        })
    }
}
