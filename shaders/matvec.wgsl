// matvec: y[item, r] = sum over jobs of scale * (sum_k W[expert, r, k] * x[input, k]) + bias[r]
//
//   weight  [experts, rows, cols]  by import: one part of a matrix, a range of rows of every expert
//   x       [inputs, cols]         f32; by import input as it is, handed round, or in 8 bits
//   out     by import epilogue:    store | add (residual) | swiglu (rows are gate, up in turn)
//
// The product for few items: every weight is read once by the ITEMS items of a workgroup.
// rows import: dense (one job), gather (the item's expert), combine (its top_k experts, gated),
// grouped_in and grouped_out (a tile of moe_group's list: items of one expert).
// A group of LANES lanes owns 4 rows; lanes take units of 4 UNIT4 columns (a quantised format's
// block) in turn, so loads are coalesced. With reduce = serial a lane owns its 4 rows alone.
// cols is a multiple of a unit; rows may be anything.
// Grid: row groups folded into x and y, ceil(items / ITEMS) in z; tiles are TILE_ITEMS items long.
// f32 accumulation, a sum for each of the four rows; |error| <= ~ (cols / LANES) ulp of sum |W x|.
// Source: torch.nn.functional.linear. Twin: reference/matvec.rs
#import reduce
#import rows
#import weights
#import input
#import product
#import bias
#import epilogue

struct Params {
    // Of this part: rows, first row in the matrix; columns; row groups of the grid.
    rows: u32,
    first_row: u32,
    cols: u32,
    groups: u32,
    // Elements between two items of out; experts a row goes to; items are logit rows.
    out_stride: u32,
    top_k: u32,
    logit_rows: u32,
    // Where the sorted items begin in groups.
    items_at: u32,
    // First words of the weights' planes.
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
    if (index >= params.groups) { return; }
    let row = ((index * (WG / LANES)) + row_in_group(lane)) * 4u;
    let first = group.z * ITEMS;
    let end = items_end(first);
    if (first >= end) { return; }
    let units = bound(params.cols / (4u * UNIT4));
    // Rows beyond the end repeat the last one and are dropped.
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
