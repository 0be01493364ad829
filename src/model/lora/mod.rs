//! LoRA adapters: a low-rank addition to some of a model's matrices, `W' = W + scale B A`
//! (Hu et al. 2021, arXiv:2106.09685).
//!
//! Read from the files of PEFT (`peft.rs`) and of llama.cpp's conversion (`gguf.rs`).

mod config;
mod elements;
mod error;
mod gguf;
pub mod merge;
mod on_gpu;
mod patterns;
mod peft;
mod places;
mod read;
mod stacks;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::TensorId;
pub use error::LoraError;
pub use on_gpu::LoraCapacity;
pub use places::adapted_shape;
pub use read::{CONFIG as ADAPTER_CONFIG, WEIGHTS as ADAPTER_WEIGHTS};

/// Highest rank that is read. Ranks of published adapters are 4 to 256. A higher rank than the matrix's smaller
/// side gains nothing, but PEFT allows it.
pub const MAX_RANK: usize = 4096;

/// An adapter for one model, checked against the model's configuration.
#[derive(Clone, Debug, Default)]
pub struct LoraAdapter {
    /// The factors of each adapted matrix. Routers ([`TensorId::Router`]) may be among them.
    pub factors: HashMap<TensorId, LoraFactors>,
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

impl LoraAdapter {
    /// The highest rank of all matrices; 0 for an adapter without any.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.factors.values().map(|f| f.rank).max().unwrap_or(0)
    }

    /// Bytes of all factors in f32. A factor that two matrices share counts once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut seen = HashSet::new();
        let all = self.factors.values().flat_map(|f| [&f.a, &f.b]);
        all.filter(|factor| seen.insert(Arc::as_ptr(factor)))
            .map(|factor| size_of_val::<[f32]>(factor) as u64)
            .sum()
    }

    /// Hash of the contents: matrices, ranks, scales and values. It is the same in each run, for adapters from
    /// any kind of file.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut named: Vec<_> = self.factors.iter().map(|(id, f)| (id.hub_name(), f)).collect();
        named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut hash = XxHash3_64::with_seed(0);
        for (name, factors) in named {
            hash.write(name.as_bytes());
            hash.write(&(factors.rank as u64).to_le_bytes());
            hash.write(&factors.scale.to_le_bytes());
            hash.write(bytemuck::cast_slice(&factors.a));
            hash.write(bytemuck::cast_slice(&factors.b));
        }
        hash.finish()
    }
}
