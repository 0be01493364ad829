// flash_attention: o[t, head, :] = sum_s softmax_s(scale * q_t . k_s) v_s over positions s <= position of row t
//
//   q       [n_rows, n_heads, HEAD_DIM]             f32
//   keys, values [pool rows, n_kv_heads, HEAD_DIM]  in the format of import kv. A pool row is one position in a page
//                                                   of the KV cache; kv_row(seq, position) is its index
//   o       [n_rows, n_heads, HEAD_DIM]             f32   results of contexts that are one split
//   partial [splits, n_heads][4 + HEAD_DIM]         f32   results of the splits of other contexts (lib/kv.wgsl), which
//                                                         attention_combine joins
//
// Attention of sequences with many rows in the pass (prefill). A query is one head of one row. A workgroup computes a
// query tile of TILE_Q queries: TILE_Q / GROUP consecutive rows of one sequence, with GROUP query heads of one kv
// head. If a sequence has few tiles behind a long context, the batch table cuts the context into splits, and a
// workgroup computes one split of a tile. It walks over the split's positions in tiles of TILE_KV. For each query it
// keeps a running maximum and sum (online softmax), so scores stay in registers and workgroup memory. TILE_KV divides
// PAGE, so a tile lies in one page.
// Loads overlap with arithmetic. The values of a tile are loaded while its scores are computed, and the keys of the
// next tile while the values are summed. In workgroup memory the values replace the keys of their tile.
// A team of TEAM lanes handles four queries, which are the components of a vec4. For these queries, each lane computes
// the scores of POSITIONS = ceil(TILE_KV / TEAM) keys, and KEPT = ceil((HEAD_DIM / 4) / TEAM) vec4s of the output.
// Memory banks: neighbouring lanes belong to different teams. They read neighbouring vec4s of `query` and `weights`,
// and the same vec4 of `tile`. The vec4s of key t are rotated by t places, so lanes with different keys read from
// different banks.
// Grid: x: the splits of query tiles, which the batch table lists; y: n_heads / GROUP.
// Arithmetic: f32. Each split is summed in order of position.
// Workgroup memory: TILE_Q * (HEAD_DIM + TILE_KV) floats and TILE_KV * HEAD_DIM elements of the type of `tile`.
// Source: FlashAttention-2, https://arxiv.org/abs/2307.08691. Twin: reference/attention.rs
#import kv
#import params=flash_attention

const WIDTH = HEAD_DIM / 4u;
const TEAMS = TILE_Q / 4u;
const TEAM = WG / TEAMS;
const POSITIONS = (TILE_KV + TEAM - 1u) / TEAM;
const KEPT = (WIDTH + TEAM - 1u) / TEAM;
// Number of positions that the workgroup loads at once: each lane loads one vec4.
const TOGETHER = WG / WIDTH;
// Number of loads of a lane for a tile.
const LOADS = (TILE_KV + TOGETHER - 1u) / TOGETHER;

// [HEAD_DIM][TEAMS]. Each vec4 holds one dimension of a team's four queries.
var<workgroup> query: array<vec4<f32>, HEAD_DIM * TEAMS>;
// [TILE_KV][WIDTH]: first the keys of the tile, each rotated, then its values, not rotated.
var<workgroup> tile: array<Tile4, TILE_KV * WIDTH>;
// First the maximum of each lane's scores, [TEAM][TEAMS], then the softmax weights, [TILE_KV][TEAMS]. Each vec4 is for
// a team's four queries.
var<workgroup> weights: array<vec4<f32>, max(TILE_KV * TEAMS, WG)>;

