//! Factors of a parameter that stacks all experts of a layer, as PEFT's `ParamWrapper` stores them.
//!
//! Source: PEFT 0.21.2 `tuners/lora/layer.py`, `ParamWrapper.get_delta_weight`. With E experts and rank r:
//!
//! | factor | shape | element of expert e |
//! |---|---|---|
//! | A | `[E * r, in]` | rows `e * r .. (e + 1) * r` |
//! | B | `[out, r * E]` | column `k * E + e` is component k |

use std::sync::Arc;

use crate::model::{ModelConfig, MoeConfig, TensorId};

use super::LoraFactors;

/// One of the two parameters of `Lfm2MoeExperts` (transformers 5.23 `models/lfm2_moe`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// `[E, 2 * moe_intermediate_size, hidden_size]`: w1's rows, then w3's.
    GateUp,
    /// `[E, hidden_size, moe_intermediate_size]`.
    Down,
}

impl Parameter {
    pub(super) const ALL: [Self; 2] = [Self::GateUp, Self::Down];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GateUp => "gate_up_proj",
            Self::Down => "down_proj",
        }
    }

    /// Rows and columns of an expert.
    pub(super) fn shape(self, config: &ModelConfig, moe: &MoeConfig) -> [usize; 2] {
        let (hidden, width) = (config.hidden_size, moe.intermediate_size);
        match self {
            Self::GateUp => [2 * width, hidden],
            Self::Down => [hidden, width],
        }
    }

    /// The shapes of A and B for rank r, in errors.
    pub(super) fn need(self, config: &ModelConfig, moe: &MoeConfig) -> [String; 2] {
        let ([rows, cols], experts) = (self.shape(config, moe), moe.num_experts);
        [format!("[rank * {experts}, {cols}]"), format!("[{rows}, rank * {experts}]")]
    }

    /// The factors of each expert's matrices. The lengths must be those of the parameter's shape and `rank`.
    pub(super) fn split(
        self,
        layer: usize,
        experts: usize,
        rank: usize,
        scale: f32,
        a: &[f32],
        b: &[f32],
    ) -> Vec<(TensorId, LoraFactors)> {
        let per_expert = (a.len() / experts.max(1)).max(1);
        let columns = (rank * experts).max(1);
        let mut all = Vec::new();
        for (e, a) in a.chunks_exact(per_expert).enumerate() {
            let a: Arc<[f32]> = a.into();
            let rows = b.chunks_exact(columns);
            let of_expert = |row: &[f32]| row.iter().skip(e).step_by(experts).copied().collect();
            let own: Vec<f32> = rows.flat_map(|row| -> Vec<f32> { of_expert(row) }).collect();
            let factors = |b: &[f32]| LoraFactors { rank, scale, a: a.clone(), b: b.into() };
            match self {
                Self::Down => all.push((TensorId::ExpertW2(layer, e), factors(&own))),
                Self::GateUp => {
                    let (gate, up) = own.split_at(own.len() / 2);
                    all.push((TensorId::ExpertW1(layer, e), factors(gate)));
                    all.push((TensorId::ExpertW3(layer, e), factors(up)));
                }
            }
        }
        all
    }
}
