// flash_attention_coop: o[t, head, :] = sum_s softmax_s(scale * q_t . k_s) v_s over s <= position of row t, on
//                       matrix units
//
//   q       [n_rows, n_heads, HEAD_DIM]             f32
//   keys, values [pool rows, n_kv_heads, HEAD_DIM]  format of import kv
//   o       [n_rows, n_heads, HEAD_DIM]             f32   results of contexts that are one split
//   partial [splits, n_heads][4 + HEAD_DIM]         f32   results of the splits of other contexts. m is the query's
//                                                         reference, and l and the sums are PEAK times as large
//
// As flash_attention, for devices with cooperative matrices of f16 with sums in f32 (import
// coop: SIDE x SIDE, 8 or 16). A workgroup takes TILE_Q = 64 queries, in strips of 16, one for
// each subgroup, and walks over the positions of a split TILE_KV at a time. Its scores go through workgroup memory
// to the softmax, for which WG / TILE_Q lanes share a query, and the weights go back as f16. The sums of
// values stay in matrices. Their rows could only be scaled in workgroup memory, so a query keeps its
// reference, which is subtracted from its scores, until a score exceeds it by more than SLACK: then
// the query's highest score is the new reference.
// WG >= 4 * the adapter's largest subgroup. If there are more subgroups than strips, the surplus ones
// repeat the last strip, and STORED_STRIPS = 5: they store what is not read.
// Grid: splits of query tiles (the batch table lists them), n_heads / GROUP. HEAD_DIM % 16 == 0.
// Banks of 4 bytes, of 32: rows of keys and values are HEAD_DIM / 2 + 4 banks apart, so the 16 bytes that
// matrix loads take of each of eight rows fill all banks if HEAD_DIM is 64; lanes read scores of neighbouring
// queries. Weights are stored to 2-way conflicts.
//
// Queries times scale, keys, values and weights are rounded to f16. For keys and values in f16 that
// changes nothing. A score's error is at most 2^-11 of scale |q| |k|, and a weight's, which is divided
// by the sum of the rounded weights, 2^-10. Weights are PEAK = 1024 times their value, so that those
// above 6e-8 of the highest are normal halves; smaller ones lose at most 2^-35. A query beyond f16 becomes infinite,
// and its result NaN. A NaN among the values of a tile reaches all its queries, even those before it.
// Source: FlashAttention-2, https://arxiv.org/abs/2307.08691; keeping the reference, FlashAttention-4.
// Twin: reference/attention.rs
#import kv
#import params=flash_attention
#import coop

// e^(SLACK) * PEAK = 55,900 is below the largest f16, 65,504.
const SLACK = 4.0;
const PEAK = 1024.0;

const TILE_Q = 64u;
const TILE_KV = 32u;
// Quads of four dimensions of a head, and from one row of the tile to the next.
const WIDTH = HEAD_DIM / 4u;
const STRIDE = WIDTH + 2u;
// The queries, then keys and values in their place.
const INPUT_QUADS = TILE_Q * STRIDE;
const VALUES_AT = TILE_KV * STRIDE;
// Quads of four positions from one query's weights to the next.
const WEIGHT_STRIDE = (TILE_KV / 4u) + 2u;
const WEIGHT_QUADS = TILE_Q * WEIGHT_STRIDE;
const STRIP = 16u;
const STRIPS = TILE_Q / STRIP;
// Matrices of a strip's queries, of a head's dimensions and of a tile's positions.
const DOWN = STRIP / SIDE;
const DEEP = HEAD_DIM / SIDE;
const ALONG = TILE_KV / SIDE;
// Lanes that share a query, and positions of each.
const SHARES = WG / TILE_Q;
const OWN = TILE_KV / SHARES;
// Positions that the workgroup loads at once, each lane a quad, and its loads for a tile.
const TOGETHER = WG / WIDTH;
const LOADS = (TILE_KV + TOGETHER - 1u) / TOGETHER;

