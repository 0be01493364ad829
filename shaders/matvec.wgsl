// matvec: y[item, r] = sum over jobs of scale * (sum_k W[expert, r, k] * x[input, k]) + bias[r]
//
//   weight  [experts, rows, cols]  in the format of import weights. A matrix too large for one binding
//                                  is split into parts; each holds one range of rows, of every expert.
//                                  This is one part; rows counts its rows of one expert
//   x       [inputs, cols]         f32 in memory. Import input: f32; broadcast (lanes of a subgroup share
//                                  the loads); int8 (rounded to 8 bits when loaded)
//   out     [items, rows]          f32, written by import epilogue: store | add (residual) | swiglu (gate
//                                  and up rows alternate; half as wide)
//
// Matrix-vector products of few items. The ITEMS items of a workgroup share each load of a weight.
// An item is a row of out: the sum of one or more products, its jobs. The import `items` (lib/linear.wgsl)
// defines the items and their jobs:
//   dense                    one job, with the only matrix
//   gather                   one job, with the item's expert
//   combine                  top_k jobs, with the row's experts, scaled by their gates
//   grouped_in, grouped_out  one job. Item t * TILE_ITEMS + i is the i-th of moe_group's tile t; a tile has
//                            one expert. For a row's j-th expert, the item writes row s = row * top_k + j
//                            of out, and reads row s / top_k (grouped_in) or s (grouped_out) of x
// LANES lanes (invocations) share 4 rows. A unit is 4 * UNIT4 columns of these rows: a block of 32
// columns in a quantised format, 4 columns in floats. Lane i takes units i, i + LANES, ..., so loads are
// coalesced. With reduce=serial, LANES is 1: a lane computes its four rows alone. The import `product`
// (lib/weights/) defines:
//   load_unit(at)                   loads the unit; `at`: for each of the four rows, its index in the part
//   unit_product(unit, x_at, lane)  the four dot products of the unit's rows with the elements of x that
//                                   begin at 4 * x_at
// cols is a multiple of 4 * UNIT4; rows may be any number.
// Grid: groups of rows, folded into x and y; z: ceil(items / ITEMS), or for grouped items
// max_tiles * TILE_ITEMS / ITEMS.
// f32 accumulation, one sum for each of the four rows; |error| <= ~ (cols / LANES) ulp of sum |W x|; with input=int8
// also the rounding of x (lib/linear.wgsl).
// Source: torch.nn.functional.linear. Twin: reference/matvec.rs
#import reduce
#import items
#import weights
#import input
#import product
#import bias
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
    // Experts of a row.
    top_k: u32,
    // 1 if the items are the logit rows, 0 if they are all rows.
    only_logit_rows: u32,
    // First word of the sorted items in moe_group's buffer (items=grouped_in, grouped_out).
    items_at: u32,
    // First words of planes 1, 2 and 3 of the weights.
    plane1: u32,
    plane2: u32,
    plane3: u32,
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    lane: Lane,
) {
    let index = (group.y * n_groups.x) + group.x;
    if (index >= params.row_groups) { return; }
    let row = ((index * (WG / LANES)) + row_in_group(lane)) * 4u;
    let first = group.z * ITEMS;
    let end = items_end(first);
    if (first >= end) { return; }
    let units = bound(params.cols / (4u * UNIT4));
    // Rows beyond the end repeat the last one, and their results are dropped.
    let last = params.rows - 1u;
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));

    var sums: array<vec4<f32>, ITEMS>;
    for (var i = 0u; i < ITEMS; i++) { sums[i] = vec4<f32>(0.0); }
    for (var job = 0u; job < n_jobs(); job++) {
        let base = job_expert(first, job) * params.rows;
        let at = (vec4<u32>(base) + r) * units;
        var products: array<vec4<f32>, ITEMS>;
        for (var i = 0u; i < ITEMS; i++) { products[i] = vec4<f32>(0.0); }
        for (var k = lane_in_row(lane); k < units; k += LANES) {
            let unit = load_unit(at + vec4<u32>(k));
            for (var i = 0u; i < ITEMS; i++) {
                let item = min(first + i, end - 1u);
                products[i] += unit_product(
                    unit, ((job_input(item, job) * units) + k) * UNIT4, lane);
            }
        }
        for (var i = 0u; i < ITEMS; i++) {
            sums[i] += products[i] * job_scale(min(first + i, end - 1u), job);
        }
    }
    for (var i = 0u; i < ITEMS; i++) {
        let y = reduce_sum4(sums[i], lane);
        if (first + i < end && lane_in_row(lane) == 0u && row < params.rows) {
            epilogue(output_of(first + i), row, min(4u, params.rows - row), y + bias4(row));
        }
    }
}
