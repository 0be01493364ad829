//! What a sequence leaves on the GPU between steps: keys and values in pages, conv state in rings.

mod pages;

pub use pages::Pages;

use crate::gpu::{Device, GpuError, Tensor};
use crate::kernels::{KvFormat, PAGE, SPLIT};
use crate::model::{ModelConfig, OperatorKind};

/// Positions that a sequence can always go back, beyond what the convolution itself needs: a stop
/// string seen late, tokens that were still in flight when the caller stopped.
pub const MAX_REWIND: u32 = 14;

/// Sizes of [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateShape {
    /// Sequences that can be alive at once.
    pub n_slots: u32,
    /// Positions of each.
    pub context: u32,
    /// How keys and values are stored.
    pub kv_format: KvFormat,
}

impl StateShape {
    /// Splits of the longest context in decode attention.
    #[must_use]
    pub fn max_splits(&self) -> u32 {
        self.context.div_ceil(SPLIT)
    }

    /// Pages of the pool.
    #[must_use]
    pub fn n_pages(&self) -> u32 {
        self.n_slots * self.context.div_ceil(PAGE)
    }

    /// Words of the keys (or of the values) of one attention layer.
    #[must_use]
    pub fn kv_words(&self, config: &ModelConfig) -> usize {
        let positions = self.n_pages() as usize * PAGE as usize;
        self.kv_format.words(positions * config.n_kv_heads, config.head_dim)
    }

    /// Columns of a convolution's ring.
    #[must_use]
    pub fn ring_columns(config: &ModelConfig) -> u32 {
        config.conv_l_cache as u32 - 1 + MAX_REWIND
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn kv_bytes(&self, config: &ModelConfig) -> u64 {
        let layers = config.count(OperatorKind::FullAttention) as u64;
        layers * 2 * 4 * self.kv_words(config) as u64
    }

    /// Bytes of everything else: rings, RoPE table, token history.
    #[must_use]
    pub fn other_bytes(&self, config: &ModelConfig) -> u64 {
        let rings = config.count(OperatorKind::ShortConv) * self.ring_len(config);
        let rope = self.context as usize * config.head_dim;
        let history = self.n_slots as usize * self.context as usize;
        4 * (rings + rope + history) as u64
    }

    /// Bytes of one sequence's ring.
    #[must_use]
    pub fn ring_bytes(config: &ModelConfig) -> u64 {
        4 * u64::from(Self::ring_columns(config)) * config.hidden_size as u64
    }

    fn ring_len(&self, config: &ModelConfig) -> usize {
        self.n_slots as usize * Self::ring_columns(config) as usize * config.hidden_size
    }
}

/// Keys and values of one attention layer: `[pool rows, n_kv_heads, head_dim]` each.
#[derive(Debug)]
pub struct KvLayer {
    /// After norm and RoPE.
    pub keys: Tensor<u32>,
    /// As projected.
    pub values: Tensor<u32>,
}

/// The GPU state of all sequences.
#[derive(Debug)]
pub struct State {
    /// Sequences that can be alive at once.
    pub n_slots: u32,
    /// Positions of each.
    pub context: u32,
    /// How keys and values are stored.
    pub kv_format: KvFormat,
    /// One for each attention layer.
    pub kv: Vec<KvLayer>,
    /// One for each convolution: `[n_slots, ring_columns, hidden_size]`.
    pub rings: Vec<Tensor<f32>>,
    /// Columns of a ring.
    pub ring_columns: u32,
    /// `[context, head_dim]`: cosines, then sines, of `head_dim / 2` angles.
    pub rope: Tensor<f32>,
    /// `[n_slots, context]`: tokens by position.
    pub history: Tensor<u32>,
    /// `[n_slots]`: what the sampler drew last.
    pub next_token: Tensor<u32>,
}

impl State {
    /// Makes the state, all zero.
    ///
    /// # Errors
    /// [`GpuError::Limit`], [`GpuError::OutOfMemory`].
    pub async fn new(
        device: &Device,
        config: &ModelConfig,
        shape: &StateShape,
    ) -> Result<Self, GpuError> {
        let mut kv = Vec::new();
        for _ in 0..config.count(OperatorKind::FullAttention) {
            let words = shape.kv_words(config);
            kv.push(KvLayer {
                keys: device.tensor("keys", words).await?,
                values: device.tensor("values", words).await?,
            });
        }
        let mut rings = Vec::new();
        for _ in 0..config.count(OperatorKind::ShortConv) {
            rings.push(device.tensor("conv ring", shape.ring_len(config)).await?);
        }
        let rope = rope_table(shape.context as usize, config.head_dim, config.rope_theta);
        let history = shape.n_slots as usize * shape.context as usize;
        Ok(Self {
            n_slots: shape.n_slots,
            context: shape.context,
            kv_format: shape.kv_format,
            kv,
            rings,
            ring_columns: StateShape::ring_columns(config),
            rope: device.tensor_of("rope", &rope).await?,
            history: device.tensor("history", history).await?,
            next_token: device.tensor("next_token", shape.n_slots as usize).await?,
        })
    }

    /// Splits of the longest context in decode attention.
    #[must_use]
    pub fn max_splits(&self) -> u32 {
        self.context.div_ceil(SPLIT)
    }
}

/// `[context, head_dim]`: for each position the cosines of `head_dim / 2` angles, then their sines.
///
/// `inv_freq_i = theta^(-2 i / head_dim)` and the angle `position * inv_freq_i` are rounded to f32
/// as the reference does (transformers `Lfm2MoeRotaryEmbedding`); cosine and sine are then taken
/// in f64. Made here because WGSL specifies `sin` and `cos` only near zero.
fn rope_table(context: usize, head_dim: usize, theta: f64) -> Vec<f32> {
    let half = head_dim / 2;
    let inv_freq: Vec<f32> = (0..half)
        .map(|i| {
            let power = theta.powf((2 * i) as f64 / head_dim as f64) as f32;
            1.0 / power
        })
        .collect();
    let mut table = Vec::with_capacity(context * head_dim);
    for position in 0..context {
        let angles = inv_freq.iter().map(|f| f64::from(position as f32 * f));
        table.extend(angles.clone().map(|a| a.cos() as f32));
        table.extend(angles.map(|a| a.sin() as f32));
    }
    table
}
