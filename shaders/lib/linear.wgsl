// Parts of the product kernels (matvec, matmul, matmul_coop): the items of a pass (import items), the choice of their
// experts (choice), their inputs (norm, input, unit), the bias, and the operation on the result (epilogue). The
// formats of weights are in lib/weights/.
//
// An item is one row of the output. matvec computes it as a sum over jobs. A job is the product of one matrix with one
// input row:
//   n_items()              number of items of the pass
//   items_end(first)       one past the last item that shares its weights with item `first`
//   output_of(item)        row of `out` that the item is written to
//   n_jobs()               number of jobs of an item
//   job_expert, job_input, job_scale (item, job)   matrix, input row and factor of a job
//   job_product(item, job)   number of the job among all products of the pass, for import lora: row * top_k + j for
//                          the j-th expert of a row
//   begin_items(first, lane)   prepares the items of a workgroup, of which `first` is the first. All lanes of the
//                          workgroup call it before the other functions
// matmul works on tiles. A tile is up to TILE_ITEMS items with the same matrix:
//   tiles()                number of tiles
//   tile_expert(tile), tile_len(tile)   matrix and number of items of a tile
//   tile_input, tile_output (tile, i)   input row and output row of item i of a tile
// Import norm has RMSNorm of the inputs: h = norm_scale * x / sqrt(mean(x^2) + eps). The factor 1 / sqrt(..) multiplies
// the product, after the sum, so that no lane waits for it. Lanes add up the squares of the inputs that they multiply:
//   normed(v, col)         v = inputs 4 col .. 4 col + 3, multiplied by norm_scale if there is a norm
//   squares4(v)            the sum of their squares; 0 without a norm
//   norm_factors(squares)  1 / sqrt(..) of four input rows, by their sums of squares. row_squares makes these of the
//                          lanes' shares. Called only with NORMED, which says that there is a norm
// Every product kernel finishes an item for four rows row .. row + 3 of the matrix part at a time:
//   bias4(row)             biases of the rows
//   add_lora(..)           adds the product of the LoRA adapter of the item's sequence; called before bias4
//   epilogue(item, row, n, v)   writes v. Only the first n of the four rows exist

#part items=dense
// An item is a row of the batch. It has one job: the product of the only matrix with the inputs of the row.
// params.only_logit_rows is 0, 1 or 2:
//   0  The items are all rows.
//   1  The items are the logit rows, those whose logits are wanted. x has only the inputs of these rows.
//   2  The items are the logit rows. x has the inputs of all rows, and an item finds its own by logit_row(item).
fn begin_items(first: u32, lane: u32) {}
fn n_items() -> u32 { return select(n_rows(), n_logit_rows(), params.only_logit_rows != 0u); }
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return 0u; }
fn job_input(item: u32, job: u32) -> u32 {
    if (params.only_logit_rows == 2u) { return logit_row(item); }
    return item;
}
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }
fn job_product(item: u32, job: u32) -> u32 { return item; }

// A tile is TILE_ITEMS consecutive items.
fn tiles() -> u32 { return (n_items() + TILE_ITEMS - 1u) / TILE_ITEMS; }
fn tile_expert(tile: u32) -> u32 { return 0u; }
fn tile_len(tile: u32) -> u32 { return min(TILE_ITEMS, n_items() - (tile * TILE_ITEMS)); }
fn tile_input(tile: u32, i: u32) -> u32 { return (tile * TILE_ITEMS) + i; }
fn tile_output(tile: u32, i: u32) -> u32 { return (tile * TILE_ITEMS) + i; }

#part items=gather
// Item row * TOP_K + j is the row's j-th expert.
#import experts=chosen

fn begin_items(first: u32, lane: u32) { choose_experts(first / TOP_K, lane); }
fn n_items() -> u32 { return n_rows() * TOP_K; }
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return chosen_ids[item % TOP_K]; }
fn job_input(item: u32, job: u32) -> u32 { return item / TOP_K; }
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }
fn job_product(item: u32, job: u32) -> u32 { return item; }

