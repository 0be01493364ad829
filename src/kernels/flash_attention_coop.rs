//! Host side of `shaders/flash_attention_coop.wgsl`, which computes the same as `flash_attention.wgsl`.

use super::attention::{heads_per_workgroup, shapes};
use super::{CoopPart, Heads, KvFormat, KvPart, MatmulCoop};
use crate::gpu::{Caps, Variant};

/// Queries of a tile: four strips.
pub(super) const TILE_QUERIES: u32 = 64;
const STRIPS: u32 = 4;
/// Dimensions of the widest head whose tile fits 32 KiB of workgroup memory.
const MOST_DIMS: u32 = 96;

/// Whether the kernel takes these heads. Keys and values in other formats than f16 would be rounded once more.
pub(super) fn takes(heads: &Heads) -> bool {
    heads.kv == KvFormat::F16 && heads.head_dim.is_multiple_of(16) && heads.head_dim <= MOST_DIMS
}

pub(super) fn variant(caps: &Caps, heads: &Heads) -> Variant {
    // Each lane takes part in the softmax of one query, so there are at least as many lanes as queries.
    let lanes = (STRIPS * caps.max_subgroup).max(TILE_QUERIES);
    let surplus = lanes > STRIPS * caps.min_subgroup;
    Variant::new("flash_attention_coop")
        .import(KvPart(heads.kv))
        .import(CoopPart::of(caps))
        .int("WG", lanes)
        .int("HEAD_DIM", heads.head_dim)
        .int("GROUP", heads_per_workgroup(heads, TILE_QUERIES))
        .int("STORED_STRIPS", STRIPS + u32::from(surplus))
}

/// The device must be one that [`MatmulCoop`] runs on.
pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    if !MatmulCoop::available(caps) {
        return Vec::new();
    }
    shapes().filter(takes).map(|heads| variant(caps, &heads)).collect()
}
