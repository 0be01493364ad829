//! Host side of `shaders/flash_attention_coop.wgsl`.

use super::attention::tile_heads;
use super::{
    CoopPart, FlashAttention, FlashCoopPart, Heads, KvFormat, KvPart, MatmulCoop, Multiply,
};
use crate::gpu::{Caps, Recorder, Variant};

/// Queries of a tile: four strips.
const TILE_QUERIES: u32 = 64;
const STRIPS: u32 = 4;
/// Dimensions of the widest head whose tile fits 32 KiB of workgroup memory.
const MOST_DIMS: u32 = 96;

/// As [`FlashAttention`], on the matrix units of a device.
pub struct FlashAttentionCoop<'a, 'b>(pub &'b FlashAttention<'a>);

impl FlashAttentionCoop<'_, '_> {
    /// Whether `multiply` asks for the kernel and it takes these heads. Keys and values in other formats than
    /// f16 would be rounded once more.
    #[must_use]
    pub fn takes(heads: &Heads, multiply: Multiply) -> bool {
        multiply == Multiply::MatrixUnits
            && heads.kv == KvFormat::F16
            && heads.head_dim.is_multiple_of(16)
            && heads.head_dim <= MOST_DIMS
    }

    /// Query heads of a tile, all of one kv head.
    pub(super) fn tile_heads(heads: &Heads) -> u32 {
        tile_heads(heads, TILE_QUERIES)
    }

    /// Rows of a tile.
    pub(super) fn tile_rows(heads: &Heads) -> u32 {
        TILE_QUERIES / Self::tile_heads(heads)
    }

    /// Appends the dispatch. The device must be one that [`MatmulCoop`] runs on.
    pub fn record(&self, r: &mut Recorder) {
        let variant = variant(r.caps(), &self.0.heads);
        self.0.record_variant(r, variant, Self::tile_heads(&self.0.heads));
    }
}

fn variant(caps: &Caps, heads: &Heads) -> Variant {
    // Each lane shares the softmax of one query, so there are at least as many lanes as queries.
    let lanes = (STRIPS * caps.max_subgroup).max(TILE_QUERIES);
    let surplus = lanes > STRIPS * caps.min_subgroup;
    Variant::new("flash_attention_coop")
        .import(KvPart(heads.kv))
        .import(FlashCoopPart(CoopPart::of(caps)))
        .int("WG", lanes)
        .int("HEAD_DIM", heads.head_dim)
        .int("GROUP", FlashAttentionCoop::tile_heads(heads))
        .int("STORED_STRIPS", STRIPS + u32::from(surplus))
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    if !MatmulCoop::available(caps) {
        return Vec::new();
    }
    let all = super::attention::shapes();
    all.filter(|heads| FlashAttentionCoop::takes(heads, Multiply::MatrixUnits))
        .map(|heads| variant(caps, &heads))
        .collect()
}