#part items=combine
// One item for each row: the sum over its TOP_K experts, weighted by their gates, in the router's
// order. One workgroup adds them all, so the order is fixed and no atomics are needed.
#import experts=chosen

fn begin_items(first: u32, lane: u32) { choose_experts(first, lane); }
fn n_items() -> u32 { return n_rows(); }
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return bound(TOP_K); }
fn job_expert(item: u32, job: u32) -> u32 { return chosen_ids[job]; }
fn job_input(item: u32, job: u32) -> u32 { return (item * TOP_K) + job; }
fn job_scale(item: u32, job: u32) -> f32 { return chosen_gate(job); }
fn job_product(item: u32, job: u32) -> u32 { return (item * TOP_K) + job; }

#part experts=chosen
// The experts of a row by the router's logits. In passes of one row the products of the experts choose them themselves:
// this takes a few hundred operations, and a dispatch for the choice would cost 2 us on an H100. In longer passes the
// kernel `route` chooses them.
//   logits       [n_rows, EXPERTS]  f32   output of the router
//   expert_bias  [EXPERTS]          f32
#import experts=score
@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> expert_bias: array<f32>;
// The row's experts in descending order of key, and their scores: chosen_ids and chosen_scores.
#import choice

fn chosen_gate(j: u32) -> f32 {
    var norm = 1.0;
    if (NORM_TOPK != 0u) {
        norm = 1e-6;
        for (var i = 0u; i < TOP_K; i++) { norm += chosen_scores[i]; }
    }
    return (chosen_scores[j] / norm) * params.routed_scaling;
}

#part choice=together
// The lanes of a workgroup share the work.
var<workgroup> expert_scores: array<f32, EXPERTS>;
var<workgroup> expert_keys: array<f32, EXPERTS>;
var<workgroup> chosen_ids: array<u32, TOP_K>;
var<workgroup> chosen_scores: array<f32, TOP_K>;

fn choose_experts(row: u32, lane: u32) {
    for (var e = lane; e < EXPERTS; e += WG) {
        expert_scores[e] = expert_score(logits[(row * EXPERTS) + e]);
        expert_keys[e] = expert_key(expert_scores[e], expert_bias[e]);
    }
    workgroupBarrier();
    // An expert's rank is the number of experts before it.
    for (var e = lane; e < EXPERTS; e += WG) {
        let key = expert_keys[e];
        var rank = 0u;
        for (var other = 0u; other < EXPERTS; other++) {
            let before = expert_keys[other] > key || (expert_keys[other] == key && other < e);
            rank += select(0u, 1u, before);
        }
        if (rank < TOP_K) {
            chosen_ids[rank] = e;
            chosen_scores[rank] = expert_scores[e];
        }
    }
    workgroupBarrier();
}

#part choice=alone
// Every lane does all of the work, without a barrier: for lanes that own rows, as on CPU drivers. At a barrier llvmpipe
// saves the state of all lanes: with choice=together the combining product took 62 ms a token of LFM2-8B-A1B, without
// barriers it takes 46.
var<private> chosen_ids: array<u32, TOP_K>;
var<private> chosen_scores: array<f32, TOP_K>;

fn choose_experts(row: u32, lane: u32) {
    // The best experts so far, best first.
    var best_ids: array<u32, TOP_K>;
    var best_keys: array<f32, TOP_K>;
    var best_scores: array<f32, TOP_K>;
    for (var j = 0u; j < TOP_K; j++) {
        best_ids[j] = EXPERTS;
        best_keys[j] = LOWEST;
    }
    for (var expert = 0u; expert < EXPERTS; expert++) {
        var own = expert;
        var score = expert_score(logits[(row * EXPERTS) + expert]);
        var key = expert_key(score, expert_bias[expert]);
        // Insertion: among equal keys the lower id stays in front, so a displaced entry goes before the
        // entries that follow it, even equal ones.
        var placed = false;
        for (var j = 0u; j < TOP_K; j++) {
            if (placed || key > best_keys[j] || best_ids[j] == EXPERTS) {
                placed = true;
                let old_id = best_ids[j];
                let old_key = best_keys[j];
                let old_score = best_scores[j];
                best_ids[j] = own;
                best_keys[j] = key;
                best_scores[j] = score;
                own = old_id;
                key = old_key;
                score = old_score;
            }
        }
    }
    // The local arrays have constant indices once loops are unrolled, so that compilers keep them in registers.
    chosen_ids = best_ids;
    chosen_scores = best_scores;
}

