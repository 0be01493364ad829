//! Host side of `shaders/lora_shrink.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::lora::{LoraMatrix, LoraShape};
use super::route::ChoiceConstants;
use super::{ChoicePart, ExpertChoice, Norm, NormPart, OfExpertPart, Reduce, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

/// Lanes that share four ranks, of matrices with few and with many columns.
const WG: u32 = 64;
const WIDE_WG: u32 = 256;
/// Lanes that each own four ranks: ranks are few, and a CPU driver runs eight lanes at a time.
const SERIAL_WG: u32 = 8;

/// The experts of products with the factors of a [`LoraMatrix`].
#[derive(Clone, Copy)]
pub enum OfExpert<'a> {
    /// The matrix has no experts.
    None,
    /// A pass of one row chooses its experts from the router's logits.
    Chosen(ExpertChoice<'a>),
    /// `[rows, top_k]`, as [`super::Route`] has chosen them.
    Listed {
        /// Experts.
        ids: &'a Tensor<u32>,
        /// Experts of a row.
        top_k: u32,
    },
}

impl OfExpert<'_> {
    fn part(self) -> OfExpertPart {
        match self {
            Self::None => OfExpertPart::None,
            Self::Chosen(_) => OfExpertPart::Chosen,
            Self::Listed { .. } => OfExpertPart::Listed,
        }
    }

    fn top_k(self) -> u32 {
        match self {
            Self::None => 1,
            Self::Chosen(choice) => choice.top_k,
            Self::Listed { top_k, .. } => top_k,
        }
    }
}

/// `v = scale A x`: the first half of an adapter's product. The product with the matrix adds `B v`.
pub struct LoraShrink<'a> {
    /// The factors, which also receive the results.
    pub lora: &'a LoraMatrix,
    /// `[inputs, cols]`.
    pub x: &'a Tensor<f32>,
    /// RMSNorm of `x`: its weight is applied here, its factor by the product with the matrix.
    pub norm: Option<Norm<'a>>,
    /// The experts.
    pub experts: OfExpert<'a>,
    /// Product `s` reads input row `s` instead of row `s / top_k`.
    pub own_rows: bool,
    /// Summation within a workgroup.
    pub reduce: Reduce,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rank4: u32,
    slot4: u32,
    v4: u32,
    cols: u32,
    top_k: u32,
    own_rows: u32,
    routed_scaling: f32,
    eps: f32,
}

/// The summation and the lanes of a workgroup.
fn lanes(reduce: Reduce, wide: bool) -> (Reduce, u32) {
    match reduce.is_serial() {
        true => (Reduce::Serial, SERIAL_WG),
        false if wide => (reduce, WIDE_WG),
        false => (reduce, WG),
    }
}

fn variant(
    reduce: Reduce,
    wide: bool,
    norm: bool,
    part: OfExpertPart,
    choice: Option<ChoiceConstants>,
) -> Variant {
    let (reduce, wg) = lanes(reduce, wide);
    let mut v = Variant::new("lora_shrink").import(reduce).import(NormPart::new(norm)).import(part);
    v = v.int("WG", wg);
    if let Some(choice) = choice {
        v = choice.import(v, ChoicePart::new(reduce));
    }
    v
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    let mut all = Vec::new();
    for reduce in Reduce::available(caps).into_iter().filter(|r| *r != Reduce::SerialSubgroup) {
        let choice = Some(ChoiceConstants::LFM2_8B_A1B);
        for norm in [false, true] {
            all.push(variant(reduce, false, norm, OfExpertPart::None, None));
            all.push(variant(reduce, false, norm, OfExpertPart::Chosen, choice));
            all.push(variant(reduce, false, norm, OfExpertPart::Listed, None));
            // The others differ by WG only.
            if !reduce.is_serial() {
                all.push(variant(reduce, true, norm, OfExpertPart::None, None));
            }
        }
    }
    all
}

impl LoraShrink<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        let LoraShape { cols, rank, .. } = self.lora.shape;
        let wide = cols >= (4 * WIDE_WG) as usize;
        let (_, wg) = lanes(self.reduce, wide);
        let top_k = self.experts.top_k();
        let mut bindings = vec![self.x.bind("x"), self.lora.data.bind("lora")];
        bindings.extend(self.norm.map(|n| n.scale.bind("norm_scale")));
        let mut choice = None;
        match self.experts {
            OfExpert::None => {}
            OfExpert::Chosen(c) => {
                choice = Some(c.constants());
                bindings.extend([c.logits.bind("logits"), c.expert_bias.bind("expert_bias")]);
            }
            OfExpert::Listed { ids, .. } => bindings.push(ids.bind("ids")),
        }
        let at = self.lora.shape.params();
        let groups = at.rank4.div_ceil(self.reduce.rows(wg));
        r.push(Dispatch {
            variant: variant(self.reduce, wide, self.norm.is_some(), self.experts.part(), choice),
            params: bytes_of(&Params {
                rank4: at.rank4,
                slot4: at.slot4,
                v4: at.v4,
                cols: cols as u32,
                top_k,
                own_rows: self.own_rows.into(),
                routed_scaling: 1.0,
                eps: 0.0,
            }),
            bindings,
            grid: [Extent::Rows { times: 1, per: 1 }, Extent::Const(groups), Extent::Const(top_k)],
            macs_per_row: (rank * cols) as u64 * u64::from(top_k),
            reads: Reads { bytes: 4 * self.lora.shape.slot_at(1) as u64, share: 1.0 },
        });
    }
}
