//! LoRA adapters: a low-rank addition to some of a model's matrices, `W' = W + scale B A`
//! (Hu et al. 2021, arXiv:2106.09685).

mod on_gpu;

use std::collections::HashMap;
use std::sync::Arc;

use super::TensorId;
pub use on_gpu::LoraCapacity;

/// An adapter for one model, checked against the model's configuration.
#[derive(Clone, Debug, Default)]
pub struct LoraAdapter {
    /// The factors of each adapted matrix. Routers ([`TensorId::Router`]) may be among them.
    pub factors: HashMap<TensorId, LoraFactors>,
}

impl LoraAdapter {
    /// Largest rank of its factors.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.factors.values().map(|factors| factors.rank).max().unwrap_or(0)
    }
}

/// The addition to one matrix `[rows, cols]`: `scale B A`.
#[derive(Clone, Debug)]
pub struct LoraFactors {
    /// Columns of B and rows of A.
    pub rank: usize,
    /// `alpha / rank`, or `alpha / sqrt(rank)` with rsLoRA.
    pub scale: f32,
    /// `[rank, cols]`. The gate and the up projection of an expert may share it: then both have the same `Arc`.
    pub a: Arc<[f32]>,
    /// `[rows, rank]`.
    pub b: Arc<[f32]>,
}