#part of_expert=none
fn expert_of(s: u32, row: u32, lane: u32) -> u32 { return 0u; }

#part of_expert=chosen
#import experts=chosen
fn expert_of(s: u32, row: u32, lane: u32) -> u32 {
    choose_experts(row, lane);
    return chosen_ids[s % TOP_K];
}

#part of_expert=listed
// Experts of each row, [n_rows, top_k].
@group(1) @binding(N) var<storage, read> ids: array<u32>;
fn expert_of(s: u32, row: u32, lane: u32) -> u32 { return ids[s]; }

#part experts=score
// score = sigmoid(logit); experts are chosen by key = score + bias. A NaN counts as the lowest key, so that the
// choice is complete; the score remains NaN and so does the gate.
fn expert_score(logit: f32) -> f32 { return 1.0 / (1.0 + exp(-logit)); }

fn expert_key(score: f32, bias: f32) -> f32 {
    let key = score + bias;
    return select(key, LOWEST, (bitcast<u32>(key) & 0x7fffffffu) > 0x7f800000u);
}

#part grouped=list
// Items sorted by expert and cut into tiles, each of one expert. The buffer `groups` is the output of moe_group:
//   word 0                    n_tiles, the number of tiles
//   words from 4 on           [max_tiles][4]: expert of the tile; place of its first item in the sorted list; number
//                             of its items; 0
//   words from items_at on    the sorted list: for each place the number s = row * top_k + j of the j-th expert of a
//                             row. The product is row s of `out`
@group(1) @binding(N) var<storage, read> groups: array<u32>;

fn tiles() -> u32 { return groups[0]; }
fn tile_expert(tile: u32) -> u32 { return groups[4u + (tile * 4u)]; }
fn tile_len(tile: u32) -> u32 { return groups[4u + (tile * 4u) + 2u]; }
fn tile_output(tile: u32, i: u32) -> u32 {
    return groups[params.items_at + groups[4u + (tile * 4u) + 1u] + i];
}

// In matvec, item t * TILE_ITEMS + i is the i-th item of tile t. A tile may have fewer than TILE_ITEMS items. A return
// from within `items_end` would be, for FXC, a compiler of DX12, an uninitialised bound of loops with barriers.
fn begin_items(first: u32, lane: u32) {}
fn items_end(first: u32) -> u32 {
    let tile = first / TILE_ITEMS;
    return select((tile * TILE_ITEMS) + tile_len(tile), 0u, tile >= tiles());
}
fn output_of(item: u32) -> u32 { return tile_output(item / TILE_ITEMS, item % TILE_ITEMS); }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return tile_expert(item / TILE_ITEMS); }
fn job_input(item: u32, job: u32) -> u32 {
    return tile_input(item / TILE_ITEMS, item % TILE_ITEMS);
}
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }
fn job_product(item: u32, job: u32) -> u32 { return output_of(item); }

#part items=grouped_in
// All experts of a row read the same input: product s = row * top_k + j reads row s / top_k of x.
#import grouped=list
fn tile_input(tile: u32, i: u32) -> u32 { return tile_output(tile, i) / params.top_k; }

#part items=grouped_out
// Each expert of a row has its own input: product s = row * top_k + j reads row s of x.
#import grouped=list
fn tile_input(tile: u32, i: u32) -> u32 { return tile_output(tile, i); }

