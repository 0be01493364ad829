// attention: for each query head and each split of a row's context:
//            m = max_t s_t, l = sum_t exp(s_t - m), o = sum_t exp(s_t - m) v_t, s_t = scale * q . k_t
//
//   q       [n_rows, n_heads, HEAD_DIM]                f32
//   keys, values [pool rows, n_kv_heads, HEAD_DIM]     format of import kv
//   partial [splits, n_heads][4 + HEAD_DIM]            f32   m, l, 0, 0, then o. The splits of all rows follow one
//                                                      another; row_place(row) is the first of a row
//   o       [n_rows, n_heads, HEAD_DIM]                f32   o / l of contexts that are one split
//
// Attention of sequences with few rows in the pass (decode). The batch table says how many positions,
// at most LONGEST, a split of a row has. attention_combine joins the splits of longer contexts. A workgroup
// takes GROUP query heads that share a kv head, so it reads keys and values once for all of them. It walks
// over the keys of its split STEP positions at a time: a team of KEY_TEAM lanes reads a whole key, and their
// products are summed through workgroup memory. KEY_TEAM is WIDTH = HEAD_DIM / 4, so that neighbouring lanes
// read whole lines, or 1 where lanes own rows (CPU drivers). After the softmax a team of WIDTH lanes reads
// whole values. STEP divides PAGE, so a step looks one page up; its keys or values are loaded a step ahead.
// Grid: rows, n_heads / GROUP, most splits of a row. Workgroups of splits beyond a row's context return at
// once, and so do those of rows that flash_attention computes. f32. Workgroup memory: EXCHANGE + GROUP *
// (LONGEST + 1) + 2 WG floats. Lanes write products to 2-way conflicts of banks, and read them without any,
// since STRIDE is odd.
// Source: transformers eager attention, causal, softmax in f32; flash decoding,
// https://pytorch.org/blog/flash-decoding. Twin: reference/attention.rs
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
@group(1) @binding(N) var<storage, read_write> partial_out: array<f32>;
@group(1) @binding(N) var<storage, read_write> o: array<f32>;

const WIDTH = HEAD_DIM / 4u;
// Positions of a step: EACH for each team.
const STEP = TEAMS * EACH;
// Lanes that share the softmax of a head.
const SHARES = WG / GROUP;
// Vec4s that a lane loads of a key, keys of a lane in a step, and its loads.
const DIMS = WIDTH / KEY_TEAM;
const KEYS = STEP / KEY_TEAMS;
const LOADS = max(EACH, KEYS * DIMS);
// From the products of one score to those of the next.
const STRIDE = KEY_TEAM | 1u;
const EXCHANGE = max(STEP * GROUP * STRIDE, TEAMS * GROUP * HEAD_DIM);

