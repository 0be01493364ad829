//! Host side of `shaders/attention.wgsl`, `attention_combine.wgsl` and `flash_attention.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{FlashAttentionCoop, KvFormat, KvPart, Multiply, PAGE, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 128;
const COMBINE_WG: u32 = 256;
/// Most query heads of a workgroup of `attention`. Each takes eight registers for its query and its sums,
/// and 2.3 KiB of workgroup memory.
const MOST_HEADS: u32 = 4;
/// Positions of a step of `attention` for each team of lanes: their keys and values are in flight at
/// once.
const EACH: u32 = 4;
const FLASH_WG: u32 = 64;
/// Floats of workgroup memory for the query tile of flash attention. With the key tile and the weights
/// (at most 32 x 32), all of it fits 16 KiB.
const QUERY_FLOATS: u32 = 2048;
/// Bytes of workgroup memory for its key tile.
const KEY_BYTES: u32 = 4096;

/// Shapes of attention.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Dimensions of a head.
    pub head_dim: u32,
    /// Format of keys and values.
    pub kv: KvFormat,
}

/// Query heads of a workgroup: the largest divisor of the heads of a kv head.
fn heads_per_workgroup(heads: &Heads) -> u32 {
    let group = heads.n_heads / heads.n_kv_heads;
    (1..=group.min(MOST_HEADS)).rev().find(|n| group.is_multiple_of(*n)).unwrap_or(1)
}

/// Teams of a workgroup, each of `head_dim / 4` lanes: a power of two, so that a step divides a page.
fn teams(head_dim: u32) -> u32 {
    1 << (4 * WG / head_dim).clamp(1, PAGE / EACH).ilog2()
}

/// Queries of a flash attention tile: a power of two, since each team of lanes has four of them.
fn flash_tile_queries(head_dim: u32) -> u32 {
    1 << (QUERY_FLOATS / head_dim).clamp(4, 32).ilog2()
}

/// Query heads of a tile of `queries` queries, all of one kv head.
pub(super) fn tile_heads(heads: &Heads, queries: u32) -> u32 {
    let group = heads.n_heads / heads.n_kv_heads;
    let fits = |n: &u32| group.is_multiple_of(*n);
    (1..=group.min(queries)).rev().find(fits).unwrap_or(1)
}

impl Heads {
    /// Rows of a flash attention tile, by which a batch lists its tiles.
    #[must_use]
    pub fn tile_rows(&self, multiply: Multiply) -> u32 {
        if FlashAttentionCoop::takes(self, multiply) {
            return FlashAttentionCoop::tile_rows(self);
        }
        let queries = flash_tile_queries(self.head_dim);
        queries / tile_heads(self, queries)
    }
}