#part norm=none
const NORMED = false;
fn normed(v: vec4<f32>, col: u32) -> vec4<f32> { return v; }
fn squares4(v: vec4<f32>) -> f32 { return 0.0; }
fn norm_factors(squares: vec4<f32>) -> vec4<f32> { return vec4<f32>(1.0); }

#part norm=rms
@group(1) @binding(N) var<storage, read> norm_scale: array<vec4<f32>>;
const NORMED = true;
fn normed(v: vec4<f32>, col: u32) -> vec4<f32> { return v * norm_scale[col]; }
fn squares4(v: vec4<f32>) -> f32 { return dot(v, v); }
fn norm_factors(squares: vec4<f32>) -> vec4<f32> {
    return 1.0 / sqrt((squares / f32(params.cols)) + params.eps);
}

#part result=unit
// The products of a slice of a unit with its inputs, and the sum of squares of these before they were normed.
struct Product { y: vec4<f32>, squares: f32 }

#part inputs=f32
// 32 columns, normed, and the lane's share of the sum of their squares before.
struct Inputs {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>, squares: f32,
}

#part input=f32
#import inputs=f32
#import raw=eight
// Columns 4 i .. 4 i + 31 of a row.
fn load_inputs(row_at: u32, i: u32, lane: Lane) -> Inputs {
    let raw = load_raw(row_at + i);
    return Inputs(
        normed(raw.v0, i), normed(raw.v1, i + 1u), normed(raw.v2, i + 2u), normed(raw.v3, i + 3u),
        normed(raw.v4, i + 4u), normed(raw.v5, i + 5u), normed(raw.v6, i + 6u), normed(raw.v7, i + 7u),
        squares_of(raw));
}

