//! State of sequences on the GPU between steps: keys and values in pages, conv inputs in rings.

mod copies;

use crate::gpu::{Device, GpuError, Tensor};
use crate::kernels::{KvFormat, PAGE};

/// Positions behind which a snapshot of a sequence can still be taken, beyond those that the
/// convolution itself needs: tokens in flight when an answer ends, and those that its reader has not
/// taken when it stops.
pub const MAX_REWIND: u32 = 14;

/// The model's numbers that its state depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StateDims {
    /// Attention layers.
    pub attentions: usize,
    /// Convolution layers.
    pub convolutions: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Key and value heads of an attention layer.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Taps of a convolution.
    pub conv_l_cache: usize,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
}

impl StateDims {
    /// Columns of a convolution's ring.
    #[must_use]
    pub fn ring_columns(&self) -> u32 {
        self.conv_l_cache as u32 - 1 + MAX_REWIND
    }

    /// Columns of a snapshot: the inputs that the next position's convolution reads.
    #[must_use]
    pub fn snapshot_columns(&self) -> u32 {
        self.conv_l_cache as u32 - 1
    }

    /// Words of the keys (or of the values) of a page in one attention layer.
    #[must_use]
    pub fn page_words(&self, kv_format: KvFormat) -> usize {
        kv_format.words(PAGE as usize * self.n_kv_heads, self.head_dim)
    }

    /// Bytes of one sequence's ring in one convolution layer.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        4 * u64::from(self.ring_columns()) * self.hidden_size as u64
    }
}

/// Sizes of [`State`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StateShape {
    /// Numbers of the model.
    pub dims: StateDims,
    /// Sequences that can be alive at once.
    pub n_slots: u32,
    /// Most positions of each.
    pub context: u32,
    /// Pages of the pool that all sequences share.
    pub n_pages: u32,
    /// Snapshots of the convolutions' state ([`StateShape::snapshots`]).
    pub n_snapshots: u32,
    /// Storage format of keys and values.
    pub kv_format: KvFormat,
}

impl StateShape {
    /// Snapshots for `n_slots` sequences and a pool of `n_pages`: enough for each block of a prompt of 2,000 tokens,
    /// for a few turns of each sequence, and more for a larger pool; at most as many as fit a binding of
    /// `max_binding` bytes with the rings. With a context of 32,768 LFM2-8B-A1B has 196, which take 58 MB beside
    /// 403 MB of keys and values in f16.
    #[must_use]
    pub fn snapshots(dims: &StateDims, n_slots: u32, n_pages: u32, max_binding: u64) -> u32 {
        let column = 4 * dims.hidden_size.max(1) as u64;
        let columns = u32::try_from(max_binding / column).unwrap_or(u32::MAX);
        let rest = columns.saturating_sub(n_slots.saturating_mul(dims.ring_columns()));
        let most = rest / dims.snapshot_columns().max(1);
        (64 + 4 * n_slots + n_pages / 4).min(most)
    }

    /// Words of the keys (or of the values) of one attention layer.
    #[must_use]
    pub fn kv_words(&self) -> usize {
        self.n_pages as usize * self.page_words()
    }

    fn page_words(&self) -> usize {
        self.dims.page_words(self.kv_format)
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn kv_bytes(&self) -> u64 {
        self.dims.attentions as u64 * 2 * 4 * self.kv_words() as u64
    }

    /// Bytes of everything else: rings with snapshots, RoPE table, token history, and what is on its way from
    /// one place to another.
    #[must_use]
    pub fn other_bytes(&self) -> u64 {
        let rope = self.context as usize * self.dims.head_dim;
        let copies = self.page_words() + self.dims.hidden_size;
        4 * (self.dims.convolutions * self.rings_len() + rope + self.history_len() + copies) as u64
    }

    /// Elements of the rings and snapshots of one convolution.
    fn rings_len(&self) -> usize {
        let rings = self.n_slots * self.dims.ring_columns();
        let snapshots = self.n_snapshots * self.dims.snapshot_columns();
        (rings + snapshots) as usize * self.dims.hidden_size
    }

    fn history_len(&self) -> usize {
        self.n_slots as usize * self.context as usize
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
    /// Storage format of keys and values.
    pub kv_format: KvFormat,
    /// One for each attention layer.
    pub kv: Vec<KvLayer>,
    /// One for each convolution, `[columns, hidden_size]`: `ring_columns` of each slot, then
    /// `snapshot_columns` of each snapshot.
    pub rings: Vec<Tensor<f32>>,
    /// Columns of a ring.
    pub ring_columns: u32,
    /// A page on its way to another page, since WebGPU copies only between different buffers.
    page_copy: Tensor<u32>,
    /// A column on its way to another column.
    column_copy: Tensor<f32>,
    /// `[context, head_dim]`: cosines, then sines, of `head_dim / 2` angles.
    pub rope: Tensor<f32>,
    /// `[n_slots, context]`: tokens by position.
    pub history: Tensor<u32>,
    /// `[n_slots]`: the token that was drawn last.
    pub next_token: Tensor<u32>,
    dims: StateDims,
}

impl State {
    /// Makes the state, all zero.
    ///
    /// # Errors
    /// [`GpuError::Limit`], [`GpuError::OutOfMemory`].
    pub async fn new(device: &Device, shape: &StateShape) -> Result<Self, GpuError> {
        let dims = &shape.dims;
        let mut kv = Vec::new();
        for _ in 0..dims.attentions {
            let words = shape.kv_words();
            kv.push(KvLayer {
                keys: device.tensor("keys", words).await?,
                values: device.tensor("values", words).await?,
            });
        }
        let mut rings = Vec::new();
        for _ in 0..dims.convolutions {
            rings.push(device.tensor("conv ring", shape.rings_len()).await?);
        }
        let rope = rope_table(shape.context as usize, dims.head_dim, dims.rope_theta);
        Ok(Self {
            n_slots: shape.n_slots,
            context: shape.context,
            kv_format: shape.kv_format,
            kv,
            rings,
            ring_columns: dims.ring_columns(),
            page_copy: device.tensor("page copy", shape.page_words()).await?,
            column_copy: device.tensor("column copy", dims.hidden_size).await?,
            rope: device.tensor_of("rope", &rope).await?,
            history: device.tensor("history", shape.history_len()).await?,
            next_token: device.tensor("next_token", shape.n_slots as usize).await?,
            dims: *dims,
        })
    }

    /// Column of the rings that is the first of the snapshots.
    #[must_use]
    pub fn snapshots_at(&self) -> u32 {
        self.n_slots * self.ring_columns
    }
}

/// `[context, head_dim]`: for each position the cosines of `head_dim / 2` angles, then their sines.
///
/// `inv_freq_i = theta^(-2 i / head_dim)` and the angle `position * inv_freq_i` are rounded to f32
/// as the reference does (transformers `Lfm2MoeRotaryEmbedding`); cosine and sine are then taken in
/// f64. It is computed on the CPU because WGSL specifies `sin` and `cos` only near zero.
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
