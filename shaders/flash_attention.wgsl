// flash_attention: o[t, head, :] = sum_s softmax_s(scale * q_t . k_s) v_s over positions s <= position of row t
//
//   q       [n_rows, n_heads, HEAD_DIM]             f32
//   keys, values [pool rows, n_kv_heads, HEAD_DIM]  format of import kv; a pool row is a position in a
//                                                   page of the KV pool: kv_row(seq, position)
//   o       [n_rows, n_heads, HEAD_DIM]             f32
//
// Attention of many rows of a sequence (prefill). A workgroup takes TILE_Q queries: TILE_Q / GROUP
// consecutive rows of one sequence, with GROUP query heads each, all of the same kv head. It walks over the keys TILE_KV at a time and keeps a running
// maximum and sum (online softmax), so scores stay in workgroup memory. The values of a tile overwrite
// its keys there once the scores are known. A team of TEAM lanes handles four queries. For each of
// them, a lane computes the scores at POSITIONS = ceil(TILE_KV / TEAM) keys and KEPT = ceil((HEAD_DIM / 4) /
// TEAM) vec4s of the output.
// Grid: query tiles (the batch table lists them), n_heads / GROUP.
// Arithmetic: f32, summed in order of position.
// Workgroup memory: (TILE_Q + TILE_KV) * HEAD_DIM + 2 * TILE_Q * TILE_KV floats.
// Source: FlashAttention-2, https://arxiv.org/abs/2307.08691. Twin: reference/attention.rs
#import kv

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    // First word of the scales in keys and values (kv=q8).
    kv_scales: u32,
}

@group(1) @binding(N) var<storage, read> q: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> keys: array<Packed4>;
@group(1) @binding(N) var<storage, read> values: array<Packed4>;
@group(1) @binding(N) var<storage, read_write> o: array<vec4<f32>>;

const WIDTH = HEAD_DIM / 4u;
const TEAMS = TILE_Q / 4u;
const TEAM = WG / TEAMS;
const POSITIONS = (TILE_KV + TEAM - 1u) / TEAM;
const KEPT = (WIDTH + TEAM - 1u) / TEAM;

