//! Adapters on the GPU: which matrices have them, their capacity, and the layout of their factors.

use super::{LoraAdapter, LoraFactors};
use crate::gpu::{Device, GpuError};
use crate::kernels::{LoraMatrix, LoraShape, Matrix};
use crate::model::weights::{Ffn, Operator, Weights};
use crate::model::{ModelConfig, TensorId};

/// Adapters that fit: their number, and for each matrix that adapters can change the rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoraCapacity {
    /// Adapters at once.
    pub slots: usize,
    /// Rank of each matrix's factors, in the order of the forward pass; 0 if no adapter has it.
    pub(crate) ranks: Vec<usize>,
}

impl LoraCapacity {
    /// The capacity that `adapters` need in `slots` slots.
    pub fn of<'a>(
        config: &ModelConfig,
        slots: usize,
        adapters: impl IntoIterator<Item = &'a LoraAdapter>,
    ) -> Self {
        let mut ranks = vec![0; matrices(config).len()];
        for adapter in adapters {
            for (rank, first) in ranks.iter_mut().zip(matrices(config)) {
                let own = members(config, first).iter().map(|ids| stacked_rank(adapter, ids)).max();
                *rank = (*rank).max(own.unwrap_or(0).next_multiple_of(LoraShape::RANKS));
            }
        }
        Self { slots, ranks }
    }

    /// Whether all that fits `needed` fits this one, and it has no matrix that none of it changes: each takes a
    /// dispatch.
    pub fn suits(&self, needed: &Self) -> bool {
        let mut ranks = self.ranks.iter().zip(&needed.ranks);
        self.slots >= needed.slots
            && self.ranks.len() == needed.ranks.len()
            && ranks.all(|(own, needed)| own >= needed && (*own == 0 || *needed > 0))
    }
}

impl Weights {
    /// The same weights, with room for adapters of passes of at most `rows` rows.
    ///
    /// # Errors
    /// [`GpuError`] if there is no memory for them.
    pub async fn with_lora(
        &self,
        device: &Device,
        config: &ModelConfig,
        capacity: &LoraCapacity,
        rows: usize,
    ) -> Result<Self, GpuError> {
        let mut adapted = self.clone();
        let top_k = config.moe.as_ref().map_or(1, |moe| moe.top_k);
        for (rank, matrix) in capacity.ranks.iter().zip(adapted.adaptable()) {
            if *rank == 0 {
                continue;
            }
            let shape = LoraShape {
                experts: matrix.experts,
                rows: matrix.rows,
                cols: matrix.cols,
                rank: *rank,
                slots: capacity.slots,
                products: rows * if matrix.experts > 1 { top_k } else { 1 },
            };
            matrix.lora = Some(LoraMatrix::new(device, shape).await?);
        }
        Ok(adapted)
    }

    /// Writes an adapter's factors into a slot. They replace those of another adapter there.
    pub fn write_lora(
        &self,
        device: &Device,
        config: &ModelConfig,
        slot: usize,
        adapter: &LoraAdapter,
    ) {
        // Tensors are shared, so a copy of their list has the same ones.
        for (first, matrix) in matrices(config).into_iter().zip(self.clone().adaptable()) {
            let Some(LoraMatrix { data, shape }) = &matrix.lora else { continue };
            let (a, b) = packed(config, adapter, first, shape);
            let at = shape.slot_at(slot);
            device.write(data, at, &a);
            device.write(data, at + shape.a_len(), &b);
            // Otherwise the whole adapter would be staged in the host's memory once more.
            device.flush_uploads();
        }
    }

    /// The matrices that adapters can change, in the order of [`matrices`].
    fn adaptable(&mut self) -> Vec<&mut Matrix> {
        let mut all = Vec::new();
        for layer in &mut self.layers {
            match &mut layer.operator {
                Operator::ShortConv(conv) => all.extend([&mut conv.in_proj, &mut conv.out_proj]),
                Operator::Attention(a) => all.extend([&mut a.qkv, &mut a.out_proj]),
            }
            match &mut layer.ffn {
                Ffn::Dense { w13, w2 } => all.extend([w13, w2]),
                Ffn::Moe { router, w13, w2, .. } => all.extend([router, w13, w2]),
            }
        }
        all
    }
}

