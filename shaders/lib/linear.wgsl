// Parts of the product kernels, matvec, matmul and matmul_coop: the items of a pass (import items), their
// inputs (input), the bias, and the operation on the result (epilogue). Weights are in lib/weights/.
//
// An item is one row of the output. matvec computes it as a sum over jobs, each a product of one
// expert's matrix with one input row:
//   n_items()              items of the pass
//   items_end(first)       one past the last item that shares its weights with item `first`
//   output_of(item)        row of `out` that the item is written to
//   n_jobs()               jobs of an item
//   job_expert, job_input, job_scale (item, job)   matrix, input row and factor of a job
// matmul works on tiles of up to TILE_ITEMS items that share one matrix:
//   tiles()                number of tiles
//   tile_expert(tile), tile_len(tile)   matrix and number of items of a tile
//   tile_input, tile_output (tile, i)   input row and output row of item i of a tile
// For rows row .. row + 3 of the matrix part, every product kernel finishes an item with
//   bias4(row)             biases of the rows
//   epilogue(item, row, n, v)   writes v, of which only the first n rows exist

#part items=dense
// One job for each item: every row, or every row whose logits are wanted, times the one matrix.
fn n_items() -> u32 { return select(n_rows(), n_logit_rows(), params.only_logit_rows != 0u); }
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return 0u; }
fn job_input(item: u32, job: u32) -> u32 { return item; }
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }

// A tile is TILE_ITEMS consecutive items.
fn tiles() -> u32 { return (n_items() + TILE_ITEMS - 1u) / TILE_ITEMS; }
fn tile_expert(tile: u32) -> u32 { return 0u; }
fn tile_len(tile: u32) -> u32 { return min(TILE_ITEMS, n_items() - (tile * TILE_ITEMS)); }
fn tile_input(tile: u32, i: u32) -> u32 { return (tile * TILE_ITEMS) + i; }
fn tile_output(tile: u32, i: u32) -> u32 { return (tile * TILE_ITEMS) + i; }

#part items=gather
// Item row * top_k + j is the row's j-th expert, as the router chose it.
//   ids [n_rows, top_k]
@group(1) @binding(N) var<storage, read> ids: array<u32>;

fn n_items() -> u32 { return n_rows() * params.top_k; }
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return ids[item]; }
fn job_input(item: u32, job: u32) -> u32 { return item / params.top_k; }
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }

#part items=combine
// One item for each row: the sum over its top_k experts, weighted by their gates, in the router's
// order. One lane adds them all, so the order is fixed and no atomics are needed.
//   ids, gates [n_rows, top_k]
@group(1) @binding(N) var<storage, read> ids: array<u32>;
@group(1) @binding(N) var<storage, read> gates: array<f32>;

fn n_items() -> u32 { return n_rows(); }
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return bound(params.top_k); }
fn job_expert(item: u32, job: u32) -> u32 { return ids[(item * params.top_k) + job]; }
fn job_input(item: u32, job: u32) -> u32 { return (item * params.top_k) + job; }
fn job_scale(item: u32, job: u32) -> f32 { return gates[(item * params.top_k) + job]; }

#part grouped=list
// Items grouped by expert: the tile list of moe_group.
//   groups: [0] n_tiles, then from 4 on [max_tiles][4]: expert, first, count, 0;
//           then from params.items_at on the items sorted by expert
@group(1) @binding(N) var<storage, read> groups: array<u32>;

fn tiles() -> u32 { return groups[0]; }
fn tile_expert(tile: u32) -> u32 { return groups[4u + (tile * 4u)]; }
fn tile_len(tile: u32) -> u32 { return groups[4u + (tile * 4u) + 2u]; }
fn tile_output(tile: u32, i: u32) -> u32 {
    return groups[params.items_at + groups[4u + (tile * 4u) + 1u] + i];
}

// In matvec, item t * TILE_ITEMS + i is the i-th of tile t; a tile may have fewer than TILE_ITEMS.
fn items_end(first: u32) -> u32 {
    let tile = first / TILE_ITEMS;
    if (tile >= tiles()) { return 0u; }
    return (tile * TILE_ITEMS) + tile_len(tile);
}
fn output_of(item: u32) -> u32 { return tile_output(item / TILE_ITEMS, item % TILE_ITEMS); }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return tile_expert(item / TILE_ITEMS); }
fn job_input(item: u32, job: u32) -> u32 {
    return tile_input(item / TILE_ITEMS, item % TILE_ITEMS);
}
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }

