//! Adds adapters to a model's matrices.

use half::{bf16, f16};

use super::{LoraAdapter, LoraFactors};
use crate::formats::ElementType;
use crate::model::TensorId;

/// Least number of multiplications for a thread of its own.
#[cfg(not(target_arch = "wasm32"))]
const THREAD_PRODUCTS: usize = 1 << 20;

/// Adapters that are added to a model, each with a factor on its scale.
pub type Merged = [(LoraAdapter, f32)];

/// Whether one of the adapters changes a matrix.
#[must_use]
pub fn is_changed(adapters: &Merged, id: TensorId) -> bool {
    adapters.iter().any(|(adapter, _)| adapter.factors.contains_key(&id))
}

/// Adds all adapters to consecutive whole rows of a matrix, from row `first` on, on all processors.
#[cfg(not(target_arch = "wasm32"))]
pub fn add_to_rows(adapters: &Merged, id: TensorId, cols: usize, first: usize, rows: &mut [f32]) {
    let cols = cols.max(1);
    for (adapter, factor) in adapters {
        let Some(factors) = adapter.factors.get(&id) else { continue };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(rows.len() * factors.rank / THREAD_PRODUCTS).max(1);
        let part = (rows.len() / cols).div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for (i, rows) in rows.chunks_mut(part * cols).enumerate() {
                let mut add = move || factors.add_to_rows(first + i * part, *factor, rows);
                if threads == 1 {
                    add();
                } else {
                    scope.spawn(add);
                }
            }
        });
    }
}

/// Elements in the format of a file; `None` if one is not finite there, or for blocks.
#[must_use]
pub fn encoded(element_type: ElementType, values: &[f32]) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = match element_type {
        ElementType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ElementType::F16 => {
            let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
            if halves.iter().any(|half| !half.is_finite()) {
                return None;
            }
            bytemuck::cast_slice(&halves).to_vec()
        }
        ElementType::BF16 => {
            let halves: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
            if halves.iter().any(|half| !half.is_finite()) {
                return None;
            }
            bytemuck::cast_slice(&halves).to_vec()
        }
        _ => return None,
    };
    values.iter().all(|value| value.is_finite()).then_some(bytes)
}

impl LoraFactors {
    /// Adds `factor * scale B A` to consecutive whole rows of the matrix, from row `first` on.
    ///
    /// An element of B A is summed in f32 in the order of the rank's components, and multiplied by `factor * scale`
    /// before it is added.
    pub fn add_to_rows(&self, first: usize, factor: f32, rows: &mut [f32]) {
        let rank = self.rank.max(1);
        let cols = (self.a.len() / rank).max(1);
        let scale = factor * self.scale;
        let b = self.b.chunks_exact(rank).skip(first);
        let mut sums = vec![0.0_f32; cols];
        for (row, b) in rows.chunks_exact_mut(cols).zip(b) {
            sums.fill(0.0);
            for (b, a) in b.iter().zip(self.a.chunks_exact(cols)) {
                for (sum, a) in sums.iter_mut().zip(a) {
                    *sum += b * a;
                }
            }
            for (element, sum) in row.iter_mut().zip(&sums) {
                *element += scale * sum;
            }
        }
    }

    /// The addition as a matrix `[rows, cols]`, row by row: `scale B A`.
    #[must_use]
    pub fn delta(&self) -> Vec<f32> {
        let rank = self.rank.max(1);
        let mut delta = vec![0.0; self.b.len() / rank * (self.a.len() / rank)];
        self.add_to_rows(0, 1.0, &mut delta);
        delta
    }
}
