//! Host side of `shaders/moe_group.wgsl` and `shaders/moe_combine.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{TILE_ITEMS, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;
/// Lanes of `moe_group`, which is one workgroup.
const GROUP_WG: u32 = 256;

/// Fewest items of a full tile.
const LEAST_TILE: u32 = 4;

/// First word of the sorted items in the groups of at most `rows` rows. Before it are the number of
/// tiles and room for as many tiles as there can be.
fn items_at(rows: u32, experts: u32, top_k: u32) -> u32 {
    let most = Extent::ExpertTiles { experts, top_k, tile: LEAST_TILE };
    4 + 4 * most.of(&crate::gpu::StepShape { rows, ..Default::default() })
}

/// `(items_at, length)` of the groups tensor for at most `rows` rows.
#[must_use]
pub fn groups_len(rows: u32, experts: u32, top_k: u32) -> (u32, usize) {
    let at = items_at(rows, experts, top_k);
    (at, (at + rows * top_k) as usize)
}

/// Sorts the items of a pass by expert.
pub struct MoeGroup<'a> {
    /// `[rows, top_k]`.
    pub ids: &'a Tensor<u32>,
    /// The tile list and the sorted items, as the shader's header describes them.
    pub groups: &'a Tensor<u32>,
    /// First word of the sorted items in it.
    pub items_at: u32,
    /// Experts.
    pub experts: u32,
    /// Experts of a row.
    pub top_k: u32,
    /// Most items of a tile, at least 4.
    pub tile: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct GroupParams {
    top_k: u32,
    items_at: u32,
}

/// Counters of `moe_group` in workgroup memory, 8 KiB: chunks times experts.
const COUNTERS: u32 = 2048;

fn group_variant(experts: u32, tile: u32) -> Variant {
    Variant::new("moe_group")
        .int("WG", GROUP_WG)
        .int("EXPERTS", experts)
        .int("CHUNKS", (COUNTERS / experts).clamp(1, 64))
        .int("TILE_ITEMS", tile)
}

pub(super) fn group_variants(_: &Caps) -> Vec<Variant> {
    [7, 32, 64]
        .into_iter()
        .flat_map(|e| [4, 8, TILE_ITEMS].map(|tile| group_variant(e, tile)))
        .collect()
}

impl MoeGroup<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        debug_assert!(self.tile >= LEAST_TILE, "the list has room for tiles of {LEAST_TILE}");
        r.push(Dispatch {
            variant: group_variant(self.experts, self.tile),
            params: bytes_of(&GroupParams { top_k: self.top_k, items_at: self.items_at }),
            bindings: vec![self.ids.bind("ids"), self.groups.bind("groups")],
            grid: [Extent::Const(1); 3],
            macs_per_row: 0,
            reads: Reads::default(),
        });
    }
}

/// Adds the gated outputs of a row's experts to the residual stream.
pub struct MoeCombine<'a> {
    /// `[rows * top_k, hidden_size]`.
    pub y: &'a Tensor<f32>,
    /// `[rows, top_k]`.
    pub gates: &'a Tensor<f32>,
    /// `[rows, hidden_size]`.
    pub x: &'a Tensor<f32>,
    /// Columns.
    pub hidden_size: u32,
    /// Experts of a row.
    pub top_k: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CombineParams {
    hidden_size: u32,
    top_k: u32,
}

pub(super) fn combine_variants(_: &Caps) -> Vec<Variant> {
    vec![Variant::new("moe_combine").int("WG", WG)]
}

impl MoeCombine<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        r.push(Dispatch {
            variant: Variant::new("moe_combine").int("WG", WG),
            params: bytes_of(&CombineParams { hidden_size: self.hidden_size, top_k: self.top_k }),
            bindings: vec![self.y.bind("y"), self.gates.bind("gates"), self.x.bind("x")],
            grid: [
                Extent::Const((self.hidden_size / 4).div_ceil(WG)),
                Extent::Rows { times: 1, per: 1 },
                Extent::Const(1),
            ],
            macs_per_row: u64::from(self.hidden_size * self.top_k),
            reads: Reads::default(),
        });
    }
}