// vec4 d of query n of the query tile, multiplied by the scale. A query beyond the last row repeats the last query.
fn query4(first: u32, head: u32, rows: u32, n: u32, d: u32) -> vec4<f32> {
    let known = min(n, (rows * GROUP) - 1u);
    let row = first + (known / GROUP);
    return q[(((row * params.n_heads) + head + (known % GROUP)) * WIDTH) + d] * params.scale;
}

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
    let split = row_split(first);
    let split_begin = tile_split(group.x) * split;
    let split_end = min(split_begin + split, context);
    let head = group.y * GROUP;
    let kv_width = params.n_kv_heads * WIDTH;
    let kv_first = (head / (params.n_heads / params.n_kv_heads)) * WIDTH;
    let team = lane % TEAMS;
    let own = lane / TEAMS;
    // The team's four queries as indices in the query tile, and the last position that each attends to.
    let mine = vec4<u32>(team * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let last = position + (min(mine, vec4<u32>((rows * GROUP) - 1u)) / vec4<u32>(GROUP));

    for (var i = lane; i < TEAMS * WIDTH; i += WG) {
        let n = (i % TEAMS) * 4u;
        let d = i / TEAMS;
        let q0 = query4(first, head, rows, n, d);
        let q1 = query4(first, head, rows, n + 1u, d);
        let q2 = query4(first, head, rows, n + 2u, d);
        let q3 = query4(first, head, rows, n + 3u, d);
        let to = (d * 4u * TEAMS) + (i % TEAMS);
        query[to] = vec4<f32>(q0.x, q1.x, q2.x, q3.x);
        query[to + TEAMS] = vec4<f32>(q0.y, q1.y, q2.y, q3.y);
        query[to + (2u * TEAMS)] = vec4<f32>(q0.z, q1.z, q2.z, q3.z);
        query[to + (3u * TEAMS)] = vec4<f32>(q0.w, q1.w, q2.w, q3.w);
    }
    var high = vec4<f32>(LOWEST);
    // Sum of the softmax weights at the lane's own positions.
    var total = vec4<f32>(0.0);
    var kept: array<vec4<f32>, KEPT * 4u>;
    for (var i = 0u; i < KEPT * 4u; i++) { kept[i] = vec4<f32>(0.0); }

    // The keys or values that the lane is loading: vec4 `load_d` of the positions load_t, load_t + TOGETHER, .. of the
    // tile.
    let load_t = lane / WIDTH;
    let load_d = lane % WIDTH;
    let loads = load_t < TOGETHER;
    let kv_at = kv_first + load_d;
    var raw: array<Raw4, LOADS>;
    var source = ((kv_row(seq, split_begin) + load_t) * kv_width) + kv_at;
    for (var n = 0u; n < LOADS; n++) { raw[n] = load_key(source + (n * TOGETHER * kv_width)); }
    for (var begin = split_begin; begin < split_end; begin += TILE_KV) {
        let len = min(TILE_KV, split_end - begin);
        workgroupBarrier();
        for (var n = 0u; n < LOADS; n++) {
            let t = load_t + (n * TOGETHER);
            let to = (t * WIDTH) + ((load_d + t) % WIDTH);
            if (loads && t < TILE_KV) { tile[to] = tile4(raw[n], kv_at); }
        }
        for (var n = 0u; n < LOADS; n++) { raw[n] = load_value(source + (n * TOGETHER * kv_width)); }
        workgroupBarrier();

        var s: array<vec4<f32>, POSITIONS>;
        for (var p = 0u; p < POSITIONS; p++) { s[p] = vec4<f32>(0.0); }
        for (var d = 0u; d < WIDTH; d++) {
            let at = (d * 4u * TEAMS) + team;
            let q0 = query[at];
            let q1 = query[at + TEAMS];
            let q2 = query[at + (2u * TEAMS)];
            let q3 = query[at + (3u * TEAMS)];
            for (var p = 0u; p < POSITIONS; p++) {
                let t = min(own + (p * TEAM), TILE_KV - 1u);
                let k = untile4(tile[(t * WIDTH) + ((d + t) % WIDTH)]);
                s[p] += q0 * k.x;
                s[p] += q1 * k.y;
                s[p] += q2 * k.z;
                s[p] += q3 * k.w;
            }
        }
        var top = high;
        for (var p = 0u; p < POSITIONS; p++) {
            s[p] = select(vec4<f32>(LOWEST), s[p], vec4<u32>(begin + own + (p * TEAM)) <= last);
            top = max(top, s[p]);
        }
        weights[lane] = top;
        workgroupBarrier();
        for (var j = 0u; j < TEAM; j++) { top = max(top, weights[(j * TEAMS) + team]); }
        workgroupBarrier();
        let rescale = exp(high - top);
        high = top;
        total *= rescale;
        for (var p = 0u; p < POSITIONS; p++) {
            let t = own + (p * TEAM);
            let weight = select(vec4<f32>(0.0), exp(s[p] - top), vec4<u32>(begin + t) <= last);
            if (t < TILE_KV) {
                weights[(t * TEAMS) + team] = weight;
                total += weight;
            }
        }
        for (var n = 0u; n < LOADS; n++) {
            let t = load_t + (n * TOGETHER);
            if (loads && t < TILE_KV) { tile[(t * WIDTH) + load_d] = tile4(raw[n], kv_at); }
        }
        let next = select(begin, begin + TILE_KV, begin + TILE_KV < split_end);
        source = ((kv_row(seq, next) + load_t) * kv_width) + kv_at;
        for (var n = 0u; n < LOADS; n++) { raw[n] = load_key(source + (n * TOGETHER * kv_width)); }
        for (var i = 0u; i < KEPT; i++) {
            kept[i * 4u] *= rescale.x;
            kept[(i * 4u) + 1u] *= rescale.y;
            kept[(i * 4u) + 2u] *= rescale.z;
            kept[(i * 4u) + 3u] *= rescale.w;
        }
        workgroupBarrier();

        // The first loop takes the positions that all four queries attend to. The second loop takes those that only
        // some queries attend to. It uses select to drop the products of the other queries: a weight of 0 is not
        // enough, since 0 * NaN is NaN.
        let all = min(len, max(last.x + 1u, begin) - begin);
        let some = min(len, max(last.w + 1u, begin) - begin);
        for (var t = 0u; t < all; t++) {
            let weight = weights[(t * TEAMS) + team];
            for (var i = 0u; i < KEPT; i++) {
                let v = untile4(tile[(t * WIDTH) + min(own + (i * TEAM), WIDTH - 1u)]);
                kept[i * 4u] += weight.x * v;
                kept[(i * 4u) + 1u] += weight.y * v;
                kept[(i * 4u) + 2u] += weight.z * v;
                kept[(i * 4u) + 3u] += weight.w * v;
            }
        }
        for (var t = all; t < some; t++) {
            let weight = weights[(t * TEAMS) + team];
            let sees = vec4<u32>(begin + t) <= last;
            for (var i = 0u; i < KEPT; i++) {
                let v = untile4(tile[(t * WIDTH) + min(own + (i * TEAM), WIDTH - 1u)]);
                kept[i * 4u] += select(vec4<f32>(0.0), weight.x * v, sees.x);
                kept[(i * 4u) + 1u] += select(vec4<f32>(0.0), weight.y * v, sees.y);
                kept[(i * 4u) + 2u] += select(vec4<f32>(0.0), weight.z * v, sees.z);
                kept[(i * 4u) + 3u] += select(vec4<f32>(0.0), weight.w * v, sees.w);
            }
        }
    }
    workgroupBarrier();
    weights[lane] = total;
    workgroupBarrier();
    total = vec4<f32>(0.0);
    for (var j = 0u; j < TEAM; j++) { total += weights[(j * TEAMS) + team]; }
    for (var j = 0u; j < 4u; j++) {
        let n = (team * 4u) + j;
        let row = first + (n / GROUP);
        let own_context = position + (n / GROUP) + 1u;
        // The split may begin behind the context of the tile's early rows.
        let writes = n < rows * GROUP && split_begin < own_context;
        let at = ((row * params.n_heads) + head + (n % GROUP)) * WIDTH;
        let to = partial_at(row, head + (n % GROUP), tile_split(group.x));
        for (var i = 0u; i < KEPT; i++) {
            let d = own + (i * TEAM);
            if (writes && d < WIDTH && own_context <= split) {
                o[at + d] = kept[(i * 4u) + j] / total[j];
            } else if (writes && d < WIDTH) {
                partial_out[to + 1u + d] = kept[(i * 4u) + j];
            }
        }
        if (writes && own == 0u && own_context > split) {
            partial_out[to] = vec4<f32>(high[j], total[j], 0.0, 0.0);
        }
    }
}
