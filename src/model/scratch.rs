//! Activations, each in a buffer of its own, since WebGPU forbids binding one buffer as read-only and writable in
//! a dispatch.

use super::ModelConfig;
use super::layout::padded_width;
use crate::gpu::{Device, GpuError, Tensor};
use crate::kernels::{LogprobsBuffers, SampleBuffers, groups_len};
use crate::state::StateShape;

/// The activations of a pass of at most `rows` rows.
#[derive(Debug)]
pub struct Scratch {
    /// `[rows, hidden_size]`: the residual stream.
    pub x: Tensor<f32>,
    /// `[rows, hidden_size]`: the residual stream after a norm.
    pub h: Tensor<f32>,
    /// `[rows, max(3 hidden_size, (n_heads + 2 n_kv_heads) head_dim)]`: B, C, x or q, k, v.
    pub wide: Tensor<f32>,
    /// `[rows, hidden_size]`: the convolution's output.
    pub y: Tensor<f32>,
    /// `[rows, n_heads head_dim]`: queries.
    pub q: Tensor<f32>,
    /// `[rows, n_heads head_dim]`: attention's output.
    pub o: Tensor<f32>,
    /// `[splits of all rows, n_heads, 4 + head_dim]`: partial results of attention. A sequence needs at most the
    /// space of `attention_rows` rows with the most splits.
    pub partial: Tensor<f32>,
    /// `[rows, intermediate_size]` or `[rows top_k, moe_intermediate_size]`: SwiGLU's output.
    pub a: Tensor<f32>,
    /// `[rows top_k, hidden_size]`: experts' outputs.
    pub expert_out: Tensor<f32>,
    /// `[rows, num_experts]`: the router's logits.
    pub router_logits: Tensor<f32>,
    /// `[rows, top_k]`: experts of each row.
    pub ids: Tensor<u32>,
    /// `[rows, top_k]`: their gates.
    pub gates: Tensor<f32>,
    /// Items sorted by expert.
    pub groups: Tensor<u32>,
    /// Offset of the sorted items in `groups`.
    pub items_at: u32,
    /// `[n_slots, vocab_size]`: logits of the rows that tokens are drawn for, one a sequence.
    pub logits: Tensor<f32>,
    /// Intermediate results of sampling.
    pub sample: SampleBuffers,
    /// Log-probabilities of the rows that tokens are drawn for.
    pub logprobs: LogprobsBuffers,
    /// `[1 + n_slots, ceil(vocab_size / 32)]`: masks of tokens that may be drawn. The first has all ids that have a
    /// token; the others are those of slots whose callers restrict them.
    pub allowed: Tensor<u32>,
}

/// Sizes of [`Scratch`] in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScratchShape {
    /// Most rows of a pass.
    pub rows: usize,
    vocab: usize,
    sizes: [usize; 16],
    items_at: u32,
}

impl ScratchShape {
    /// Sizes for passes of at most `rows` rows on sequences of `state`'s shape. `attention_rows`: most rows of a
    /// sequence that `attention` computes.
    #[must_use]
    pub fn new(config: &ModelConfig, state: &StateShape, rows: usize, attention_rows: u32) -> Self {
        let c = config;
        let hidden = c.hidden_size;
        let q = c.n_heads * c.head_dim;
        let qkv = q + 2 * c.n_kv_heads * c.head_dim;
        let (top_k, experts, moe_width) =
            c.moe.as_ref().map_or((0, 0, 0), |m| (m.top_k, m.num_experts, m.intermediate_size));
        let (items_at, groups) = groups_len(rows as u32, experts as u32, top_k as u32);
        let n_slots = state.n_slots as usize;
        let few = rows.min(n_slots * attention_rows as usize);
        let sizes = [
            rows * hidden,
            rows * hidden,
            rows * qkv.max(3 * hidden),
            rows * hidden,
            rows * q,
            rows * q,
            few * c.heads(state.kv_format).partial_len(state.context),
            (rows * padded_width(c.intermediate_size)).max(rows * top_k * padded_width(moe_width)),
            rows * top_k * hidden,
            rows * experts,
            rows * top_k,
            groups,
            n_slots * c.vocab_size,
            SampleBuffers::words(n_slots, c.vocab_size),
            LogprobsBuffers::words(n_slots, c.vocab_size),
            (1 + n_slots) * c.vocab_size.div_ceil(32),
        ];
        Self { rows, vocab: c.vocab_size, sizes, items_at }
    }

    /// Bytes on the GPU.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().map(|n| 4 * *n as u64).sum()
    }
}

impl Scratch {
    /// Makes the buffers. `allowed` is the mask of ids that have a token.
    ///
    /// # Errors
    /// [`GpuError::Limit`], [`GpuError::OutOfMemory`].
    pub async fn new(
        device: &Device,
        shape: &ScratchShape,
        n_slots: usize,
        allowed: &[u32],
    ) -> Result<Self, GpuError> {
        let sizes = shape.sizes;
        let [x, h, wide, y, q, o, partial, a, expert_out, router, ids, groups, logits, ..] = sizes;
        let masks = device.tensor("allowed", (1 + n_slots) * allowed.len()).await?;
        device.write(&masks, 0, allowed);
        Ok(Self {
            x: device.tensor("x", x).await?,
            h: device.tensor("h", h).await?,
            wide: device.tensor("wide", wide).await?,
            y: device.tensor("y", y).await?,
            q: device.tensor("q", q).await?,
            o: device.tensor("o", o).await?,
            partial: device.tensor("attention splits", partial).await?,
            a: device.tensor("a", a).await?,
            expert_out: device.tensor("expert outputs", expert_out).await?,
            router_logits: device.tensor("router logits", router).await?,
            ids: device.tensor("ids", ids).await?,
            gates: device.tensor("gates", ids).await?,
            groups: device.tensor("groups", groups).await?,
            items_at: shape.items_at,
            logits: device.tensor("logits", logits).await?,
            sample: SampleBuffers::new(device, n_slots, shape.vocab).await?,
            logprobs: LogprobsBuffers::new(device, n_slots, shape.vocab, true).await?,
            allowed: masks,
        })
    }
}

/// The mask of allowed ids for a model without a tokenizer: all of them.
#[must_use]
pub fn all_token_ids(vocab_size: usize) -> Vec<u32> {
    let mut mask = vec![u32::MAX; vocab_size.div_ceil(32)];
    if let (Some(last), rest @ 1..) = (mask.last_mut(), vocab_size % 32) {
        *last = (1 << rest) - 1;
    }
    mask
}
