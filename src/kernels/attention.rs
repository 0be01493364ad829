//! Host side of `shaders/attention.wgsl` and `attention_combine.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{KvFormat, KvPart, LONGEST_SPLIT, PAGE, Reduce, bytes_of, max_splits};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 128;
/// Lanes where each owns rows: with all positions of a page in a step there are few barriers.
const SERIAL_WG: u32 = PAGE;
const COMBINE_WG: u32 = 256;
/// Most query heads of a workgroup of `attention`. Each takes eight registers for its query and its sums,
/// and 2.3 KiB of workgroup memory.
const MOST_HEADS: u32 = 4;
/// Positions of a step of `attention` for each team of lanes: their keys and values are in flight at
/// once.
const EACH: u32 = 4;

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

impl Heads {
    /// Most values of the partial results of a row: `[splits, n_heads, 4 + head_dim]`, if a sequence has at most
    /// `context` positions.
    #[must_use]
    pub fn partial_len(&self, context: u32) -> usize {
        max_splits(context) as usize * self.n_heads as usize * (4 + self.head_dim as usize)
    }
}

/// Teams of `lanes` lanes, each of `head_dim / 4`: a power of two, so that a step divides a page.
fn teams(lanes: u32, head_dim: u32, most: u32) -> u32 {
    1 << (4 * lanes / head_dim).clamp(1, most).ilog2()
}

/// Query heads of a workgroup, all of one kv head: at most `most`, and a divisor of that head's.
pub(super) fn heads_per_workgroup(heads: &Heads, most: u32) -> u32 {
    let group = heads.n_heads / heads.n_kv_heads;
    (1..=group.min(most)).rev().find(|n| group.is_multiple_of(*n)).unwrap_or(1)
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AttentionParams {
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    kv_scales: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CombineParams {
    n_heads: u32,
    head_dim: u32,
}

/// Attention of the sequences with at most [`super::Choices::attention_rows`] rows. [`AttentionCombine`] joins the
/// splits of contexts that have several.
pub struct Attention<'a> {
    /// `[rows, n_heads, head_dim]`.
    pub q: &'a Tensor<f32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub keys: &'a Tensor<u32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub values: &'a Tensor<u32>,
    /// `[splits of all rows, n_heads, 4 + head_dim]`: results of splits.
    pub partial: &'a Tensor<f32>,
    /// `[rows, n_heads, head_dim]`.
    pub o: &'a Tensor<f32>,
    /// Shapes.
    pub heads: Heads,
    /// Whether lanes share a key or own keys.
    pub reduce: Reduce,
}

fn attention_variant(heads: &Heads, reduce: Reduce) -> Variant {
    let (lanes, teams, each, key_team, key_teams) = if reduce.is_serial() {
        let teams = teams(SERIAL_WG, heads.head_dim, PAGE);
        (SERIAL_WG, teams, PAGE / teams, 1, SERIAL_WG)
    } else {
        let teams = teams(WG, heads.head_dim, PAGE / EACH);
        (WG, teams, EACH, heads.head_dim / 4, teams)
    };
    Variant::new("attention")
        .import(KvPart(heads.kv))
        .int("WG", lanes)
        .int("HEAD_DIM", heads.head_dim)
        .int("GROUP", heads_per_workgroup(heads, MOST_HEADS))
        .int("TEAMS", teams)
        .int("EACH", each)
        .int("KEY_TEAM", key_team)
        .int("KEY_TEAMS", key_teams)
        .int("LONGEST", LONGEST_SPLIT)
}

fn combine_variant() -> Variant {
    Variant::new("attention_combine").int("WG", COMBINE_WG)
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
    let ways = [Reduce::Tree, Reduce::Serial];
    shapes().flat_map(|heads| ways.map(|reduce| attention_variant(&heads, reduce))).collect()
}

pub(super) fn combine_variants(_: &Caps) -> Vec<Variant> {
    vec![combine_variant()]
}

/// Factor of the scores.
pub(super) fn scale(head_dim: u32) -> f32 {
    1.0 / (head_dim as f32).sqrt()
}

impl Attention<'_> {
    /// Appends the dispatch. A replay skips it if no sequence has few rows.
    pub fn record(&self, r: &mut Recorder) {
        let Heads { n_heads, n_kv_heads, head_dim, .. } = self.heads;
        r.push(Dispatch {
            variant: attention_variant(&self.heads, self.reduce),
            params: bytes_of(&AttentionParams {
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
                Extent::Rows { times: 1, per: 1 },
                Extent::Const(n_heads / heads_per_workgroup(&self.heads, MOST_HEADS)),
                Extent::Splits,
            ],
            macs_per_row: u64::from(n_heads * head_dim) * u64::from(2 * PAGE),
            reads: Reads::default(),
        });
    }
}

/// Joins the splits of contexts that have several, after [`Attention`] and [`super::FlashAttention`].
pub struct AttentionCombine<'a> {
    /// `[splits of all rows, n_heads, 4 + head_dim]`: results of splits.
    pub partial: &'a Tensor<f32>,
    /// `[rows, n_heads, head_dim]`.
    pub o: &'a Tensor<f32>,
    /// Shapes.
    pub heads: Heads,
}

impl AttentionCombine<'_> {
    /// Appends the dispatch. A replay skips it if no context has several splits.
    pub fn record(&self, r: &mut Recorder) {
        let Heads { n_heads, head_dim, .. } = self.heads;
        let rows = Extent::Rows { times: 1, per: 1 };
        r.push(Dispatch {
            variant: combine_variant(),
            params: bytes_of(&CombineParams { n_heads, head_dim }),
            bindings: vec![self.partial.bind("partial_in"), self.o.bind("o")],
            grid: [Extent::Const(n_heads), rows, Extent::SeveralSplits],
            macs_per_row: u64::from(n_heads * head_dim),
            reads: Reads::default(),
        });
    }
}
