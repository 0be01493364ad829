//! Host side of `shaders/short_conv.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{BiasPart, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;
/// Rows of a sequence that one lane computes.
const BLOCK: u32 = 32;

/// `y = C * conv(B * x)`, with the state in a ring.
pub struct ShortConv<'a> {
    /// `[rows, 3 * hidden_size]`: B, C, x.
    pub bcx: &'a Tensor<f32>,
    /// `[hidden_size, l_cache]`.
    pub taps: &'a Tensor<f32>,
    /// `[hidden_size]`.
    pub bias: Option<&'a Tensor<f32>>,
    /// `[columns, hidden_size]`: `ring_columns` of each slot, and behind them those of snapshots.
    pub ring: &'a Tensor<f32>,
    /// `[rows, hidden_size]`.
    pub y: &'a Tensor<f32>,
    /// Channels.
    pub hidden_size: u32,
    /// Taps of a channel.
    pub l_cache: u32,
    /// Columns of the ring.
    pub ring_columns: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    hidden_size: u32,
    rows: u32,
    first_row: u32,
}

fn variant(bias: bool, l_cache: u32, ring: u32) -> Variant {
    Variant::new("short_conv")
        .import(BiasPart::new(bias))
        .int("WG", WG)
        .int("BLOCK", BLOCK)
        .int("L", l_cache)
        .int("RING", ring)
}

pub(super) fn variants(_: &Caps) -> Vec<Variant> {
    vec![variant(false, 3, 16), variant(true, 3, 16), variant(true, 4, 17)]
}

impl ShortConv<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        let mut bindings = vec![
            self.bcx.bind("bcx"),
            self.taps.bind("taps"),
            self.ring.bind("ring"),
            self.y.bind("y"),
        ];
        bindings.extend(self.bias.map(|b| b.bind("bias")));
        r.push(Dispatch {
            variant: variant(self.bias.is_some(), self.l_cache, self.ring_columns),
            params: bytes_of(&Params {
                hidden_size: self.hidden_size,
                rows: self.hidden_size,
                first_row: 0,
            }),
            bindings,
            grid: [
                Extent::Const(self.hidden_size.div_ceil(WG)),
                Extent::SeqRows { per: BLOCK },
                Extent::Seqs,
            ],
            macs_per_row: u64::from(self.hidden_size * self.l_cache),
            reads: Reads::default(),
        });
    }
}
