// qk_norm_rope_append: for each head of q and k: v = norm * u / sqrt(mean(u^2) + eps), then RoPE;
//                      q goes on to attention, k and v into their page of the KV pool
//
//   qkv    [n_rows, n_heads + 2 n_kv_heads, head_dim]  f32   q, k, v heads stacked
//   norms  [2, head_dim]                               f32   q_layernorm, k_layernorm
//   rope   [context, head_dim]                         f32   cos of head_dim / 2 angles, then sin
//   q      [n_rows, n_heads, head_dim]                 f32
//   keys, values [pool rows, n_kv_heads, head_dim]     by import kv: f32 or f16
//
// RoPE in halves (rotate_half): (a, b) -> (a cos - b sin, b cos + a sin), a = first half.
// One head a workgroup of WG lanes, or a head a lane (reduce = serial). head_dim % 8 == 0.
// Grid: heads * rows folded into x and y. f32 until the KV import rounds; few ulp.
// Source: transformers Lfm2MoeAttention (norm before RoPE). Twin: reference/qk_norm_rope_append.rs
#import reduce
#import kv

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    eps: f32,
}

@group(1) @binding(N) var<storage, read> qkv: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> norms: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> rope: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> q: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> keys: array<Packed4>;
@group(1) @binding(N) var<storage, read_write> values: array<Packed4>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    lane: Lane,
) {
    let row = group.y;
    let head = (group.x * (WG / LANES)) + row_in_group(lane);
    let heads = params.n_heads + (2u * params.n_kv_heads);
    if (row >= n_rows() || head >= heads) { return; }
    let width = params.head_dim / 4u;
    let half = width / 2u;
    let start = ((row * heads) + head) * width;
    let position = row_position(row);
    let pool = kv_row(row_seq(row), position) * params.n_kv_heads * width;
    if (head >= params.n_heads + params.n_kv_heads) {
        let to = pool + ((head - params.n_heads - params.n_kv_heads) * width);
        for (var i = lane_in_row(lane); i < width; i += LANES) {
            values[to + i] = pack4(qkv[start + i]);
        }
        return;
    }
    var squares = vec4<f32>(0.0);
    for (var i = lane_in_row(lane); i < width; i += LANES) {
        let u = qkv[start + i];
        squares += u * u;
    }
    let sum = reduce_sum4(squares, lane);
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(params.head_dim);
    let factor = 1.0 / sqrt(mean + params.eps);
    let is_key = head >= params.n_heads;
    let norm = select(0u, width, is_key);
    for (var i = lane_in_row(lane); i < half; i += LANES) {
        let a = norms[norm + i] * (qkv[start + i] * factor);
        let b = norms[norm + half + i] * (qkv[start + half + i] * factor);
        let c = rope[(position * width) + i];
        let s = rope[(position * width) + half + i];
        let a_turned = (a * c) - (b * s);
        let b_turned = (b * c) + (a * s);
        if (is_key) {
            let to = pool + ((head - params.n_heads) * width);
            keys[to + i] = pack4(a_turned);
            keys[to + half + i] = pack4(b_turned);
        } else {
            let to = ((row * params.n_heads) + head) * width;
            q[to + i] = a_turned;
            q[to + half + i] = b_turned;
        }
    }
}
