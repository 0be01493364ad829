//! Host side of `shaders/rms_norm.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{Reduce, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;

/// `h = scale * x / sqrt(mean(x^2) + eps)`, row by row.
pub struct RmsNorm<'a> {
    /// `[rows, hidden_size]`.
    pub x: &'a Tensor<f32>,
    /// `[hidden_size]`.
    pub scale: &'a Tensor<f32>,
    /// `[items, hidden_size]`.
    pub h: &'a Tensor<f32>,
    /// Added to the mean square.
    pub eps: f32,
    /// Items are the rows whose logits are wanted instead of all rows.
    pub only_logit_rows: bool,
    /// Summation within a workgroup.
    pub reduce: Reduce,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    hidden_size: u32,
    only_logit_rows: u32,
    eps: f32,
}

fn variant(reduce: Reduce) -> Variant {
    Variant::new("rms_norm").import(reduce).int("WG", WG)
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    Reduce::available(caps).into_iter().map(variant).collect()
}

impl RmsNorm<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        let per = self.reduce.rows(WG);
        let items = if self.only_logit_rows {
            Extent::LogitRows { per }
        } else {
            Extent::Rows { times: 1, per }
        };
        r.push(Dispatch {
            variant: variant(self.reduce),
            params: bytes_of(&Params {
                hidden_size: self.scale.len() as u32,
                only_logit_rows: self.only_logit_rows.into(),
                eps: self.eps,
            }),
            bindings: vec![self.x.bind("x"), self.scale.bind("scale"), self.h.bind("h")],
            grid: [items, Extent::Const(1), Extent::Const(1)],
            // It moves data; the first work of a long pass is a product, by which its speed is learnt.
            macs_per_row: 0,
            reads: Reads::default(),
        });
    }
}