#part items=grouped_in
// Grouped items; item s = row * top_k + j reads row s / top_k.
#import grouped=list
fn tile_input(tile: u32, i: u32) -> u32 { return tile_output(tile, i) / params.top_k; }

#part items=grouped_out
// Grouped items; item s = row * top_k + j reads input row s.
#import grouped=list
fn tile_input(tile: u32, i: u32) -> u32 { return tile_output(tile, i); }

#part inputs=f32
// Inputs in f32, [inputs, cols].
@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

// Columns 4 i .. 4 i + 3.
fn x4(i: u32) -> vec4<f32> { return x[i]; }

// 32 columns.
struct Inputs {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}

#part input=f32
#import inputs=f32
// Columns 4 i .. 4 i + 31.
fn load_inputs(i: u32, lane: Lane) -> Inputs {
    return Inputs(
        x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
}

#part input=broadcast
// As f32, where all lanes of a subgroup need the same inputs: each lane loads an eighth and broadcasts
// it. For reduce=serial_subgroup on CPU drivers, which load for one lane after another: one load
// instead of eight. Needs subgroups of 8 lanes or more.
#import inputs=f32

// Columns 4 i .. 4 i + 31.
fn load_inputs(i: u32, lane: Lane) -> Inputs {
    let part = x[i + (lane.subgroup_lane & 7u)];
    return Inputs(
        subgroupBroadcast(part, 0u), subgroupBroadcast(part, 1u),
        subgroupBroadcast(part, 2u), subgroupBroadcast(part, 3u),
        subgroupBroadcast(part, 4u), subgroupBroadcast(part, 5u),
        subgroupBroadcast(part, 6u), subgroupBroadcast(part, 7u));
}

#part input=int8
// Inputs in f32, [inputs, cols], rounded to 8 bits in blocks of 32 when they are loaded:
// q = round(x * 127 / max|x|), an error of at most max|x| / 254 of the block. This takes no dispatch of
// its own.
@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

// 32 columns; column 4 n + i is byte i of the n-th word of a, then b.
struct Inputs {
    a: vec4<u32>,
    b: vec4<u32>,
    scale: f32,
    // Sums of the integers of columns 0 .. 15 and 16 .. 31.
    low_sum: i32,
    high_sum: i32,
}

// The largest magnitude as bits. Bits order as magnitudes do, with infinity and NaN last, so a NaN
// among the inputs is not lost.
fn largest(v: vec4<f32>) -> u32 {
    let a = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    return max(max(a.x, a.y), max(a.z, a.w));
}

fn rounded(v: vec4<f32>, inverse: f32) -> u32 { return pack4xI8(vec4<i32>(round(v * inverse))); }

fn sum_of(words: vec4<u32>) -> i32 {
    let ones = 0x01010101u;
    return dot4I8Packed(words.x, ones) + dot4I8Packed(words.y, ones)
        + dot4I8Packed(words.z, ones) + dot4I8Packed(words.w, ones);
}

// Columns 4 i .. 4 i + 31.
fn load_inputs(i: u32, lane: Lane) -> Inputs {
    let v0 = x[i];
    let v1 = x[i + 1u];
    let v2 = x[i + 2u];
    let v3 = x[i + 3u];
    let v4 = x[i + 4u];
    let v5 = x[i + 5u];
    let v6 = x[i + 6u];
    let v7 = x[i + 7u];
    let most = bitcast<f32>(max(
        max(max(largest(v0), largest(v1)), max(largest(v2), largest(v3))),
        max(max(largest(v4), largest(v5)), max(largest(v6), largest(v7)))));
    // A block of smaller values becomes zeros: 127 / most must be finite.
    let inverse = select(0.0, 127.0 / most, most >= 1e-30);
    let a = vec4<u32>(
        rounded(v0, inverse), rounded(v1, inverse), rounded(v2, inverse), rounded(v3, inverse));
    let b = vec4<u32>(
        rounded(v4, inverse), rounded(v5, inverse), rounded(v6, inverse), rounded(v7, inverse));
    return Inputs(a, b, most / 127.0, sum_of(a), sum_of(b));
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

#part params=matmul
// Parameters and inputs of matmul and matmul_coop. Twin: Params in src/kernels/matmul.rs
struct Params {
    rows: u32,
    first_row: u32,
    cols: u32,
    // First word of the sorted items in `groups`.
    items_at: u32,
    out_stride: u32,
    top_k: u32,
    only_logit_rows: u32,
    // First words of planes 1, 2 and 3 of the weights.
    plane1: u32,
    plane2: u32,
    plane3: u32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;
