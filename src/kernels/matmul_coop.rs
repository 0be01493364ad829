//! Host side of `shaders/matmul_coop.wgsl`.

use super::matmul::{Additions, TILE_ITEMS};
use super::{BuffersPart, CoopPart, Epilogue, Format, ItemsPart, Matmul, WeightsPart};
use crate::gpu::{Caps, Recorder, Variant};

/// Bytes of workgroup memory for a tile with one buffer; every device with matrix units has this much.
const ONE_BUFFER: u32 = 32 << 10;
/// With two buffers: 30,720 for operands and up to 16,384 for sums.
const TWO_BUFFERS: u32 = 46 << 10;

/// As [`Matmul`], on the matrix units of a device.
pub struct MatmulCoop<'a>(pub Matmul<'a>);

impl MatmulCoop<'_> {
    /// Whether a device can run the kernel. On Metal it cannot: wgpu 30 reports subgroups of 4 to 64 lanes for every
    /// device there.
    #[must_use]
    pub fn available(caps: &Caps) -> bool {
        caps.coop_side > 0
            && caps.f16
            && caps.min_subgroup >= 8
            && lanes(caps) <= caps.max_invocations
            && caps.max_workgroup_memory >= ONE_BUFFER
    }

    /// Appends one dispatch for each part of the matrix. The device must be
    /// [`available`](Self::available).
    pub fn record(&self, r: &mut Recorder) {
        self.0.record_variant(r, variant);
    }
}

/// Blocks of a tile, one for each subgroup: eight of 32 rows by 32 items, or four of 64 rows where
/// subgroups are larger or of different sizes. 32 lanes of eight subgroups and 64 of four have 32 sums each.
fn blocks(caps: &Caps) -> u32 {
    if caps.max_subgroup <= 32 && caps.min_subgroup == caps.max_subgroup { 8 } else { 4 }
}

/// Lanes of a workgroup: at least one subgroup for each block.
fn lanes(caps: &Caps) -> u32 {
    blocks(caps) * caps.max_subgroup
}

fn variant(
    caps: &Caps,
    weights: WeightsPart,
    items: ItemsPart,
    epilogue: Epilogue,
    additions: Additions,
) -> Variant {
    let two = caps.max_workgroup_memory >= TWO_BUFFERS;
    let surplus = caps.min_subgroup < caps.max_subgroup;
    super::matmul::imports(Variant::new("matmul_coop"), weights, items, epilogue, additions)
        .import(CoopPart::of(caps))
        .import(if two { BuffersPart::Two } else { BuffersPart::One })
        .int("TILE_ITEMS", TILE_ITEMS)
        .int("WG", lanes(caps))
        .int("BLOCKS", blocks(caps))
        .int("STORED_BLOCKS", blocks(caps) + u32::from(surplus))
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    if !MatmulCoop::available(caps) {
        return Vec::new();
    }
    let formats = Format::ALL.iter().map(|f| f.weights_part(caps));
    formats.flat_map(|weights| super::matmul::all_of(caps, weights, variant)).collect()
}
