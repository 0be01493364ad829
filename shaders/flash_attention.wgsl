// flash_attention: o[t, head, :] = sum_s softmax_s(scale * q_t . k_s) v_s over positions s <= t
//
//   q       [n_rows, n_heads, HEAD_DIM]             f32
//   keys, values [pool rows, n_kv_heads, HEAD_DIM]  by import kv
//   o       [n_rows, n_heads, HEAD_DIM]             f32
//
// Prefill attention: a workgroup takes TILE_Q query rows of one sequence and one head, walks over
// the keys TILE_KV at a time and keeps a running maximum and sum (online softmax), so the scores
// never leave the workgroup. K and V pass through the same workgroup memory in turn.
// Grid: query tiles (the batch table lists them), heads. f32; sums in order of position within
// fixed tiles. Workgroup memory: (TILE_Q + TILE_KV) * HEAD_DIM + TILE_Q * (TILE_KV + 3) floats.
// Source: FlashAttention-2, https://arxiv.org/abs/2307.08691. Twin: reference/attention.rs
#import kv

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    kv_scales: u32,
}

@group(1) @binding(N) var<storage, read> q: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> keys: array<Packed4>;
@group(1) @binding(N) var<storage, read> values: array<Packed4>;
@group(1) @binding(N) var<storage, read_write> o: array<vec4<f32>>;

const WIDTH = HEAD_DIM / 4u;
// Vectors of the output that a lane keeps.
const KEPT = ((TILE_Q * WIDTH) + WG - 1u) / WG;

var<workgroup> query: array<vec4<f32>, TILE_Q * WIDTH>;
var<workgroup> tile: array<vec4<f32>, TILE_KV * WIDTH>;
var<workgroup> scores: array<f32, TILE_Q * TILE_KV>;
var<workgroup> high: array<f32, TILE_Q>;
var<workgroup> total: array<f32, TILE_Q>;
var<workgroup> rescale: array<f32, TILE_Q>;

// How many of the `len` positions from `begin` on a row at `own` sees.
fn seen(own: u32, begin: u32, len: u32) -> u32 { return min(len, max(own + 1u, begin) - begin); }

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if (group.x >= n_tiles()) { return; }
    let seq = tile_seq(group.x);
    let first = tile_first_row(group.x);
    let rows = min(TILE_Q, seq_first_row(seq) + seq_n_rows(seq) - first);
    let position = row_position(first);
    let context = position + rows;
    let head = group.y;
    let kv_width = params.n_kv_heads * WIDTH;
    let kv_at = (head / (params.n_heads / params.n_kv_heads)) * WIDTH;

    for (var i = lane; i < TILE_Q * WIDTH; i += WG) {
        let r = min(i / WIDTH, rows - 1u);
        query[i] = q[((((first + r) * params.n_heads) + head) * WIDTH) + (i % WIDTH)] * params.scale;
    }
    for (var i = lane; i < TILE_Q; i += WG) {
        high[i] = LOWEST;
        total[i] = 0.0;
    }
    var kept: array<vec4<f32>, KEPT>;
    for (var i = 0u; i < KEPT; i++) { kept[i] = vec4<f32>(0.0); }

    for (var begin = 0u; begin < context; begin += TILE_KV) {
        let len = min(TILE_KV, context - begin);
        workgroupBarrier();
        for (var i = lane; i < len * WIDTH; i += WG) {
            tile[i] = key4((kv_row(seq, begin + (i / WIDTH)) * kv_width) + kv_at + (i % WIDTH));
        }
        workgroupBarrier();
        for (var i = lane; i < TILE_Q * TILE_KV; i += WG) {
            let r = i / TILE_KV;
            let t = i % TILE_KV;
            var s = LOWEST;
            if (t < len && begin + t <= position + r) {
                s = 0.0;
                for (var d = 0u; d < WIDTH; d++) {
                    s += dot(query[(r * WIDTH) + d], tile[(t * WIDTH) + d]);
                }
            }
            scores[i] = s;
        }
        workgroupBarrier();
        for (var i = lane; i < len * WIDTH; i += WG) {
            tile[i] = value4((kv_row(seq, begin + (i / WIDTH)) * kv_width) + kv_at + (i % WIDTH));
        }
        for (var r = lane; r < TILE_Q; r += WG) {
            var top = high[r];
            for (var t = 0u; t < TILE_KV; t++) { top = max(top, scores[(r * TILE_KV) + t]); }
            let factor = exp(high[r] - top);
            var sum = total[r] * factor;
            // Positions after the row's own weigh nothing, also where a row has seen none yet.
            let visible = seen(position + r, begin, len);
            for (var t = 0u; t < TILE_KV; t++) {
                var p = 0.0;
                if (t < visible) { p = exp(scores[(r * TILE_KV) + t] - top); }
                scores[(r * TILE_KV) + t] = p;
                sum += p;
            }
            high[r] = top;
            total[r] = sum;
            rescale[r] = factor;
        }
        workgroupBarrier();
        for (var i = 0u; i < KEPT; i++) {
            let at = (i * WG) + lane;
            if (at < TILE_Q * WIDTH) {
                let r = at / WIDTH;
                let d = at % WIDTH;
                var sum = kept[i] * rescale[r];
                // Not a weight of 0 for later positions: they may hold a NaN.
                let visible = seen(position + r, begin, len);
                for (var t = 0u; t < visible; t++) {
                    sum += scores[(r * TILE_KV) + t] * tile[(t * WIDTH) + d];
                }
                kept[i] = sum;
            }
        }
    }
    for (var i = 0u; i < KEPT; i++) {
        let at = (i * WG) + lane;
        let r = at / WIDTH;
        if (r < rows) {
            o[((((first + r) * params.n_heads) + head) * WIDTH) + (at % WIDTH)] = kept[i] / total[r];
        }
    }
}