/// The first tensor of each matrix that adapters can change.
fn matrices(config: &ModelConfig) -> Vec<TensorId> {
    use crate::model::{FfnKind, OperatorKind};
    let mut all = Vec::new();
    for (i, layer) in config.layers.iter().enumerate() {
        all.extend(match layer.operator {
            OperatorKind::ShortConv => [TensorId::ConvInProj(i), TensorId::ConvOutProj(i)],
            OperatorKind::FullAttention => [TensorId::Q(i), TensorId::AttentionOut(i)],
        });
        match (layer.ffn, &config.moe) {
            (FfnKind::Moe, Some(_)) => all.extend([
                TensorId::Router(i),
                TensorId::ExpertW1(i, 0),
                TensorId::ExpertW2(i, 0),
            ]),
            _ => all.extend([TensorId::W1(i), TensorId::W2(i)]),
        }
    }
    all
}

/// A tensor in a matrix on the GPU: its first row there, and the distance between its rows.
struct Member {
    id: TensorId,
    first: usize,
    step: usize,
}

/// The tensors of each expert of the matrix that begins with `first`, as model/layout.rs stacks them.
fn members(config: &ModelConfig, first: TensorId) -> Vec<Vec<Member>> {
    let own = |id| Member { id, first: 0, step: 1 };
    let in_turn = |gate, up| {
        vec![Member { id: gate, first: 0, step: 2 }, Member { id: up, first: 1, step: 2 }]
    };
    let experts = 0..config.moe.as_ref().map_or(0, |moe| moe.num_experts);
    match first {
        TensorId::Q(i) => {
            let (q, kv) = (config.q_size(), config.kv_size());
            let k = Member { id: TensorId::K(i), first: q, step: 1 };
            let v = Member { id: TensorId::V(i), first: q + kv, step: 1 };
            vec![vec![own(first), k, v]]
        }
        TensorId::W1(i) => vec![in_turn(first, TensorId::W3(i))],
        TensorId::ExpertW1(i, _) => {
            experts.map(|e| in_turn(TensorId::ExpertW1(i, e), TensorId::ExpertW3(i, e))).collect()
        }
        TensorId::ExpertW2(i, _) => experts.map(|e| vec![own(TensorId::ExpertW2(i, e))]).collect(),
        other => vec![vec![own(other)]],
    }
}

/// An adapter's factors of some tensors of one matrix with their first rank. Tensors that share A share ranks.
fn with_ranks<'a>(
    adapter: &'a LoraAdapter,
    members: &'a [Member],
) -> Vec<(&'a Member, &'a LoraFactors, usize)> {
    let mut all: Vec<(&Member, &LoraFactors, usize)> = Vec::new();
    let mut next = 0;
    for member in members {
        let Some(factors) = adapter.factors.get(&member.id) else { continue };
        let same = all.iter().find(|(_, other, _)| std::sync::Arc::ptr_eq(&other.a, &factors.a));
        let first = same.map_or(next, |(_, _, first)| *first);
        next = next.max(first + factors.rank);
        all.push((member, factors, first));
    }
    all
}

/// Rank of the factors of several tensors in one matrix.
fn stacked_rank(adapter: &LoraAdapter, members: &[Member]) -> usize {
    let all = with_ranks(adapter, members);
    all.iter().map(|(_, factors, first)| first + factors.rank).max().unwrap_or(0)
}

/// An adapter's A and B of one matrix. Tensors that are stacked in it have ranks of their own: A has theirs one after
/// another, and B is zero elsewhere. B is multiplied by the adapter's scale.
fn packed(
    config: &ModelConfig,
    adapter: &LoraAdapter,
    first: TensorId,
    shape: &LoraShape,
) -> (Vec<f32>, Vec<f32>) {
    let LoraShape { rows, cols, rank, .. } = *shape;
    let (mut a, mut b) = (vec![0.0; shape.a_len()], vec![0.0; shape.b_len()]);
    for (expert, members) in members(config, first).iter().enumerate() {
        for (member, factors, first_rank) in with_ranks(adapter, members) {
            let (own_a, own_b) = (&factors.a, &factors.b);
            for (r, row) in own_a.chunks_exact(own_a.len() / factors.rank).enumerate() {
                let at = (expert * rank + first_rank + r) * cols;
                a[at..at + row.len()].copy_from_slice(row);
            }
            for (i, row) in own_b.chunks_exact(factors.rank).enumerate() {
                let row_at = expert * rows + member.first + i * member.step;
                let at = row_at * rank + first_rank;
                for (target, value) in b[at..].iter_mut().zip(row) {
                    *target = factors.scale * value;
                }
            }
        }
    }
    (a, b)
}