#part raw=eight
#import squares=own
struct Raw {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}
// The 32 columns from x[at] on, as they are.
fn load_raw(at: u32) -> Raw {
    return Raw(
        x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
}
fn squares_of(x: Raw) -> f32 {
    return ((squares4(x.v0) + squares4(x.v1)) + (squares4(x.v2) + squares4(x.v3)))
        + ((squares4(x.v4) + squares4(x.v5)) + (squares4(x.v6) + squares4(x.v7)));
}

#part input=broadcast
// As f32, where all lanes of a subgroup need the same inputs: each lane loads an eighth and broadcasts
// it. For reduce=serial_subgroup on CPU drivers, which load for one lane after another: one load
// instead of eight. Needs subgroups of 8 lanes or more, in multiples of 8.
#import inputs=f32
// Columns 4 i .. 4 i + 31 of a row.
fn load_inputs(row_at: u32, i: u32, lane: Lane) -> Inputs {
    let own = i + (lane.subgroup_lane & 7u);
    let raw = x[row_at + own];
    let part = normed(raw, own);
    return Inputs(
        subgroupBroadcast(part, 0u), subgroupBroadcast(part, 1u),
        subgroupBroadcast(part, 2u), subgroupBroadcast(part, 3u),
        subgroupBroadcast(part, 4u), subgroupBroadcast(part, 5u),
        subgroupBroadcast(part, 6u), subgroupBroadcast(part, 7u), squares4(raw));
}
// Each group of eight lanes has the squares of whole rows.
fn row_squares(own: vec4<f32>, lane: Lane) -> vec4<f32> {
    return subgroupAdd(own) * (8.0 / f32(lane.subgroup_size));
}

#part input=int8
// Inputs rounded to 8 bits in blocks of 32 when they are loaded: q = round(x * 127 / max|x|), an error of at
// most max|x| / 254 of the block. This takes no dispatch of its own.
#import raw=eight
// 32 columns; column 4 n + i is byte i of the n-th word of a, then b.
struct Inputs {
    a: vec4<u32>, b: vec4<u32>, scale: f32, squares: f32,
    // Sums of the integers of columns 0 .. 15 and 16 .. 31.
    low_sum: i32, high_sum: i32,
}

// The largest magnitude as bits. Bits order as magnitudes do, with infinity and NaN last, so a NaN
// among the inputs is not lost.
fn largest(v: vec4<f32>) -> u32 {
    let a = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    return max(max(a.x, a.y), max(a.z, a.w));
}

// As bytes. A sum with 1.5 * 2^23, which GPUs round to nearest, has the integer in its low bits. No instruction converts.
fn rounded(v: vec4<f32>, inverse: f32) -> u32 {
    let q = bitcast<vec4<u32>>((v * inverse) + 12582912.0) & vec4<u32>(255u);
    return q.x | (q.y << 8u) | (q.z << 16u) | (q.w << 24u);
}

fn sum_of(words: vec4<u32>) -> i32 {
    let ones = 0x01010101u;
    return dot4I8Packed(words.x, ones) + dot4I8Packed(words.y, ones)
        + dot4I8Packed(words.z, ones) + dot4I8Packed(words.w, ones);
}

// Columns 4 i .. 4 i + 31 of a row.
fn load_inputs(row_at: u32, i: u32, lane: Lane) -> Inputs {
    let raw = load_raw(row_at + i);
    let v0 = normed(raw.v0, i);
    let v1 = normed(raw.v1, i + 1u);
    let v2 = normed(raw.v2, i + 2u);
    let v3 = normed(raw.v3, i + 3u);
    let v4 = normed(raw.v4, i + 4u);
    let v5 = normed(raw.v5, i + 5u);
    let v6 = normed(raw.v6, i + 6u);
    let v7 = normed(raw.v7, i + 7u);
    let most = bitcast<f32>(max(
        max(max(largest(v0), largest(v1)), max(largest(v2), largest(v3))),
        max(max(largest(v4), largest(v5)), max(largest(v6), largest(v7)))));
    // A block of smaller values becomes zeros: 127 / most must be finite.
    let inverse = select(0.0, 127.0 / most, most >= 1e-30);
    let a = vec4<u32>(
        rounded(v0, inverse), rounded(v1, inverse), rounded(v2, inverse), rounded(v3, inverse));
    let b = vec4<u32>(
        rounded(v4, inverse), rounded(v5, inverse), rounded(v6, inverse), rounded(v7, inverse));
    return Inputs(a, b, most / 127.0, squares_of(raw), sum_of(a), sum_of(b));
}

#part unpack=later
// `unit_product` unpacks the whole unit.
alias Weights = Unit;
fn unpacked(unit: Unit, slice: u32) -> Weights { return unit; }

#part unit=block
// A unit is a block of 32 columns of four rows.
#import input
#import unpack=later
#import result=unit
const UNIT4 = 8u;
const UNIT_SLICES = 1u;

#part squares=own
fn row_squares(own: vec4<f32>, lane: Lane) -> vec4<f32> { return reduce_sum4(own, lane); }

#part unit=slices
// A unit is two neighbouring slices of a block of 32 columns, for four rows. They have the same scales.
const UNIT4 = 4u;
const UNIT_SLICES = 2u;
// Slice s of a row is slice w = s % 4 of its block: columns 4 w .. 4 w + 3 and 16 + 4 w .. 16 + 4 w + 3. Neighbouring
// lanes load neighbouring words and inputs. With whole blocks, their inputs would be 128 bytes apart.
#import result=unit
#import squares=own
struct SliceInputs { a: vec4<f32>, b: vec4<f32>, squares: f32 }

// The inputs of a slice, normed, and the sum of their squares before.
fn slice_inputs(row_at: u32, slice: u32) -> SliceInputs {
    let col = ((slice / 4u) * 8u) + (slice & 3u);
    let a = x[row_at + col];
    let b = x[row_at + col + 4u];
    return SliceInputs(normed(a, col), normed(b, col + 4u), squares4(a) + squares4(b));
}

// One word of each row.
fn words_of(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(weight_words[at.x], weight_words[at.y], weight_words[at.z], weight_words[at.w]);
}

#part bias=none
fn bias4(row: u32) -> vec4<f32> { return vec4<f32>(0.0); }

#part bias=row
// One bias for each row of the whole matrix.
@group(1) @binding(N) var<storage, read> bias: array<f32>;

// Biases of rows row .. row + 3 of the matrix part.
fn bias4(row: u32) -> vec4<f32> {
    var b = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (row + i < params.rows) { b[i] = bias[params.first_row + row + i]; }
    }
    return b;
}

