//! Host side of `shaders/qk_norm_rope_append.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{KvFormat, KvStorePart, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;
/// Lanes of a head.
const TEAM: u32 = 16;

/// Applies norm and RoPE to the heads of q and k, and appends k and v to the KV pool.
pub struct QkNormRopeAppend<'a> {
    /// `[rows, n_heads + 2 n_kv_heads, head_dim]`.
    pub qkv: &'a Tensor<f32>,
    /// `[2, head_dim]`: `q_layernorm`, `k_layernorm`.
    pub norms: &'a Tensor<f32>,
    /// `[context, head_dim]`: cosines, then sines, of `head_dim / 2` angles.
    pub rope: &'a Tensor<f32>,
    /// `[rows, n_heads, head_dim]`.
    pub q: &'a Tensor<f32>,
    /// `[pool rows, n_kv_heads, head_dim]`. In q8 exactly this size, which
    /// determines the place of the scales.
    pub keys: &'a Tensor<u32>,
    /// `[pool rows, n_kv_heads, head_dim]`.
    pub values: &'a Tensor<u32>,
    /// Format of keys and values.
    pub kv: KvFormat,
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Dimensions of a head.
    pub head_dim: u32,
    /// Added to the mean square.
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    eps: f32,
    kv_scales: u32,
}

fn variant(kv: KvFormat) -> Variant {
    let kernel = Variant::new("qk_norm_rope_append").import(KvStorePart(kv));
    kernel.int("WG", WG).int("TEAM", TEAM)
}

pub(super) fn variants(_: &Caps) -> Vec<Variant> {
    KvFormat::ALL.map(variant).to_vec()
}

impl QkNormRopeAppend<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        let heads = self.n_heads + 2 * self.n_kv_heads;
        r.push(Dispatch {
            variant: variant(self.kv),
            params: bytes_of(&Params {
                n_heads: self.n_heads,
                n_kv_heads: self.n_kv_heads,
                head_dim: self.head_dim,
                eps: self.eps,
                kv_scales: self.kv.scales_at(self.keys, self.head_dim),
            }),
            bindings: vec![
                self.qkv.bind("qkv"),
                self.norms.bind("norms"),
                self.rope.bind("rope"),
                self.q.bind("q"),
                self.keys.bind("keys"),
                self.values.bind("values"),
            ],
            grid: [
                Extent::Const((heads * TEAM).div_ceil(WG)),
                Extent::Rows { times: 1, per: 1 },
                Extent::Const(1),
            ],
            macs_per_row: u64::from(heads * self.head_dim * 4),
            reads: Reads::default(),
        });
    }
}
