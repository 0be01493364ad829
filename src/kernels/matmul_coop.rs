//! Host side of `shaders/matmul_coop.wgsl`.

use super::matmul::{TILE_ITEMS, Tile};
use super::{CoopPart, Epilogue, Format, ItemsPart, Matmul, WeightsPart};
use crate::gpu::{Caps, Recorder, Variant};

/// Rows of a tile: four quarters.
const TILE_ROWS: u32 = 128;
/// Items of a tile of dense products. Grouped ones need [`TILE_ITEMS`]; twice as many decode the weights
/// half as often.
const DENSE_ITEMS: u32 = 64;
/// Bytes of workgroup memory for a tile; every device with matrix units has this much.
const WORKGROUP_MEMORY: u32 = 32 << 10;

/// As [`Matmul`], on the matrix units of a device.
pub struct MatmulCoop<'a>(pub Matmul<'a>);

impl MatmulCoop<'_> {
    /// Whether a device can run the kernel.
    #[must_use]
    pub fn available(caps: &Caps) -> bool {
        caps.coop_side > 0
            && caps.f16
            && caps.min_subgroup >= 8
            && lanes(caps) <= caps.max_invocations
            && caps.max_workgroup_memory >= WORKGROUP_MEMORY
    }

    /// Appends one dispatch for each part of the matrix. The device must be
    /// [`available`](Self::available).
    pub fn record(&self, r: &mut Recorder) {
        let items = if self.0.grouped.is_some() { TILE_ITEMS } else { DENSE_ITEMS };
        let tile = Tile { rows: TILE_ROWS, items, variant };
        self.0.record_tiles(r, &tile);
    }
}

/// Lanes of a workgroup: at least four subgroups.
fn lanes(caps: &Caps) -> u32 {
    4 * caps.max_subgroup
}

fn variant(
    caps: &Caps,
    weights: WeightsPart,
    items: ItemsPart,
    epilogue: Epilogue,
    bias: bool,
) -> Variant {
    let (side, tile_items) = (
        if caps.coop_side == 8 { CoopPart::Side8 } else { CoopPart::Side16 },
        match items {
            ItemsPart::Dense => DENSE_ITEMS,
            _ => TILE_ITEMS,
        },
    );
    super::matmul::imports(Variant::new("matmul_coop"), weights, items, epilogue, bias)
        .import(side)
        .int("TILE_ITEMS", tile_items)
        .int("WG", lanes(caps))
        .int("SUBGROUPS", lanes(caps) / caps.min_subgroup.max(1))
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    if !MatmulCoop::available(caps) {
        return Vec::new();
    }
    let formats = Format::ALL.iter().map(|f| f.weights_part(caps));
    formats.flat_map(|weights| super::matmul::all_of(caps, weights, variant)).collect()
}