var<workgroup> query: array<vec4<f32>, TILE_Q * WIDTH>;
// First the tile's keys, [TILE_KV][WIDTH]: the vec4s of key t are shifted cyclically by t places, so that
// lanes read different banks. Later the tile's values, not shifted.
var<workgroup> tile: array<vec4<f32>, TILE_KV * WIDTH>;
// Scores and softmax weights, [TEAMS][TILE_KV]. Each vec4 holds those of the team's four queries.
var<workgroup> scores: array<vec4<f32>, TEAMS * TILE_KV>;
var<workgroup> weights: array<vec4<f32>, TEAMS * TILE_KV>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if (group.x >= n_tiles()) { return; }
    let seq = tile_seq(group.x);
    let first = tile_first_row(group.x);
    let rows = min(TILE_Q / GROUP, seq_first_row(seq) + seq_n_rows(seq) - first);
    let position = row_position(first);
    let context = position + rows;
    let head = group.y * GROUP;
    let kv_width = params.n_kv_heads * WIDTH;
    let kv_at = (head / (params.n_heads / params.n_kv_heads)) * WIDTH;
    let team = lane / TEAM;
    let own = lane % TEAM;
    // The team's four queries as indices in `query`, and the last position that each attends to.
    let mine = vec4<u32>(team * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let last = position + (min(mine, vec4<u32>((rows * GROUP) - 1u)) / vec4<u32>(GROUP));

    for (var i = lane; i < TILE_Q * WIDTH; i += WG) {
        let n = min(i / WIDTH, (rows * GROUP) - 1u);
        let row = first + (n / GROUP);
        query[i] = q[(((row * params.n_heads) + head + (n % GROUP)) * WIDTH) + (i % WIDTH)] * params.scale;
    }
    var high = vec4<f32>(LOWEST);
    var total = vec4<f32>(0.0);
    var kept: array<vec4<f32>, KEPT * 4u>;
    for (var i = 0u; i < KEPT * 4u; i++) { kept[i] = vec4<f32>(0.0); }

    for (var begin = 0u; begin < context; begin += TILE_KV) {
        let len = min(TILE_KV, context - begin);
        workgroupBarrier();
        for (var i = lane; i < len * WIDTH; i += WG) {
            let t = i / WIDTH;
            let k = key4((kv_row(seq, begin + t) * kv_width) + kv_at + (i % WIDTH));
            tile[(t * WIDTH) + ((i + t) % WIDTH)] = k;
        }
        workgroupBarrier();

        var s: array<vec4<f32>, POSITIONS>;
        for (var p = 0u; p < POSITIONS; p++) { s[p] = vec4<f32>(0.0); }
        for (var d = 0u; d < WIDTH; d++) {
            let at = (team * 4u * WIDTH) + d;
            let q0 = query[at];
            let q1 = query[at + WIDTH];
            let q2 = query[at + (2u * WIDTH)];
            let q3 = query[at + (3u * WIDTH)];
            for (var p = 0u; p < POSITIONS; p++) {
                let t = min(own + (p * TEAM), TILE_KV - 1u);
                let k = tile[(t * WIDTH) + ((d + t) % WIDTH)];
                s[p] += vec4<f32>(dot(q0, k), dot(q1, k), dot(q2, k), dot(q3, k));
            }
        }
        for (var p = 0u; p < POSITIONS; p++) {
            let t = own + (p * TEAM);
            s[p] = select(vec4<f32>(LOWEST), s[p], vec4<u32>(begin + t) <= last);
            if (t < TILE_KV) { scores[(team * TILE_KV) + t] = s[p]; }
        }
        workgroupBarrier();

        for (var i = lane; i < len * WIDTH; i += WG) {
            tile[i] = value4((kv_row(seq, begin + (i / WIDTH)) * kv_width) + kv_at + (i % WIDTH));
        }
        var top = high;
        for (var t = 0u; t < TILE_KV; t++) { top = max(top, scores[(team * TILE_KV) + t]); }
        for (var p = 0u; p < POSITIONS; p++) {
            let t = own + (p * TEAM);
            let weight = select(vec4<f32>(0.0), exp(s[p] - top), vec4<u32>(begin + t) <= last);
            if (t < TILE_KV) { weights[(team * TILE_KV) + t] = weight; }
        }
        let rescale = exp(high - top);
        high = top;
        total *= rescale;
        for (var i = 0u; i < KEPT; i++) {
            kept[i * 4u] *= rescale.x;
            kept[(i * 4u) + 1u] *= rescale.y;
            kept[(i * 4u) + 2u] *= rescale.z;
            kept[(i * 4u) + 3u] *= rescale.w;
        }
        workgroupBarrier();

        // First the positions that all four queries attend to, then those that only some do. There,
        // select drops the products of queries that do not attend: a weight of 0 is not enough, since 0 * NaN
        // is NaN.
        let all = min(len, max(last.x + 1u, begin) - begin);
        let some = min(len, max(last.w + 1u, begin) - begin);
        for (var t = 0u; t < all; t++) {
            let weight = weights[(team * TILE_KV) + t];
            total += weight;
            for (var i = 0u; i < KEPT; i++) {
                let v = tile[(t * WIDTH) + min(own + (i * TEAM), WIDTH - 1u)];
                kept[i * 4u] += weight.x * v;
                kept[(i * 4u) + 1u] += weight.y * v;
                kept[(i * 4u) + 2u] += weight.z * v;
                kept[(i * 4u) + 3u] += weight.w * v;
            }
        }
        for (var t = all; t < some; t++) {
            let weight = weights[(team * TILE_KV) + t];
            total += weight;
            let sees = vec4<u32>(begin + t) <= last;
            for (var i = 0u; i < KEPT; i++) {
                let v = tile[(t * WIDTH) + min(own + (i * TEAM), WIDTH - 1u)];
                kept[i * 4u] += select(vec4<f32>(0.0), weight.x * v, sees.x);
                kept[(i * 4u) + 1u] += select(vec4<f32>(0.0), weight.y * v, sees.y);
                kept[(i * 4u) + 2u] += select(vec4<f32>(0.0), weight.z * v, sees.z);
                kept[(i * 4u) + 3u] += select(vec4<f32>(0.0), weight.w * v, sees.w);
            }
        }
    }
    for (var j = 0u; j < 4u; j++) {
        let n = (team * 4u) + j;
        let row = first + (n / GROUP);
        let at = ((row * params.n_heads) + head + (n % GROUP)) * WIDTH;
        for (var i = 0u; i < KEPT; i++) {
            let d = own + (i * TEAM);
            if (n < rows * GROUP && d < WIDTH) { o[at + d] = kept[(i * 4u) + j] / total[j]; }
        }
    }
}