// The products of a step, [STEP][GROUP][STRIDE]. At the end the teams' sums, [TEAMS][GROUP][4][WIDTH].
var<workgroup> exchange: array<f32, EXCHANGE>;
// Scores, then weights, [LONGEST][GROUP].
var<workgroup> scores: array<f32, LONGEST * GROUP>;
var<workgroup> lane_high: array<f32, WG>;
var<workgroup> lane_total: array<f32, WG>;
var<workgroup> total: array<f32, GROUP>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x;
    let split = row_split(row);
    let context = row_position(row) + 1u;
    let begin = group.z * split;
    let seq = row_seq(row);
    if (is_tiled(seq) || begin >= context) { return; }
    let end = min(begin + split, context);
    let first_head = group.y * GROUP;
    let kv_width = params.n_kv_heads * WIDTH;
    let team = lane / WIDTH;
    let d = lane % WIDTH;
    let kv_first = (first_head / (params.n_heads / params.n_kv_heads)) * WIDTH;
    let kv_at = kv_first + d;
    let key_team = lane / KEY_TEAM;
    let key_at = kv_first + (lane % KEY_TEAM);
    // The last lanes of a workgroup belong to no team if WIDTH is not a power of two.
    let in_team = team < TEAMS;

    var query: array<vec4<f32>, DIMS * GROUP>;
    for (var i = 0u; i < DIMS * GROUP; i++) {
        let at = (((row * params.n_heads) + first_head + (i % GROUP)) * WIDTH) + (lane % KEY_TEAM);
        query[i] = q[at + ((i / GROUP) * KEY_TEAM)] * params.scale;
    }
    // The keys or values of a step. Beyond the end, the last position is read again; its weight is 0.
    var raw: array<Raw4, LOADS>;
    var pool_row = kv_row(seq, begin);
    for (var i = 0u; i < KEYS * DIMS; i++) {
        let t = min(((i / DIMS) * KEY_TEAMS) + key_team, end - 1u - begin);
        raw[i] = load_key(((pool_row + t) * kv_width) + key_at + ((i % DIMS) * KEY_TEAM));
    }
    for (var first = begin; first < end; first += STEP) {
        for (var e = 0u; e < KEYS; e++) {
            var products: array<f32, GROUP>;
            for (var g = 0u; g < GROUP; g++) { products[g] = 0.0; }
            for (var n = 0u; n < DIMS; n++) {
                let k = decode4(raw[(e * DIMS) + n], key_at + (n * KEY_TEAM));
                for (var g = 0u; g < GROUP; g++) { products[g] += dot(query[(n * GROUP) + g], k); }
            }
            let to = (((e * KEY_TEAMS) + key_team) * GROUP * STRIDE) + (lane % KEY_TEAM);
            for (var g = 0u; g < GROUP; g++) {
                if (key_team < KEY_TEAMS) { exchange[to + (g * STRIDE)] = products[g]; }
            }
        }
        // The next keys are on their way while these are summed.
        let next = first + STEP;
        if (next < end) {
            pool_row = kv_row(seq, next);
            for (var i = 0u; i < KEYS * DIMS; i++) {
                let t = min(((i / DIMS) * KEY_TEAMS) + key_team, end - 1u - next);
                raw[i] = load_key(((pool_row + t) * kv_width) + key_at + ((i % DIMS) * KEY_TEAM));
            }
        }
        workgroupBarrier();
        for (var i = lane; i < STEP * GROUP; i += WG) {
            var s = 0.0;
            for (var j = 0u; j < KEY_TEAM; j++) { s += exchange[(i * STRIDE) + j]; }
            scores[((first - begin) * GROUP) + i] = s;
        }
        workgroupBarrier();
    }
    // The first values are on their way during the softmax.
    pool_row = kv_row(seq, begin);
    for (var e = 0u; e < EACH; e++) {
        let t = min((e * TEAMS) + team, end - 1u - begin);
        raw[e] = load_value(((pool_row + t) * kv_width) + kv_at);
    }

    // Softmax: every GROUP-th lane is of the same head.
    let len = end - begin;
    let head = lane % GROUP;
    var high = LOWEST;
    for (var t = lane / GROUP; t < len; t += SHARES) {
        if (lane < GROUP * SHARES) { high = max(high, scores[(t * GROUP) + head]); }
    }
    lane_high[lane] = high;
    workgroupBarrier();
    for (var j = 0u; j < SHARES; j++) { high = max(high, lane_high[(j * GROUP) + head]); }
    var own = 0.0;
    // The last step ends behind the split, and so do the weights, with zeros.
    let steps = (len + STEP - 1u) / STEP;
    for (var t = lane / GROUP; t < steps * STEP; t += SHARES) {
        if (lane < GROUP * SHARES) {
            let weight = select(0.0, exp(scores[(t * GROUP) + head] - high), t < len);
            scores[(t * GROUP) + head] = weight;
            own += weight;
        }
    }
    lane_total[lane] = own;
    workgroupBarrier();
    if (lane < GROUP) {
        own = 0.0;
        for (var j = 0u; j < SHARES; j++) { own += lane_total[(j * GROUP) + lane]; }
        total[lane] = own;
    }

    var sum: array<vec4<f32>, GROUP>;
    for (var g = 0u; g < GROUP; g++) { sum[g] = vec4<f32>(0.0); }
    for (var first = begin; first < end; first += STEP) {
        var now = raw;
        let next = first + STEP;
        if (next < end) {
            pool_row = kv_row(seq, next);
            for (var e = 0u; e < EACH; e++) {
                let t = min((e * TEAMS) + team, end - 1u - next);
                raw[e] = load_value(((pool_row + t) * kv_width) + kv_at);
            }
        }
        for (var e = 0u; e < EACH; e++) {
            let v = decode4(now[e], kv_at);
            let at = ((first - begin) + (e * TEAMS) + min(team, TEAMS - 1u)) * GROUP;
            for (var g = 0u; g < GROUP; g++) { sum[g] += scores[at + g] * v; }
        }
    }
    for (var g = 0u; g < GROUP; g++) {
        let to = (((team * GROUP) + g) * HEAD_DIM) + d;
        for (var c = 0u; c < 4u; c++) {
            if (in_team) { exchange[to + (c * WIDTH)] = sum[g][c]; }
        }
    }
    workgroupBarrier();
    let one_split = split >= context;
    for (var i = lane; i < GROUP * HEAD_DIM; i += WG) {
        let g = i / HEAD_DIM;
        let dim = i % HEAD_DIM;
        var joined = 0.0;
        for (var t = 0u; t < TEAMS; t++) {
            joined += exchange[(((t * GROUP) + g) * HEAD_DIM) + ((dim % 4u) * WIDTH) + (dim / 4u)];
        }
        if (one_split) {
            o[(((row * params.n_heads) + first_head + g) * HEAD_DIM) + dim] = joined / total[g];
        } else {
            partial_out[partial_at(row, first_head + g, group.z) + 4u + dim] = joined;
        }
    }
    if (!one_split && lane < GROUP) {
        let to = partial_at(row, first_head + lane, group.z);
        partial_out[to] = high;
        partial_out[to + 1u] = total[lane];
    }
}

fn partial_at(row: u32, head: u32, split: u32) -> u32 {
    return partial_row(row, split, head, params.n_heads) * (4u + HEAD_DIM);
}
