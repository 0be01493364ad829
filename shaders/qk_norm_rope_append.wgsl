// qk_norm_rope_append: for each head u of q and k: norm * u / sqrt(mean(u^2) + eps), then RoPE;
//                      writes q for attention, k and the unchanged v into their page of the KV pool
//
//   qkv    [n_rows, n_heads + 2 n_kv_heads, head_dim]  f32   heads of q, k, v, in this order
//   norms  [2, head_dim]                               f32   q_layernorm, k_layernorm
//   rope   [context, head_dim]                         f32   cosines of head_dim / 2 angles, then sines
//   q      [n_rows, n_heads, head_dim]                 f32
//   keys, values [pool rows, n_kv_heads, head_dim]     format of import kv_store
//
// RoPE in halves (rotate_half): (a, b) -> (a cos - b sin, b cos + a sin), a = first half.
// A team of TEAM lanes computes a head, each lane four dimensions at a time, so LFM2's heads of 64
// dimensions leave no lane idle. It is a kernel of its own and no part of attention, whose workgroups
// for the splits of one context all need the new key.
// head_dim % 4 == 0, in q8 % 32. Grid: WG / TEAM heads in x, rows in y. f32, a few ulp, until kv_store
// rounds.
// Source: transformers Lfm2MoeAttention (norm before RoPE). Twin: reference/qk_norm_rope_append.rs
#import kv_store

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    eps: f32,
    kv_scales: u32,
}

@group(1) @binding(N) var<storage, read> qkv: array<f32>;
@group(1) @binding(N) var<storage, read> norms: array<f32>;
@group(1) @binding(N) var<storage, read> rope: array<f32>;
@group(1) @binding(N) var<storage, read_write> q: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> keys: array<Packed4>;
@group(1) @binding(N) var<storage, read_write> values: array<Packed4>;

// The pool that a head goes to: none for q.
const NONE = 0u;
const KEYS = 1u;
const VALUES = 2u;

struct Place {
    pool: u32,
    // Index of the head in the pool.
    head: u32,
    // Vectors of a head.
    width: u32,
}

fn put(packed: Packed4, to: Place, i: u32) {
    if (i >= to.width) { return; }
    if (to.pool == KEYS) { keys[(to.head * to.width) + i] = packed; }
    if (to.pool == VALUES) { values[(to.head * to.width) + i] = packed; }
}

// A head of q or k.
struct Head {
    // First element in qkv and in norms.
    start: u32,
    norm: u32,
    position: u32,
    // 1 / sqrt(mean(u^2) + eps).
    factor: f32,
}

fn qkv4(i: u32) -> vec4<f32> {
    return vec4<f32>(qkv[i], qkv[i + 1u], qkv[i + 2u], qkv[i + 3u]);
}

// Dimension d of a head, normed and rotated.
fn turned(h: Head, d: u32) -> f32 {
    let half = params.head_dim / 2u;
    let first = d < half;
    let partner = select(d - half, d + half, first);
    let angle = (h.position * params.head_dim) + select(d - half, d, first);
    let own = norms[h.norm + d] * (qkv[h.start + d] * h.factor);
    let other = norms[h.norm + partner] * (qkv[h.start + partner] * h.factor);
    return (own * rope[angle]) + (select(other, -other, first) * rope[angle + half]);
}

var<workgroup> squares: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    if (row >= n_rows()) { return; }
    let heads = params.n_heads + (2u * params.n_kv_heads);
    // Surplus teams repeat the last head and write nothing.
    let team = (group.x * (WG / TEAM)) + (lane / TEAM);
    let head = min(team, heads - 1u);
    let own = lane % TEAM;
    let width = bound(params.head_dim / 4u);
    let start = ((row * heads) + head) * params.head_dim;
    let position = row_position(row);

    var sum = 0.0;
    for (var i = own; i < width; i += TEAM) {
        let u = qkv4(start + (i * 4u));
        sum += dot(u, u);
    }
    squares[lane] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var j = 0u; j < TEAM; j++) { sum += squares[(lane - own) + j]; }
    let factor = 1.0 / sqrt((sum / f32(params.head_dim)) + params.eps);

    let is_query = head < params.n_heads;
    let is_value = head >= params.n_heads + params.n_kv_heads;
    let h = Head(start, select(params.head_dim, 0u, is_query), position, factor);
    var to = Place(NONE, 0u, width);
    if (!is_query && team < heads) {
        let first = params.n_heads + select(0u, params.n_kv_heads, is_value);
        to.pool = select(KEYS, VALUES, is_value);
        to.head = (kv_row(row_seq(row), position) * params.n_kv_heads) + (head - first);
    }
    for (var round = 0u; round < width; round += TEAM) {
        let i = round + own;
        var v = vec4<f32>(0.0);
        if (i < width) {
            let d = i * 4u;
            v = qkv4(start + d);
            if (!is_value) {
                v = vec4<f32>(turned(h, d), turned(h, d + 1u), turned(h, d + 2u), turned(h, d + 3u));
            }
            if (is_query && team < heads) {
                q[(((row * params.n_heads) + head) * width) + i] = v;
            }
        }
        store(v, to, i, lane);
    }
}
