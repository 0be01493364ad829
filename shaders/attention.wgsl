// attention: for each query head and each split of a row's context:
//            m = max_t s_t, l = sum_t exp(s_t - m), o = sum_t exp(s_t - m) v_t, s_t = scale * q . k_t
//
//   q       [n_rows, n_heads, HEAD_DIM]                f32
//   keys, values [pool rows, n_kv_heads, HEAD_DIM]     format of import kv
//   partial [places, n_heads, max_splits][4 + HEAD_DIM] f32   m, l, 0, 0, then o
//   o       [n_rows, n_heads, HEAD_DIM]                f32   o / l of contexts that are one split
//
// Attention of sequences with few rows in the pass (decode). The batch table says how many positions
// a split of a row has, and each row's place in partial. attention_combine joins the splits of longer
// contexts. A workgroup takes GROUP query heads that share a kv head, so it reads keys and values once
// for all of them. It walks over its split STEP positions at a time: a team of WIDTH = HEAD_DIM / 4
// lanes reads a whole key, each lane four dimensions of it, and then the value at the same position.
// The lanes' products are summed through workgroup memory. Each team keeps its own running maximum and
// sums (online softmax), and the teams' results are joined at the end. STEP divides PAGE, so a step
// looks one page up.
// Grid: rows, n_heads / GROUP, splits of the longest context; workgroups of splits beyond a row's
// context return at once. f32. Workgroup memory: EXCHANGE + GROUP * (STEP + 2 TEAMS) floats. Lanes
// write products to 2-way conflicts of banks, and read them without any, since STRIDE is odd.
// Source: transformers eager attention, causal, softmax in f32; flash decoding,
// https://pytorch.org/blog/flash-decoding. Twin: reference/attention.rs
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
@group(1) @binding(N) var<storage, read_write> partial_out: array<f32>;
@group(1) @binding(N) var<storage, read_write> o: array<f32>;

const WIDTH = HEAD_DIM / 4u;
// Positions of a step: EACH for each team.
const STEP = TEAMS * EACH;
// From the products of one score to those of the next.
const STRIDE = WIDTH | 1u;
const EXCHANGE = max(STEP * GROUP * STRIDE, TEAMS * GROUP * HEAD_DIM);

