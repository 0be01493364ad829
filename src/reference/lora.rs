//! Twin of `shaders/lora_shrink.wgsl` and of the import `lora`: the products of LoRA adapters.

use super::dot;

/// Adapters of one matrix, or of the experts' matrices.
#[derive(Clone, Copy, Debug)]
pub struct Lora<'a> {
    /// `[slots, experts, rank, cols]`.
    pub a: &'a [f32],
    /// `[slots, experts, rows, rank]`.
    pub b: &'a [f32],
    /// Rank.
    pub rank: usize,
    /// Experts.
    pub experts: usize,
    /// Experts of a row of the batch; 1 without experts.
    pub top_k: usize,
    /// Slot of each row of the batch.
    pub slots: &'a [Option<usize>],
    /// Factor of each row of the batch.
    pub scales: &'a [f32],
}

impl Lora<'_> {
    /// Row `row`, of `rows`, of `scale B A x` for product `s = batch row * top_k + j`.
    ///
    /// Source: Hu et al. 2021, arXiv:2106.09685.
    pub(super) fn product(
        &self,
        s: usize,
        expert: usize,
        (row, rows): (usize, usize),
        x: &[f32],
    ) -> f64 {
        let batch_row = s / self.top_k;
        let Some(slot) = self.slots[batch_row] else { return 0.0 };
        let matrix = slot * self.experts + expert;
        let b = &self.b[(matrix * rows + row) * self.rank..][..self.rank];
        let a = |r: usize| &self.a[(matrix * self.rank + r) * x.len()..][..x.len()];
        let sum: f64 = b.iter().enumerate().map(|(r, b)| f64::from(*b) * dot(a(r), x)).sum();
        f64::from(self.scales[batch_row]) * sum
    }
}
