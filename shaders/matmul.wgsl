// matmul: y[output, r] = sum_k W[expert, r, k] * x[input, k] + bias[r], for tiles of items
//
//   weight  [experts, rows, cols]  format of import weights; one part of a matrix: rows of every expert
//   x       [inputs, cols]         f32
//   out     [items, rows]          f32, written by import epilogue: store | add (residual) | swiglu (gate
//                                  and up rows alternate; half as wide)
//
// Products of many items. A workgroup of 16 x 16 lanes computes a tile of TILE_ITEMS items by 64 rows;
// both operands pass through workgroup memory, TILE_K columns at a time. A lane computes
// TILE_ITEMS / 16 items by 4 rows.
// Import rows: dense, or grouped_in and grouped_out, which read the tile list of moe_group. The host only
// knows an upper bound of that list's length; surplus workgroups return at once.
// Grid: ceil(rows / 64), tiles. cols % 4 == 0; rows and items may be any number.
// f32 accumulation in order of k. Source: torch.nn.functional.linear. Twin: reference/matvec.rs
#import items
#import weights
#import bias
#import epilogue
#import params=matmul

const TILE_ROWS = 64u;
const TILE_K = 16u;
const K4 = TILE_K / 4u;
const ITEMS_PER_LANE = TILE_ITEMS / 16u;

var<workgroup> weights_tile: array<vec4<f32>, TILE_ROWS * K4>;
var<workgroup> inputs_tile: array<vec4<f32>, TILE_ITEMS * K4>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.y;
    if (tile >= tiles()) { return; }
    let first_row = group.x * TILE_ROWS;
    let len = tile_len(tile);
    let width = bound(params.cols / 4u);
    let expert_rows = tile_expert(tile) * params.rows;

    // This lane loads four columns of one row and of one item.
    let load_row = lane / K4;
    let load_k = lane % K4;
    let weight_at = (expert_rows + min(first_row + load_row, params.rows - 1u)) * width;
    var input_at = 0u;
    if (load_row < TILE_ITEMS) {
        input_at = tile_input(tile, min(load_row, len - 1u)) * width;
    }

    let lane_rows = (lane % 16u) * 4u;
    let lane_items = (lane / 16u) * ITEMS_PER_LANE;
    var sums: array<vec4<f32>, ITEMS_PER_LANE>;
    for (var i = 0u; i < ITEMS_PER_LANE; i++) { sums[i] = vec4<f32>(0.0); }
    for (var k = 0u; k < width; k += K4) {
        let inside = k + load_k < width;
        let start = min(k + load_k, width - 1u);
        weights_tile[lane] = select(vec4<f32>(0.0), weight4(weight_at + start), inside);
        if (load_row < TILE_ITEMS) {
            inputs_tile[lane] = select(vec4<f32>(0.0), x[input_at + start], inside);
        }
        workgroupBarrier();
        for (var j = 0u; j < K4; j++) {
            let w0 = weights_tile[(lane_rows * K4) + j];
            let w1 = weights_tile[((lane_rows + 1u) * K4) + j];
            let w2 = weights_tile[((lane_rows + 2u) * K4) + j];
            let w3 = weights_tile[((lane_rows + 3u) * K4) + j];
            for (var i = 0u; i < ITEMS_PER_LANE; i++) {
                let v = inputs_tile[((lane_items + i) * K4) + j];
                sums[i] += vec4<f32>(dot(w0, v), dot(w1, v), dot(w2, v), dot(w3, v));
            }
        }
        workgroupBarrier();
    }
    let row = first_row + lane_rows;
    for (var i = 0u; i < ITEMS_PER_LANE; i++) {
        if (lane_items + i < len && row < params.rows) {
            epilogue(
                tile_output(tile, lane_items + i),
                row,
                min(4u, params.rows - row),
                sums[i] + bias4(row));
        }
    }
}
