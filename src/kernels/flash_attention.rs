//! Host side of `shaders/flash_attention.wgsl`, and the choice between it and `flash_attention_coop.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::attention::{heads_per_workgroup, scale, shapes};
use super::flash_attention_coop as coop;
use super::{Heads, KvFormat, KvPart, Multiply, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;
/// Floats of workgroup memory for the query tile of flash attention. With the key tile and the weights
/// (at most 32 x 32), all of it fits 16 KiB.
const QUERY_FLOATS: u32 = 2048;
/// Bytes of workgroup memory for its key tile.
const KEY_BYTES: u32 = 4096;

/// Queries of a flash attention tile: a power of two, since each team of lanes has four of them.
fn tile_queries(head_dim: u32) -> u32 {
    1 << (QUERY_FLOATS / head_dim).clamp(4, 32).ilog2()
}

/// Positions of a flash attention tile: a power of two, so that it divides a page. Halves stay halves in
/// workgroup memory.
fn tile_kv(heads: &Heads) -> u32 {
    let bytes = if heads.kv == KvFormat::F16 { 2 } else { 4 };
    1 << (KEY_BYTES / bytes / heads.head_dim).clamp(1, 32).ilog2()
}

impl Heads {
    /// Whether flash attention of these heads runs on matrix units.
    #[must_use]
    pub fn on_matrix_units(&self, multiply: Multiply) -> bool {
        multiply == Multiply::MatrixUnits && coop::takes(self)
    }

    /// Rows of a flash attention tile, by which a batch lists its tiles.
    #[must_use]
    pub fn tile_rows(&self, multiply: Multiply) -> u32 {
        let on_matrix_units = self.on_matrix_units(multiply);
        let queries =
            if on_matrix_units { coop::TILE_QUERIES } else { tile_queries(self.head_dim) };
        queries / heads_per_workgroup(self, queries)
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    kv_scales: u32,
}

fn variant(heads: &Heads) -> Variant {
    Variant::new("flash_attention")
        .import(KvPart(heads.kv))
        .int("WG", WG)
        .int("HEAD_DIM", heads.head_dim)
        .int("GROUP", heads_per_workgroup(heads, tile_queries(heads.head_dim)))
        .int("TILE_Q", tile_queries(heads.head_dim))
        .int("TILE_KV", tile_kv(heads))
}

pub(super) fn variants(_: &Caps) -> Vec<Variant> {
    shapes().map(|heads| variant(&heads)).collect()
}

/// Attention of the sequences with more than [`super::Choices::attention_rows`] rows: online
/// softmax over tiles.
pub struct FlashAttention<'a> {
    /// `[rows, n_heads, head_dim]`.
    pub q: &'a Tensor<f32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub keys: &'a Tensor<u32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub values: &'a Tensor<u32>,
    /// `[splits of all rows, n_heads, 4 + head_dim]`: results of splits, which [`super::AttentionCombine`] joins.
    pub partial: &'a Tensor<f32>,
    /// `[rows, n_heads, head_dim]`.
    pub o: &'a Tensor<f32>,
    /// Shapes.
    pub heads: Heads,
    /// Positions of a typical context, for the estimate of the cost only.
    pub typical_context: u32,
}

impl FlashAttention<'_> {
    /// Appends the dispatch of this kernel, or of `flash_attention_coop` if `multiply` asks for matrix units
    /// and it takes these heads.
    pub fn record(&self, r: &mut Recorder, multiply: Multiply) {
        let Heads { n_heads, n_kv_heads, head_dim, .. } = self.heads;
        let (variant, queries) = if self.heads.on_matrix_units(multiply) {
            (coop::variant(r.caps(), &self.heads), coop::TILE_QUERIES)
        } else {
            (variant(&self.heads), tile_queries(head_dim))
        };
        r.push(Dispatch {
            variant,
            params: bytes_of(&Params {
                n_heads,
                n_kv_heads,
                scale: scale(head_dim),
                kv_scales: self.heads.kv.scales_at(self.keys, head_dim),
            }),
            bindings: vec![
                self.q.bind("q"),
                self.keys.bind("keys"),
                self.values.bind("values"),
                self.partial.bind("partial_out"),
                self.o.bind("o"),
            ],
            grid: [
                Extent::Tiles,
                Extent::Const(n_heads / heads_per_workgroup(&self.heads, queries)),
                Extent::Const(1),
            ],
            macs_per_row: u64::from(n_heads * head_dim) * u64::from(2 * self.typical_context),
            reads: Reads::default(),
        });
    }
}