// The products of a step, [STEP][GROUP][STRIDE]. At the end the teams' sums, [TEAMS][GROUP][4][WIDTH].
var<workgroup> exchange: array<f32, EXCHANGE>;
var<workgroup> scores: array<f32, STEP * GROUP>;
var<workgroup> team_high: array<f32, TEAMS * GROUP>;
var<workgroup> team_total: array<f32, TEAMS * GROUP>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x;
    let split = row_split(row);
    let context = row_position(row) + 1u;
    let begin = group.z * split;
    // flash_attention computes rows with split 0.
    if (split == 0u || begin >= context) { return; }
    let end = min(begin + split, context);
    let seq = row_seq(row);
    let first_head = group.y * GROUP;
    let kv_width = params.n_kv_heads * WIDTH;
    let team = lane / WIDTH;
    let d = lane % WIDTH;
    let kv_at = ((first_head / (params.n_heads / params.n_kv_heads)) * WIDTH) + d;
    // The last lanes of a workgroup belong to no team if WIDTH is not a power of two.
    let in_team = team < TEAMS;

    var query: array<vec4<f32>, GROUP>;
    var high: array<f32, GROUP>;
    var total: array<f32, GROUP>;
    var sum: array<vec4<f32>, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
        query[g] = q[(((row * params.n_heads) + first_head + g) * WIDTH) + d] * params.scale;
        high[g] = LOWEST;
        total[g] = 0.0;
        sum[g] = vec4<f32>(0.0);
    }

    // The keys and values of a step. Beyond the end, the last position is read again; its weight is 0.
    var raw_keys: array<Raw4, EACH>;
    var raw_values: array<Raw4, EACH>;
    var pool_row = kv_row(seq, begin);
    var last = end - 1u - begin;
    for (var e = 0u; e < EACH; e++) {
        let at = ((pool_row + min((e * TEAMS) + team, last)) * kv_width) + kv_at;
        raw_keys[e] = load_key(at);
        raw_values[e] = load_value(at);
    }
    for (var first = begin; first < end; first += STEP) {
        let len = end - first;
        for (var e = 0u; e < EACH; e++) {
            let k = decode4(raw_keys[e], kv_at);
            let to = (((e * TEAMS) + team) * GROUP * STRIDE) + d;
            for (var g = 0u; g < GROUP; g++) {
                if (in_team) { exchange[to + (g * STRIDE)] = dot(query[g], k); }
            }
        }
        // The next keys, and below the next values, are on their way during the work between.
        let next = min(first + STEP, end - 1u);
        pool_row = kv_row(seq, next);
        last = end - 1u - next;
        for (var e = 0u; e < EACH; e++) {
            raw_keys[e] =
                load_key(((pool_row + min((e * TEAMS) + team, last)) * kv_width) + kv_at);
        }
        workgroupBarrier();
        for (var i = lane; i < STEP * GROUP; i += WG) {
            var s = 0.0;
            for (var j = 0u; j < WIDTH; j++) { s += exchange[(i * STRIDE) + j]; }
            scores[i] = select(LOWEST, s, i / GROUP < len);
        }
        workgroupBarrier();
        for (var g = 0u; g < GROUP; g++) {
            var top = high[g];
            for (var e = 0u; e < EACH; e++) {
                top = max(top, scores[(((e * TEAMS) + min(team, TEAMS - 1u)) * GROUP) + g]);
            }
            let rescale = exp(high[g] - top);
            high[g] = top;
            total[g] *= rescale;
            sum[g] *= rescale;
        }
        for (var e = 0u; e < EACH; e++) {
            let t = (e * TEAMS) + min(team, TEAMS - 1u);
            let v = decode4(raw_values[e], kv_at);
            for (var g = 0u; g < GROUP; g++) {
                let weight = select(0.0, exp(scores[(t * GROUP) + g] - high[g]), t < len);
                total[g] += weight;
                sum[g] += weight * v;
            }
        }
        for (var e = 0u; e < EACH; e++) {
            raw_values[e] =
                load_value(((pool_row + min((e * TEAMS) + team, last)) * kv_width) + kv_at);
        }
    }

    for (var g = 0u; g < GROUP; g++) {
        if (in_team && d == 0u) { team_high[(team * GROUP) + g] = high[g]; }
    }
    workgroupBarrier();
    for (var g = 0u; g < GROUP; g++) {
        var top = LOWEST;
        for (var t = 0u; t < TEAMS; t++) { top = max(top, team_high[(t * GROUP) + g]); }
        let factor = exp(high[g] - top);
        high[g] = top;
        if (in_team) {
            if (d == 0u) { team_total[(team * GROUP) + g] = total[g] * factor; }
            let to = (((team * GROUP) + g) * HEAD_DIM) + d;
            for (var c = 0u; c < 4u; c++) { exchange[to + (c * WIDTH)] = sum[g][c] * factor; }
        }
    }
    workgroupBarrier();
    let one_split = split >= context;
    for (var i = lane; i < GROUP * HEAD_DIM; i += WG) {
        let g = i / HEAD_DIM;
        let dim = i % HEAD_DIM;
        var joined = 0.0;
        var weights = 0.0;
        for (var t = 0u; t < TEAMS; t++) {
            joined += exchange[(((t * GROUP) + g) * HEAD_DIM) + ((dim % 4u) * WIDTH) + (dim / 4u)];
            weights += team_total[(t * GROUP) + g];
        }
        if (one_split) {
            o[(((row * params.n_heads) + first_head + g) * HEAD_DIM) + dim] = joined / weights;
        } else {
            let to = partial_at(row, first_head + g, group.z);
            partial_out[to + 4u + dim] = joined;
            if (dim == 0u) { partial_out[to + 1u] = weights; }
        }
    }
    if (!one_split && lane == 0u) {
        for (var g = 0u; g < GROUP; g++) {
            partial_out[partial_at(row, first_head + g, group.z)] = high[g];
        }
    }
}

fn partial_at(row: u32, head: u32, split: u32) -> u32 {
    let place = (row_place(row) * params.n_heads) + head;
    return ((place * params.max_splits) + split) * (4u + HEAD_DIM);
}
