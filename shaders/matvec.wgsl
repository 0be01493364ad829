// matvec: y[item, r] = sum over jobs of scale * (sum_k W[expert, r, k] * x[input, k]) + bias[r]
//
//   weight  [experts, rows, cols]  in the format of import weights: a part of the matrix. A part has the
//                                  same range of rows of every expert, `rows` in number. A matrix has
//                                  several parts if it is too large for one binding
//   x       [inputs, cols]         f32; with import norm=rms, RMSNorm is applied to its rows first
//   out     [items, rows]          f32, written by import epilogue: store | add (residual) | swiglu (gate
//                                  and up rows alternate; half as wide)
//
// Matrix-vector products for few items. An item is a row of out. It is the sum of one or more products, its
// jobs. A workgroup computes ITEMS items, which share each load of a weight. The import `items`
// (lib/linear.wgsl) defines the items and their jobs:
//   dense                    one job, with the only matrix
//   gather                   one job, with the item's expert
//   combine                  TOP_K jobs, with the row's experts, scaled by their gates
//   grouped_in, grouped_out  one job. Item t * ITEMS + i is the i-th of moe_group's tile t; a tile has
//                            one expert. For a row's j-th expert, the item writes row s = row * top_k + j
//                            of out, and reads row s / top_k (grouped_in) or s (grouped_out) of x
// A lane is one invocation. LANES lanes share 4 rows of the matrix: all lanes of the workgroup, or with reduce=serial
// one lane. A unit is 4 * UNIT4 columns of these 4 rows. Lane i takes units i, i + LANES, ..., so loads are coalesced.
// A lane loads its next unit while it multiplies the current one. After the last unit the lanes' sums are added up.
// With items=combine JOBS jobs may run side by side, each on JOB_LANES = LANES / JOBS of the lanes; their products are
// added in order. Otherwise JOBS is 1. The import `product` (lib/weights/) defines:
//   load_unit(at)                             loads a unit. `at` has an index for each of its four rows: the
//                                             units of all rows of the part are numbered row by row
//   unit_product(unit, row_at, index, lane)   the four dot products of the unit's rows with the unit's columns
//                                             of the input row that begins at x[row_at]. `index` is the unit's
//                                             number within a row
// cols is a multiple of 4 * UNIT4; rows may be any number.
// Grid: x has ceil(items / ITEMS) workgroups, or max_tiles for grouped items. y and z together have the groups of rows,
// since one dimension has at most 65,535. x varies fastest: workgroups that read the same weights follow one another,
// so the later ones find them in a cache.
// f32 accumulation, one sum for each of the four rows; |error| <= ~ (cols / JOB_LANES) ulp of sum |W x|; with
// input=int8 also the rounding of x (lib/linear.wgsl).
// Source: torch.nn.functional.linear. Twin: reference/matvec.rs
#import reduce
#import items
#import weights
#import norm
#import product
#import bias
#import lora
#import epilogue

