// attention: for each query head and each split of SPLIT positions of its context:
//            m = max_t s_t, l = sum_t exp(s_t - m), o = sum_t exp(s_t - m) v_t, s_t = scale * q . k_t
//
//   q       [n_rows, n_heads, HEAD_DIM]                f32
//   keys, values [pool rows, n_kv_heads, HEAD_DIM]     format of import kv
//   partial [n_rows, n_heads, max_splits][4 + HEAD_DIM] f32   m, l, 0, 0, then o
//
// Attention of few rows over long contexts (decode). A workgroup takes GROUP query heads that share a
// kv head, so it reads keys and values once for all of them. Splits have a fixed size, so a row's
// result does not depend on the rest of the batch. attention_combine joins the splits.
// Grid: splits of the longest context, n_heads / GROUP, rows; workgroups of splits beyond a row's
// context return at once. f32. Workgroup memory: at most GROUP * (HEAD_DIM + SPLIT + 4 WG) + 2 WG
// floats.
// Source: transformers eager attention, causal, softmax in f32. Twin: reference/attention.rs
#import kv

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    max_splits: u32,
    scale: f32,
    kv_scales: u32,
}

@group(1) @binding(N) var<storage, read> q: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> keys: array<Packed4>;
@group(1) @binding(N) var<storage, read> values: array<Packed4>;
@group(1) @binding(N) var<storage, read_write> partial_out: array<vec4<f32>>;

const WIDTH = HEAD_DIM / 4u;
// Lanes of the softmax of one head.
const TEAM = WG / GROUP;
// Position subsets whose values are summed in parallel: every PARTS-th position.
const PARTS = WG / WIDTH;

var<workgroup> query: array<vec4<f32>, GROUP * WIDTH>;
var<workgroup> scores: array<f32, GROUP * SPLIT>;
// [PARTS][GROUP][WIDTH]
var<workgroup> sums: array<vec4<f32>, PARTS * GROUP * WIDTH>;
var<workgroup> team_max: array<f32, WG>;
var<workgroup> team_sum: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.z;
    if (row >= n_rows()) { return; }
    let context = row_position(row) + 1u;
    let begin = group.x * SPLIT;
    if (begin >= context) { return; }
    let len = min(SPLIT, context - begin);
    let seq = row_seq(row);
    let first_head = group.y * GROUP;
    let kv_head = first_head / (params.n_heads / params.n_kv_heads);
    let kv_width = params.n_kv_heads * WIDTH;

    for (var i = lane; i < GROUP * WIDTH; i += WG) {
        query[i] = q[(((row * params.n_heads) + first_head) * WIDTH) + i] * params.scale;
    }
    workgroupBarrier();

    // Scores: a lane computes one position at a time, for all heads of the group.
    for (var t = lane; t < len; t += WG) {
        let at = (kv_row(seq, begin + t) * kv_width) + (kv_head * WIDTH);
        var s: array<f32, GROUP>;
        for (var g = 0u; g < GROUP; g++) { s[g] = 0.0; }
        for (var d = 0u; d < WIDTH; d++) {
            let k = key4(at + d);
            for (var g = 0u; g < GROUP; g++) { s[g] += dot(query[(g * WIDTH) + d], k); }
        }
        for (var g = 0u; g < GROUP; g++) { scores[(g * SPLIT) + t] = s[g]; }
    }
    workgroupBarrier();

    // Softmax: TEAM lanes for each head.
    let head = lane / TEAM;
    if (head < GROUP) {
        var high = LOWEST;
        for (var t = lane % TEAM; t < len; t += TEAM) {
            high = max(high, scores[(head * SPLIT) + t]);
        }
        team_max[lane] = high;
    }
    workgroupBarrier();
    if (head < GROUP) {
        var high = LOWEST;
        for (var i = 0u; i < TEAM; i++) { high = max(high, team_max[(head * TEAM) + i]); }
        var sum = 0.0;
        for (var t = lane % TEAM; t < len; t += TEAM) {
            let p = exp(scores[(head * SPLIT) + t] - high);
            scores[(head * SPLIT) + t] = p;
            sum += p;
        }
        team_sum[lane] = sum;
    }
    workgroupBarrier();

    // Values: a lane sums four dimensions of all heads, over every PARTS-th position.
    let part = lane / WIDTH;
    let d = lane % WIDTH;
    if (part < PARTS) {
        var o: array<vec4<f32>, GROUP>;
        for (var g = 0u; g < GROUP; g++) { o[g] = vec4<f32>(0.0); }
        for (var t = part; t < len; t += PARTS) {
            let v = value4((kv_row(seq, begin + t) * kv_width) + (kv_head * WIDTH) + d);
            for (var g = 0u; g < GROUP; g++) { o[g] += scores[(g * SPLIT) + t] * v; }
        }
        for (var g = 0u; g < GROUP; g++) { sums[(((part * GROUP) + g) * WIDTH) + d] = o[g]; }
    }
    workgroupBarrier();
    for (var i = lane; i < GROUP * WIDTH; i += WG) {
        var o = vec4<f32>(0.0);
        for (var p = 0u; p < PARTS; p++) { o += sums[(p * GROUP * WIDTH) + i]; }
        let g = i / WIDTH;
        let to = ((((row * params.n_heads) + first_head + g) * params.max_splits) + group.x)
            * (WIDTH + 1u);
        partial_out[to + 1u + (i % WIDTH)] = o;
        if (i % WIDTH == 0u) {
            var high = LOWEST;
            var sum = 0.0;
            for (var j = 0u; j < TEAM; j++) {
                high = max(high, team_max[(g * TEAM) + j]);
                sum += team_sum[(g * TEAM) + j];
            }
            partial_out[to] = vec4<f32>(high, sum, 0.0, 0.0);
        }
    }
}