#part lora=none
fn add_lora(y: vec4<f32>, row: u32, s: u32, rows: vec4<u32>, lane: u32, lanes: u32) -> vec4<f32> {
    return y;
}

#part lora=added
// y' = y + B v: the product of the LoRA adapter of the row's sequence, W' = W + scale B A. The kernel lora_shrink has
// computed v = scale A x. Lane `lane` of `lanes` adds its share of the ranks, before the lanes' sums are added up. A row
// without an adapter keeps its y.
//   lora  factors of one matrix in every slot of adapters, then the results v. Twin: LoraMatrix in src/kernels/lora.rs
//         slots  [slots][ A [experts, R, cols], B [experts, rows, R] ]  f32
//         v      [products, R]                                          f32
// R, the rank, is a multiple of 4: adapters of lower rank have zeros. Parameters count vec4s:
//   lora_rank4   R / 4                        lora_slot4  a slot
//   lora_b4      from a slot's A to its B     lora_v4     from the first slot to v
//   lora_rows    rows of B of one expert
@group(1) @binding(N) var<storage, read> lora: array<vec4<f32>>;

// y: the sums of four rows of the matrix. rows: these rows in B, counted over all experts. row: a row of the batch.
// s: the index of its product in v.
fn add_lora(y: vec4<f32>, row: u32, s: u32, rows: vec4<u32>, lane: u32, lanes: u32) -> vec4<f32> {
    let slot = row_lora(row);
    if (slot == NO_LORA) { return y; }
    let width = params.lora_rank4;
    let b = vec4<u32>((slot * params.lora_slot4) + params.lora_b4) + (rows * width);
    let v = params.lora_v4 + (s * width);
    var sum = y;
    for (var r = lane; r < bound(width); r += lanes) {
        let x = lora[v + r];
        sum += vec4<f32>(
            dot(lora[b.x + r], x), dot(lora[b.y + r], x),
            dot(lora[b.z + r], x), dot(lora[b.w + r], x));
    }
    return sum;
}

#part epilogue=store
// out[item, row] = v
@group(1) @binding(N) var<storage, read_write> out: array<f32>;

fn epilogue(item: u32, row: u32, n: u32, v: vec4<f32>) {
    let at = (item * params.out_stride) + params.first_row + row;
    out[at] = v.x;
    if (n > 1u) { out[at + 1u] = v.y; }
    if (n > 2u) { out[at + 2u] = v.z; }
    if (n > 3u) { out[at + 3u] = v.w; }
}

#part epilogue=add
// out[item, row] += v: the residual connection.
@group(1) @binding(N) var<storage, read_write> out: array<f32>;

fn epilogue(item: u32, row: u32, n: u32, v: vec4<f32>) {
    let at = (item * params.out_stride) + params.first_row + row;
    out[at] += v.x;
    if (n > 1u) { out[at + 1u] += v.y; }
    if (n > 2u) { out[at + 2u] += v.z; }
    if (n > 3u) { out[at + 3u] += v.w; }
}

#part epilogue=swiglu
// out[item, r] = silu(v[2 r]) * v[2 r + 1]: gate (w1) and up (w3) rows alternate in the matrix, so n
// is 2 or 4.
@group(1) @binding(N) var<storage, read_write> out: array<f32>;

fn silu(x: f32) -> f32 { return x / (1.0 + exp(-x)); }

fn epilogue(item: u32, row: u32, n: u32, v: vec4<f32>) {
    let at = (item * params.out_stride) + ((params.first_row + row) / 2u);
    out[at] = silu(v.x) * v.y;
    if (n > 2u) { out[at + 1u] = silu(v.z) * v.w; }
}
