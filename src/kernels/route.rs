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

fn variant(experts: u32, top_k: u32, norm_topk_prob: bool) -> Variant {
    Variant::new("route")
        .import(ChoicePart::Alone)
        .int("WG", WG)
        .int("EXPERTS", experts)
        .int("TOP_K", top_k)
        .int("NORM_TOPK", norm_topk_prob.into())
}

pub(super) fn variants(_: &Caps) -> Vec<Variant> {
    [(32, 4, true), (64, 4, true), (7, 3, false), (7, 1, true)]
        .map(|(experts, top_k, norm)| variant(experts, top_k, norm))
        .to_vec()
}

impl Route<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        let ExpertChoice { logits, expert_bias, top_k, norm_topk_prob, routed_scaling_factor } =
            self.choice;
        let experts = expert_bias.len() as u32;
        r.push(Dispatch {
            variant: variant(experts, top_k, norm_topk_prob),
            params: bytes_of(&Params { routed_scaling: routed_scaling_factor }),
            bindings: vec![
                logits.bind("logits"),
                expert_bias.bind("expert_bias"),
                self.ids.bind("ids"),
                self.gates.bind("gates"),
            ],
            grid: [Extent::Rows { times: 1, per: WG }, Extent::Const(1), Extent::Const(1)],
            macs_per_row: u64::from(experts),
            reads: Reads::default(),
        });
    }
}
