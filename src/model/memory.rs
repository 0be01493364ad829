//! Memory of a model on the GPU, computed before anything is uploaded.

use super::ScratchShape;
use crate::kernels::KvFormat;
use crate::state::StateShape;

/// Bytes on the GPU by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Weights, at their own width.
    pub weights: u64,
    /// Keys and values of all positions.
    pub kv: u64,
    /// Conv state, RoPE table, token history.
    pub state: u64,
    /// Activations and logits.
    pub activations: u64,
    /// Most positions of each sequence.
    pub context: u32,
    /// Sequences.
    pub sequences: u32,
    /// Storage format of keys and values.
    pub kv_format: KvFormat,
    /// Bytes of keys and values that a position takes in one attention layer.
    pub kv_per_token: u64,
    /// Attention layers.
    pub attentions: u32,
    /// Bytes that a sequence takes in one convolution.
    pub conv_per_sequence: u64,
    /// Convolutions.
    pub convolutions: u32,
}

impl MemoryPlan {
    /// The plan for a model of `weights` bytes and the shapes of its state and activations.
    #[must_use]
    pub fn new(weights: u64, state: &StateShape, scratch: &ScratchShape) -> Self {
        let dims = &state.dims;
        Self {
            weights,
            kv: state.kv_bytes(),
            state: state.other_bytes(),
            activations: scratch.bytes(),
            context: state.context,
            sequences: state.n_slots,
            kv_format: state.kv_format,
            kv_per_token: 8 * state.kv_format.words(dims.n_kv_heads, dims.head_dim) as u64,
            attentions: dims.attentions as u32,
            conv_per_sequence: dims.ring_bytes(),
            convolutions: dims.convolutions as u32,
        }
    }

    /// All bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights + self.kv + self.state + self.activations
    }
}