// From a position's scores, or a dimension's sums, to the next.
const COLUMN = (STORED_STRIPS * STRIP) + 4u;
// Scores, [TILE_KV][COLUMN], or sums of SIDE dimensions, [SIDE][COLUMN].
var<workgroup> exchange: array<f32, TILE_KV * COLUMN>;
// A value of each lane.
var<workgroup> lane_values: array<f32, WG>;
var<workgroup> exceeds: atomic<u32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    if (group.x >= n_tiles()) { return; }
    let seq = tile_seq(group.x);
    let first = tile_first_row(group.x);
    let rows = min(TILE_Q / GROUP, seq_first_row(seq) + seq_n_rows(seq) - first);
    let position = row_position(first);
    let context = position + rows;
    let split = row_split(first);
    let split_begin = tile_split(group.x) * split;
    let split_end = min(split_begin + split, context);
    let head = group.y * GROUP;
    let kv_width = params.n_kv_heads * WIDTH;
    let strip = min(subgroup, STRIPS - 1u) * STRIP;
    let stored = min(subgroup, STORED_STRIPS - 1u) * STRIP;
    // The lane's query, which repeats the last one if the tile has fewer, and its share of the positions.
    let n = lane % TILE_Q;
    let share = lane / TILE_Q;
    let known = min(n, (rows * GROUP) - 1u);
    let last = position + (known / GROUP);

    for (var i = lane; i < TILE_Q * WIDTH; i += WG) {
        let own = min(i / WIDTH, (rows * GROUP) - 1u);
        let row = first + (own / GROUP);
        let at = (((row * params.n_heads) + head + (own % GROUP)) * WIDTH) + (i % WIDTH);
        store_inputs(((i / WIDTH) * STRIDE) + (i % WIDTH), vec4<f16>(q[at] * params.scale));
    }
    if (lane == 0u) { atomicStore(&exceeds, 0u); }
    workgroupBarrier();
    var queries: array<coop_left, DOWN * DEEP>;
    for (var a = 0u; a < DOWN; a++) {
        for (var k = 0u; k < DEEP; k++) {
            let at = ((strip + (a * SIDE)) * STRIDE) + (k * (SIDE / 4u));
            queries[(a * DEEP) + k] = coopLoadT<coop_left>(&inputs_tile[at * QUAD], STRIDE * QUAD);
        }
    }
    var sums: array<coop_sums, DOWN * DEEP>;
    for (var i = 0u; i < DOWN * DEEP; i++) { sums[i] = coop_sums(); }
    var reference = LOWEST;
    var total = 0.0;

    // Keys and values on their way: quad `load_d` of positions load_t, load_t + TOGETHER, .. of the tile.
    let load_t = lane / WIDTH;
    let load_d = lane % WIDTH;
    let loads = load_t < TOGETHER;
    let kv_at = ((head / (params.n_heads / params.n_kv_heads)) * WIDTH) + load_d;
    var raw_keys: array<Raw4, LOADS>;
    var raw_values: array<Raw4, LOADS>;
    var source = ((kv_row(seq, split_begin) + load_t) * kv_width) + kv_at;
    for (var i = 0u; i < LOADS; i++) {
        raw_keys[i] = load_key(source + (i * TOGETHER * kv_width));
        raw_values[i] = load_value(source + (i * TOGETHER * kv_width));
    }
    for (var begin = split_begin; begin < split_end; begin += TILE_KV) {
        workgroupBarrier();
        for (var i = 0u; i < LOADS; i++) {
            let t = load_t + (i * TOGETHER);
            if (loads && t < TILE_KV) {
                store_inputs((t * STRIDE) + load_d, vec4<f16>(decode4(raw_keys[i], kv_at)));
                // A page may hold anything beyond the context, even NaN, which a weight of 0 would not drop.
                let v = select(vec4<f32>(0.0), decode4(raw_values[i], kv_at), begin + t < split_end);
                store_inputs(VALUES_AT + (t * STRIDE) + load_d, vec4<f16>(v));
            }
        }
        workgroupBarrier();
        let next = select(begin, begin + TILE_KV, begin + TILE_KV < split_end);
        source = ((kv_row(seq, next) + load_t) * kv_width) + kv_at;
        for (var i = 0u; i < LOADS; i++) {
            raw_keys[i] = load_key(source + (i * TOGETHER * kv_width));
            raw_values[i] = load_value(source + (i * TOGETHER * kv_width));
        }
        for (var b = 0u; b < ALONG; b++) {
            var products: array<coop_sums, DOWN>;
            for (var a = 0u; a < DOWN; a++) { products[a] = coop_sums(); }
            for (var k = 0u; k < DEEP; k++) {
                let at = (b * SIDE * STRIDE) + (k * (SIDE / 4u));
                let key = coopLoad<coop_right>(&inputs_tile[at * QUAD], STRIDE * QUAD);
                for (var a = 0u; a < DOWN; a++) {
                    products[a] = coopMultiplyAdd(queries[(a * DEEP) + k], key, products[a]);
                }
            }
            for (var a = 0u; a < DOWN; a++) {
                coopStore(products[a], &exchange[(b * SIDE * COLUMN) + stored + (a * SIDE)], COLUMN);
            }
        }
        workgroupBarrier();

        var scores: array<f32, OWN>;
        var top = LOWEST;
        for (var j = 0u; j < OWN; j++) {
            let t = (share * OWN) + j;
            scores[j] = select(LOWEST, exchange[(t * COLUMN) + n], begin + t <= last);
            top = max(top, scores[j]);
        }
        if (top > reference + SLACK) { atomicStore(&exceeds, 1u); }
        if (workgroupUniformLoad(&exceeds) != 0u) {
            // Some queries take a new reference, and their sums are scaled to it.
            lane_values[lane] = top;
            workgroupBarrier();
            if (lane == 0u) { atomicStore(&exceeds, 0u); }
            for (var j = 0u; j < SHARES; j++) { top = max(top, lane_values[(j * TILE_Q) + n]); }
            let new_reference = select(reference, top, top > reference + SLACK);
            let factor = exp(reference - new_reference);
            reference = new_reference;
            total *= factor;
            for (var b = 0u; b < DEEP; b++) {
                for (var a = 0u; a < DOWN; a++) {
                    coopStore(sums[(a * DEEP) + b], &exchange[stored + (a * SIDE)], COLUMN);
                }
                workgroupBarrier();
                for (var d = share; d < SIDE; d += SHARES) { exchange[(d * COLUMN) + n] *= factor; }
                workgroupBarrier();
                for (var a = 0u; a < DOWN; a++) {
                    sums[(a * DEEP) + b] =
                        coopLoad<coop_sums>(&exchange[stored + (a * SIDE)], COLUMN);
                }
                workgroupBarrier();
            }
        }
        for (var j = 0u; j < OWN; j += 4u) {
            var w: vec4<f32>;
            for (var c = 0u; c < 4u; c++) {
                let sees = begin + (share * OWN) + j + c <= last;
                w[c] = select(0.0, PEAK * exp(scores[j + c] - reference), sees);
            }
            let rounded = vec4<f16>(w);
            store_weights((n * WEIGHT_STRIDE) + (((share * OWN) + j) / 4u), rounded);
            total += dot(vec4<f32>(rounded), vec4<f32>(1.0));
        }
        workgroupBarrier();
        for (var k = 0u; k < ALONG; k++) {
            var weights: array<coop_left, DOWN>;
            for (var a = 0u; a < DOWN; a++) {
                let at = ((strip + (a * SIDE)) * WEIGHT_STRIDE) + (k * (SIDE / 4u));
                weights[a] = coopLoadT<coop_left>(&weights_tile[at * QUAD], WEIGHT_STRIDE * QUAD);
            }
            for (var b = 0u; b < DEEP; b++) {
                let at = VALUES_AT + (k * SIDE * STRIDE) + (b * (SIDE / 4u));
                let v = coopLoadT<coop_right>(&inputs_tile[at * QUAD], STRIDE * QUAD);
                for (var a = 0u; a < DOWN; a++) {
                    sums[(a * DEEP) + b] =
                        coopMultiplyAdd(weights[a], v, sums[(a * DEEP) + b]);
                }
            }
        }
    }
    lane_values[lane] = total;
    workgroupBarrier();
    total = 0.0;
    for (var j = 0u; j < SHARES; j++) { total += lane_values[(j * TILE_Q) + n]; }
    let row = first + (known / GROUP);
    let own_head = head + (known % GROUP);
    let one_split = last < split;
    let writes = n == known && last >= split_begin;
    let to = ((row * params.n_heads) + own_head) * WIDTH;
    let partial_to = partial_at(row, own_head, tile_split(group.x));
    if (writes && !one_split && share == 0u) {
        partial_out[partial_to] = vec4<f32>(reference, total, 0.0, 0.0);
    }
    for (var b = 0u; b < DEEP; b++) {
        for (var a = 0u; a < DOWN; a++) {
            coopStore(sums[(a * DEEP) + b], &exchange[stored + (a * SIDE)], COLUMN);
        }
        workgroupBarrier();
        for (var d = share * 4u; d < SIDE; d += SHARES * 4u) {
            let at = (d * COLUMN) + n;
            let v = vec4<f32>(
                exchange[at],
                exchange[at + COLUMN],
                exchange[at + (2u * COLUMN)],
                exchange[at + (3u * COLUMN)]);
            let quad = ((b * SIDE) + d) / 4u;
            if (writes && one_split) {
                o[to + quad] = v / total;
            } else if (writes) {
                partial_out[partial_to + 1u + quad] = v;
            }
        }
        workgroupBarrier();
    }
}
