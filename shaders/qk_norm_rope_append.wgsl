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
// A workgroup of WG lanes computes one head, or with reduce=serial each lane one head. A lane computes
// vectors of four dimensions and stores STORED of them at once: those that share a word of the pool.
// head_dim % 4 == 0, in q8 % 32. Grid: heads in x, rows in y. f32, a few ulp, until kv_store rounds.
// Source: transformers Lfm2MoeAttention (norm before RoPE). Twin: reference/qk_norm_rope_append.rs
#import reduce
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

// A head of qkv.
struct Head {
    // First element in qkv.
    start: u32,
    // Of q and k: first element in norms, position of the angles, 1 / sqrt(mean(u^2) + eps).
    norm: u32,
    position: u32,
    factor: f32,
    // Whether it is normed and rotated: q and k are, v is not.
    turns: bool,
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

// Dimensions 4 i .. 4 i + 3 of a head as attention reads them.
fn head4(h: Head, i: u32) -> vec4<f32> {
    let d = i * 4u;
    if (!h.turns) { return qkv4(h.start + d); }
    return vec4<f32>(turned(h, d), turned(h, d + 1u), turned(h, d + 2u), turned(h, d + 3u));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let row = group.y;
    let head = (group.x * (WG / LANES)) + row_in_group(lane);
    let heads = params.n_heads + (2u * params.n_kv_heads);
    if (row >= n_rows() || head >= heads) { return; }
    let width = bound(params.head_dim / 4u);
    let start = ((row * heads) + head) * params.head_dim;
    let position = row_position(row);
    // Index in the pool of this row's first head.
    let pool = kv_row(row_seq(row), position) * params.n_kv_heads;
    if (head >= params.n_heads + params.n_kv_heads) {
        let value = Head(start, 0u, position, 1.0, false);
        let to = pool + (head - params.n_heads - params.n_kv_heads);
        for (var i = lane_in_row(lane) * STORED; i < width; i += LANES * STORED) {
            store(value, to, i, width);
        }
        return;
    }
    var squares = vec4<f32>(0.0);
    for (var i = lane_in_row(lane); i < width; i += LANES) {
        let u = qkv4(start + (i * 4u));
        squares += u * u;
    }
    let sum = reduce_sum4(squares, lane);
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(params.head_dim);
    let factor = 1.0 / sqrt(mean + params.eps);
    if (head >= params.n_heads) {
        let key = Head(start, params.head_dim, position, factor, true);
        let to = pool + (head - params.n_heads);
        for (var i = lane_in_row(lane) * STORED; i < width; i += LANES * STORED) {
            store(key, to, i, width);
        }
    } else {
        let query = Head(start, 0u, position, factor, true);
        for (var i = lane_in_row(lane); i < width; i += LANES) {
            q[(((row * params.n_heads) + head) * width) + i] = head4(query, i);
        }
    }
}
