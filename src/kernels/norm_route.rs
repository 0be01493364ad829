//! Host side of `shaders/norm_route.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{Reduce, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;

/// Norms rows and chooses their experts.
pub struct NormRoute<'a> {
    /// `[rows, hidden_size]`.
    pub x: &'a Tensor<f32>,
    /// `[hidden_size]`: `ffn_norm`.
    pub scale: &'a Tensor<f32>,
    /// `[experts, hidden_size]`.
    pub router: &'a Tensor<f32>,
    /// `[experts]`; zeros if the model has none.
    pub expert_bias: &'a Tensor<f32>,
    /// `[rows, hidden_size]`.
    pub h: &'a Tensor<f32>,
    /// `[rows, top_k]`.
    pub ids: &'a Tensor<u32>,
    /// `[rows, top_k]`.
    pub gates: &'a Tensor<f32>,
    /// Added to the mean square.
    pub eps: f32,
    /// Experts of a row.
    pub top_k: u32,
    /// Divide the gates by their sum.
    pub norm_topk_prob: bool,
    /// Factor of the gates.
    pub routed_scaling_factor: f32,
    /// Summation within a workgroup.
    pub reduce: Reduce,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    hidden_size: u32,
    eps: f32,
    routed_scaling: f32,
}

fn variant(reduce: Reduce, experts: u32, top_k: u32, norm_topk_prob: bool) -> Variant {
    Variant::new("norm_route")
        .import(reduce)
        .int("WG", WG)
        .int("EXPERTS", experts)
        .int("TOP_K", top_k)
        .int("NORM_TOPK", norm_topk_prob.into())
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    let mut all = Vec::new();
    for reduce in Reduce::available(caps) {
        for (experts, top_k, norm) in [(32, 4, true), (64, 4, true), (7, 3, false), (7, 1, true)] {
            all.push(variant(reduce, experts, top_k, norm));
        }
    }
    all
}

impl NormRoute<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        let (hidden_size, experts) = (self.scale.len() as u32, self.expert_bias.len() as u32);
        r.push(Dispatch {
            variant: variant(self.reduce, experts, self.top_k, self.norm_topk_prob),
            params: bytes_of(&Params {
                hidden_size,
                eps: self.eps,
                routed_scaling: self.routed_scaling_factor,
            }),
            bindings: vec![
                self.x.bind("x"),
                self.scale.bind("scale"),
                self.router.bind("router"),
                self.expert_bias.bind("expert_bias"),
                self.h.bind("h"),
                self.ids.bind("ids"),
                self.gates.bind("gates"),
            ],
            grid: [
                Extent::Rows { times: 1, per: self.reduce.rows(WG) },
                Extent::Const(1),
                Extent::Const(1),
            ],
            macs_per_row: u64::from(hidden_size * (experts + 1)),
            reads: Reads::default(),
        });
    }
}