struct Params {
    // Rows of each expert in this part.
    rows: u32,
    // Index of its first row in the matrix.
    first_row: u32,
    // Columns of the matrix.
    cols: u32,
    // Groups of rows in the grid.
    row_groups: u32,
    // Elements between consecutive items of out.
    out_stride: u32,
    // Experts of a row; 1 with items=dense.
    top_k: u32,
    // 0 if the items are all rows, 1 or 2 if they are the logit rows (items=dense).
    only_logit_rows: u32,
    // First word of the sorted items in moe_group's buffer (items=grouped_in, grouped_out).
    items_at: u32,
    // First words of planes 1, 2 and 3 of the weights.
    plane1: u32,
    plane2: u32,
    plane3: u32,
    // Added to the mean square (norm=rms).
    eps: f32,
    // Factor of the gates (items=combine).
    routed_scaling: f32,
    // Sizes of import lora.
    lora_rank4: u32,
    lora_slot4: u32,
    lora_b4: u32,
    lora_v4: u32,
    lora_rows: u32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

const JOB_LANES = LANES / JOBS;

// The first vec4 of the row that a job of an item reads.
fn input_at(item: u32, job: u32) -> u32 { return job_input(item, job) * (params.cols / 4u); }

var<workgroup> job_products: array<vec4<f32>, JOBS>;

// Adds the products of jobs `done` .. `done` + JOBS - 1 of an item to its sum, in order. `y` is the product of the job
// that this lane works on.
fn add_jobs(sum: vec4<f32>, y: vec4<f32>, item: u32, done: u32, lane: Lane) -> vec4<f32> {
    if (JOBS == 1u) { return sum + (y * job_scale(item, done)); }
    if (lane_in_row(lane) % JOB_LANES == 0u) {
        job_products[lane_in_row(lane) / JOB_LANES] = y;
    }
    workgroupBarrier();
    var all = sum;
    for (var j = 0u; j < min(JOBS, n_jobs() - done); j++) {
        all += job_products[j] * job_scale(item, done + j);
    }
    workgroupBarrier();
    return all;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    lane: Lane,
) {
    let index = (group.z * n_groups.y) + group.y;
    if (index >= params.row_groups) { return; }
    let row = ((index * (WG / LANES)) + row_in_group(lane)) * 4u;
    let first = group.x * ITEMS;
    let end = items_end(first);
    if (first >= end) { return; }
    begin_items(first, lane.index);
    let units = bound(params.cols / (4u * UNIT4));
    // Rows beyond the end repeat the last one, and their results are dropped.
    let last = params.rows - 1u;
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));

    var sums: array<vec4<f32>, ITEMS>;
    for (var i = 0u; i < ITEMS; i++) { sums[i] = vec4<f32>(0.0); }
    for (var done = 0u; done < n_jobs(); done += JOBS) {
        let job = min(done + (lane_in_row(lane) / JOB_LANES), n_jobs() - 1u);
        let base = job_expert(first, job) * params.rows;
        let at = (vec4<u32>(base) + r) * units;
        var products: array<vec4<f32>, ITEMS>;
        var inputs: array<u32, ITEMS>;
        for (var i = 0u; i < ITEMS; i++) {
            products[i] = vec4<f32>(0.0);
            inputs[i] = input_at(min(first + i, end - 1u), job);
        }
        let start = lane_in_row(lane) % JOB_LANES;
        var next = load_unit(at + vec4<u32>(min(start, units - 1u)));
        for (var k = start; k < units; k += JOB_LANES) {
            var unit = next;
            // With one lane for four rows, as on llvmpipe, loading ahead takes a tenth more time.
            if (LANES == 1u) {
                unit = load_unit(at + vec4<u32>(k));
            } else {
                next = load_unit(at + vec4<u32>(min(k + JOB_LANES, units - 1u)));
            }
            // A tile of experts often has fewer items than ITEMS.
            for (var i = 0u; i < ITEMS; i++) {
                if (first + i < end) { products[i] += unit_product(unit, inputs[i], k, lane); }
            }
        }
        let lora_row = (job_expert(first, job) * params.lora_rows) + params.first_row;
        for (var i = 0u; i < ITEMS; i++) {
            let item = min(first + i, end - 1u);
            let s = job_product(item, job);
            let sum = add_lora(
                products[i], s / params.top_k, s, vec4<u32>(lora_row) + r, start, JOB_LANES);
            let y = reduce_sum4_of(sum, JOB_LANES, lane);
            sums[i] = add_jobs(sums[i], y, item, done, lane);
        }
    }
    for (var i = 0u; i < ITEMS; i++) {
        let factor = norm_factor(input_at(min(first + i, end - 1u), 0u), lane);
        let y = sums[i] * factor;
        if (first + i < end && lane_in_row(lane) == 0u && row < params.rows) {
            epilogue(output_of(first + i), row, min(4u, params.rows - row), y + bias4(row));
        }
    }
}