/// Positions of a flash attention tile: a power of two, so that it divides a page. Halves stay halves in
/// workgroup memory.
fn flash_tile_kv(heads: &Heads) -> u32 {
    let bytes = if heads.kv == KvFormat::F16 { 2 } else { 4 };
    1 << (KEY_BYTES / bytes / heads.head_dim).clamp(1, 32).ilog2()
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AttentionParams {
    n_heads: u32,
    n_kv_heads: u32,
    max_splits: u32,
    scale: f32,
    kv_scales: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CombineParams {
    n_heads: u32,
    head_dim: u32,
    max_splits: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FlashParams {
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    kv_scales: u32,
}

/// Attention of the sequences with at most [`ATTENTION_ROWS`](super::ATTENTION_ROWS) rows: one dispatch
/// for the splits, and one that joins them if a context has several.
pub struct Attention<'a> {
    /// `[rows, n_heads, head_dim]`.
    pub q: &'a Tensor<f32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub keys: &'a Tensor<u32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub values: &'a Tensor<u32>,
    /// `[rows of those sequences, n_heads, max_splits, 4 + head_dim]`.
    pub partial: &'a Tensor<f32>,
    /// `[rows, n_heads, head_dim]`.
    pub o: &'a Tensor<f32>,
    /// Shapes.
    pub heads: Heads,
    /// Most splits of a context.
    pub max_splits: u32,
}

fn attention_variant(heads: &Heads) -> Variant {
    Variant::new("attention")
        .import(KvPart(heads.kv))
        .int("WG", WG)
        .int("HEAD_DIM", heads.head_dim)
        .int("GROUP", heads_per_workgroup(heads))
        .int("TEAMS", teams(heads.head_dim))
        .int("EACH", EACH)
}

fn combine_variant() -> Variant {
    Variant::new("attention_combine").int("WG", COMBINE_WG)
}

fn flash_variant(heads: &Heads) -> Variant {
    Variant::new("flash_attention")
        .import(KvPart(heads.kv))
        .int("WG", FLASH_WG)
        .int("HEAD_DIM", heads.head_dim)
        .int("GROUP", tile_heads(heads, flash_tile_queries(heads.head_dim)))
        .int("TILE_Q", flash_tile_queries(heads.head_dim))
        .int("TILE_KV", flash_tile_kv(heads))
}

/// Shapes of the published models and of the limits: `(n_heads, n_kv_heads, head_dim)`.
const SHAPES: [(u32, u32, u32); 6] =
    [(32, 8, 64), (24, 8, 64), (2, 2, 32), (4, 2, 48), (8, 1, 128), (2, 1, 256)];

/// These shapes in each format that takes them.
pub(super) fn shapes() -> impl Iterator<Item = Heads> {
    KvFormat::ALL
        .into_iter()
        .flat_map(|kv| {
            SHAPES.map(|(n_heads, n_kv_heads, head_dim)| Heads {
                n_heads,
                n_kv_heads,
                head_dim,
                kv,
            })
        })
        .filter(|heads| heads.kv.takes(heads.head_dim as usize))
}

pub(super) fn attention_variants(_: &Caps) -> Vec<Variant> {
    shapes().map(|heads| attention_variant(&heads)).collect()
}

pub(super) fn combine_variants(_: &Caps) -> Vec<Variant> {
    vec![combine_variant()]
}

pub(super) fn flash_variants(_: &Caps) -> Vec<Variant> {
    shapes().map(|heads| flash_variant(&heads)).collect()
}

fn scale(head_dim: u32) -> f32 {
    1.0 / (head_dim as f32).sqrt()
}

impl Attention<'_> {
    /// Appends both dispatches. A replay skips those that have nothing to do.
    pub fn record(&self, r: &mut Recorder) {
        let Heads { n_heads, n_kv_heads, head_dim, .. } = self.heads;
        let rows = Extent::Rows { times: 1, per: 1 };
        r.push(Dispatch {
            variant: attention_variant(&self.heads),
            params: bytes_of(&AttentionParams {
                n_heads,
                n_kv_heads,
                max_splits: self.max_splits,
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
            grid: [rows, Extent::Const(n_heads / heads_per_workgroup(&self.heads)), Extent::Splits],
            macs_per_row: u64::from(n_heads * head_dim) * u64::from(2 * PAGE),
            reads: Reads::default(),
        });
        r.push(Dispatch {
            variant: combine_variant(),
            params: bytes_of(&CombineParams { n_heads, head_dim, max_splits: self.max_splits }),
            bindings: vec![self.partial.bind("partial_in"), self.o.bind("o")],
            grid: [Extent::Const(n_heads), rows, Extent::SeveralSplits],
            macs_per_row: u64::from(n_heads * head_dim),
            reads: Reads::default(),
        });
    }
}

/// Attention of the sequences with more than [`ATTENTION_ROWS`](super::ATTENTION_ROWS) rows: online
/// softmax over tiles.
pub struct FlashAttention<'a> {
    /// `[rows, n_heads, head_dim]`.
    pub q: &'a Tensor<f32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub keys: &'a Tensor<u32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub values: &'a Tensor<u32>,
    /// `[rows, n_heads, head_dim]`.
    pub o: &'a Tensor<f32>,
    /// Shapes.
    pub heads: Heads,
    /// Positions of a typical context, for the estimate of the cost only.
    pub typical_context: u32,
}

impl FlashAttention<'_> {
    /// Appends the dispatch of this kernel, or of [`FlashAttentionCoop`] if that is possible and wanted.
    pub fn record(&self, r: &mut Recorder, multiply: Multiply) {
        if FlashAttentionCoop::takes(&self.heads, multiply) {
            return FlashAttentionCoop(self).record(r);
        }
        let tile_heads = tile_heads(&self.heads, flash_tile_queries(self.heads.head_dim));
        self.record_variant(r, flash_variant(&self.heads), tile_heads);
    }

    /// Appends the dispatch of a kernel with tiles of `tile_heads` query heads.
    pub(super) fn record_variant(&self, r: &mut Recorder, variant: Variant, tile_heads: u32) {
        let Heads { n_heads, n_kv_heads, head_dim, .. } = self.heads;
        r.push(Dispatch {
            variant,
            params: bytes_of(&FlashParams {
                n_heads,
                n_kv_heads,
                scale: scale(head_dim),
                kv_scales: self.heads.kv.scales_at(self.keys, head_dim),
            }),
            bindings: vec![
                self.q.bind("q"),
                self.keys.bind("keys"),
                self.values.bind("values"),
                self.o.bind("o"),
            ],
            grid: [Extent::Tiles, Extent::Const(n_heads / tile_heads), Extent::Const(1)],
            macs_per_row: u64::from(n_heads * head_dim) * u64::from(2 * self.typical_context),
            reads: Reads::default(),
        });
    }
}
