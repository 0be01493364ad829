//! Host side of `shaders/in_proj_conv.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::lora::LoraParams;
use super::matvec::product_of;
use super::{
    Activations, Format, LoraPart, Matrix, MatrixPart, Norm, NormPart, Reduce, WeightsPart,
    bytes_of,
};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;
/// Channels of a group of lanes.
const CHANNELS: u32 = 4;

/// `y = C * conv(B * x')` with `B, C, x' = in_proj(norm(x))`, of rows that are the only ones of their
/// sequences.
pub struct InProjConv<'a> {
    /// `[3 hidden_size, hidden_size]`: rows of B, C, x; one part ([`InProjConv::takes`]).
    pub in_proj: &'a Matrix,
    /// `[rows, hidden_size]`: the residual stream.
    pub x: &'a Tensor<f32>,
    /// RMSNorm of `x`.
    pub norm: Norm<'a>,
    /// `[hidden_size, l_cache]`.
    pub taps: &'a Tensor<f32>,
    /// `[columns, hidden_size]`: `ring_columns` of each slot, and behind them those of snapshots.
    pub ring: &'a Tensor<f32>,
    /// `[rows, hidden_size]`.
    pub y: &'a Tensor<f32>,
    /// Taps of a channel.
    pub l_cache: u32,
    /// Columns of the ring.
    pub ring_columns: u32,
    /// Summation within a workgroup.
    pub reduce: Reduce,
    /// Precision of the normed rows in products with quantised weights.
    pub activations: Activations,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    channels: u32,
    cols: u32,
    planes: [u32; 3],
    eps: f32,
    lora: LoraParams,
}

fn variant(
    weights: WeightsPart,
    reduce: Reduce,
    activations: Activations,
    (l_cache, ring): (u32, u32),
    lora: bool,
) -> Variant {
    let v = Variant::new("in_proj_conv").import(reduce).import(NormPart::Rms);
    let v = v.import(LoraPart::new(lora));
    product_of(v, weights, activations, reduce).int("WG", WG).int("L", l_cache).int("RING", ring)
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    let mut all = Vec::new();
    for (format, reduce) in
        Format::ALL.iter().flat_map(|f| Reduce::available(caps).into_iter().map(move |r| (f, r)))
    {
        for weights in format.parts(caps) {
            all.push(variant(weights, reduce, Activations::Float, (3, 16), false));
            if InProjConv::binds(*format, true, caps) && reduce != Reduce::SerialSubgroup {
                all.push(variant(weights, reduce, Activations::Float, (3, 16), true));
            }
            if weights.is_quantised() {
                all.push(variant(weights, reduce, Activations::Int8, (3, 16), false));
            }
        }
    }
    all
}

impl InProjConv<'_> {
    /// Whether the kernel can take a matrix: all rows are in one part, channels come in fours, and the device has
    /// enough storage bindings, of which WebGPU grants eight.
    #[must_use]
    pub fn takes(in_proj: &Matrix, caps: &Caps) -> bool {
        let [part] = &in_proj.parts[..] else { return false };
        Self::binds(part.format, in_proj.lora.is_some(), caps)
            && in_proj.rows.is_multiple_of(3 * CHANNELS as usize)
    }

    /// Whether the device has storage bindings for the batch table, five tensors, weights, and adapters.
    #[must_use]
    pub fn binds(format: Format, lora: bool, caps: &Caps) -> bool {
        6 + format.bindings() + usize::from(lora) <= caps.max_storage_buffers as usize
    }

    /// Appends the dispatch. The matrix must be one that the kernel [`takes`](Self::takes).
    pub fn record(&self, r: &mut Recorder) {
        let [part @ MatrixPart { rows, planes, .. }] = &self.in_proj.parts[..] else { return };
        let weights = part.format.weights_part(r.caps());
        let channels = *rows as u32 / 3;
        let mut bindings = part.bind();
        bindings.extend([
            self.x.bind("x"),
            self.norm.scale.bind("norm_scale"),
            self.taps.bind("taps"),
            self.ring.bind("ring"),
            self.y.bind("y"),
        ]);
        bindings.extend(self.in_proj.lora.as_ref().map(|lora| lora.data.bind("lora")));
        r.push(Dispatch {
            variant: variant(
                weights,
                self.reduce,
                self.activations,
                (self.l_cache, self.ring_columns),
                self.in_proj.lora.is_some(),
            ),
            params: bytes_of(&Params {
                channels,
                cols: self.in_proj.cols as u32,
                planes: planes.at,
                eps: self.norm.eps,
                lora: LoraParams::of(self.in_proj.lora.as_ref()),
            }),
            bindings,
            grid: [
                Extent::Rows { times: 1, per: 1 },
                Extent::Const(channels.div_ceil(CHANNELS * self.reduce.rows(WG))),
                Extent::Const(1),
            ],
            macs_per_row: (rows * self.in_proj.cols) as u64,
            reads: Reads { bytes: part.data.bytes(), share: 1.0 },
        });
    }
}
