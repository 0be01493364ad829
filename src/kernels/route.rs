//! Host side of `shaders/route.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{ChoicePart, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;

/// The choice of a row's experts by the router's logits.
#[derive(Clone, Copy)]
pub struct ExpertChoice<'a> {
    /// `[rows, experts]`: output of the router.
    pub logits: &'a Tensor<f32>,
    /// `[experts]`; zeros if the model has none.
    pub expert_bias: &'a Tensor<f32>,
    /// Experts of a row.
    pub top_k: u32,
    /// Divide the gates by their sum.
    pub norm_topk_prob: bool,
    /// Factor of the gates.
    pub routed_scaling_factor: f32,
}

impl ExpertChoice<'_> {
    pub(super) fn constants(&self) -> ChoiceConstants {
        ChoiceConstants {
            experts: self.expert_bias.len() as u32,
            top_k: self.top_k,
            norm_topk_prob: self.norm_topk_prob,
        }
    }
}

/// The constants of a kernel that chooses experts.
#[derive(Clone, Copy)]
pub(super) struct ChoiceConstants {
    pub experts: u32,
    pub top_k: u32,
    pub norm_topk_prob: bool,
}

impl ChoiceConstants {
    /// Those of LFM2-8B-A1B.
    pub const LFM2_8B_A1B: Self = Self { experts: 32, top_k: 4, norm_topk_prob: true };

    /// Adds the choice to a kernel.
    pub fn import(self, v: Variant, part: ChoicePart) -> Variant {
        v.import(part)
            .int("EXPERTS", self.experts)
            .int("TOP_K", self.top_k)
            .int("NORM_TOPK", self.norm_topk_prob.into())
    }
}

/// Chooses the experts of rows.
pub struct Route<'a> {
    /// The choice.
    pub choice: ExpertChoice<'a>,
    /// `[rows, top_k]`.
    pub ids: &'a Tensor<u32>,
    /// `[rows, top_k]`.
    pub gates: &'a Tensor<f32>,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    routed_scaling: f32,
}

fn variant(constants: ChoiceConstants) -> Variant {
    constants.import(Variant::new("route").int("WG", WG), ChoicePart::Alone)
}

pub(super) fn variants(_: &Caps) -> Vec<Variant> {
    [(32, 4, true), (64, 4, true), (7, 3, false), (7, 1, true)]
        .map(|(experts, top_k, norm_topk_prob)| {
            variant(ChoiceConstants { experts, top_k, norm_topk_prob })
        })
        .to_vec()
}

impl Route<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        let ExpertChoice { logits, expert_bias, routed_scaling_factor, .. } = self.choice;
        let constants = self.choice.constants();
        r.push(Dispatch {
            variant: variant(constants),
            params: bytes_of(&Params { routed_scaling: routed_scaling_factor }),
            bindings: vec![
                logits.bind("logits"),
                expert_bias.bind("expert_bias"),
                self.ids.bind("ids"),
                self.gates.bind("gates"),
            ],
            grid: [Extent::Rows { times: 1, per: WG }, Extent::Const(1), Extent::Const(1)],
            macs_per_row: u64::from(constants.experts),
            reads: Reads::default(),
        });
    }
}
