// matmul_coop: y[output, r] = sum_k W[expert, r, k] * x[input, k] + bias[r], on matrix units
//
//   weight  [experts, rows, cols]  format of import weights; one part of a matrix: rows of every expert
//   x       [inputs, cols]         f32
//   out     [items, rows]          f32, written by import epilogue: store | add (residual) | swiglu (gate
//                                  and up rows alternate; half as wide)
//
// As matmul, for devices with cooperative matrices of f16 with sums in f32. A workgroup computes a tile
// of TILE_ITEMS items by 128 rows in four quarters of 32 rows, one for each subgroup. Both operands pass
// through workgroup memory as f16, TILE_K columns at a time. Import coop: matrices of SIDE x SIDE (8 or
// 16). WG = 4 * the adapter's largest subgroup. If the driver picks smaller subgroups, there are more
// than four, at most SUBGROUPS; the surplus ones repeat the last quarter, and their sums are not read.
// Grid: ceil(rows / 128), tiles. cols % 4 == 0; rows and items may be any number.
// Weights are rounded to f16, and so are inputs after a division by 64: f16 then holds inputs up to
// 4.1e6, and small inputs lose at most 2e-6. Larger inputs become infinite, not clamped to a plausible
// number, and sampling reports that. f32 sums; the error of a product is at most 2^-10 of |w x|.
// Source: torch.nn.functional.linear. Twin: reference/matvec.rs
#import coop
#import items
#import weights
#import bias
#import epilogue
#import params=matmul

const TILE_ROWS = 128u;
const QUARTER = 32u;
const TILE_K = 32u;
const K4 = TILE_K / 4u;
// Elements from one row of a tile to the next: eight more than a row holds, so that loading the rows
// of a matrix uses different banks.
const STRIDE = TILE_K + 8u;
// Matrices of a quarter: along its rows, and along the items.
const DOWN = QUARTER / SIDE;
const ACROSS = TILE_ITEMS / SIDE;
const SCALE = 64.0;

var<workgroup> weights_tile: array<f16, TILE_ROWS * STRIDE>;
var<workgroup> inputs_tile: array<f16, TILE_ITEMS * STRIDE>;
// One matrix of sums for each subgroup, [item][row].
var<workgroup> sums_tile: array<f32, SUBGROUPS * SIDE * SIDE>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let tile = group.y;
    if (tile >= tiles()) { return; }
    let first_row = group.x * TILE_ROWS;
    let len = tile_len(tile);
    let width = bound(params.cols / 4u);
    let expert_rows = tile_expert(tile) * params.rows;
    let quarter = min(subgroup, 3u) * QUARTER;

    var sums: array<coop_sums, DOWN * ACROSS>;
    for (var i = 0u; i < DOWN * ACROSS; i++) { sums[i] = coop_sums(); }
    for (var k = 0u; k < width; k += K4) {
        for (var i = lane; i < TILE_ROWS * K4; i += WG) {
            let row = min(first_row + (i / K4), params.rows - 1u);
            let col = k + (i % K4);
            let w = vec4<f16>(weight4(((expert_rows + row) * width) + min(col, width - 1u)));
            let at = ((i / K4) * STRIDE) + ((i % K4) * 4u);
            for (var j = 0u; j < 4u; j++) { weights_tile[at + j] = select(0.0h, w[j], col < width); }
        }
        for (var i = lane; i < TILE_ITEMS * K4; i += WG) {
            let item = min(i / K4, len - 1u);
            let col = k + (i % K4);
            let v = vec4<f16>(x[(tile_input(tile, item) * width) + min(col, width - 1u)] / SCALE);
            let at = ((i / K4) * STRIDE) + ((i % K4) * 4u);
            for (var j = 0u; j < 4u; j++) { inputs_tile[at + j] = select(0.0h, v[j], col < width); }
        }
        workgroupBarrier();
        for (var j = 0u; j < TILE_K; j += SIDE) {
            for (var d = 0u; d < DOWN; d++) {
                let w_at = ((quarter + (d * SIDE)) * STRIDE) + j;
                let w = coopLoadT<coop_left>(&weights_tile[w_at], STRIDE);
                for (var a = 0u; a < ACROSS; a++) {
                    let v = coopLoad<coop_right>(&inputs_tile[(a * SIDE * STRIDE) + j], STRIDE);
                    let s = (d * ACROSS) + a;
                    sums[s] = coopMultiplyAdd(w, v, sums[s]);
                }
            }
        }
        workgroupBarrier();
    }
    // Each matrix of sums goes through workgroup memory to the epilogue, one at a time.
    for (var d = 0u; d < DOWN; d++) {
        for (var a = 0u; a < ACROSS; a++) {
            coopStore(sums[(d * ACROSS) + a], &sums_tile[subgroup * SIDE * SIDE], SIDE);
            workgroupBarrier();
            for (var i = lane; i < SIDE * SIDE; i += WG) {
                let at = i * 4u;
                let part = at / (SIDE * SIDE);
                let item = (a * SIDE) + ((at / SIDE) % SIDE);
                let row = first_row + (part * QUARTER) + (d * SIDE) + (at % SIDE);
                if (item < len && row < params.rows) {
                    let v = vec4<f32>(
                        sums_tile[at], sums_tile[at + 1u], sums_tile[at + 2u], sums_tile[at + 3u]);
                    epilogue(
                        tile_output(tile, item),
                        row,
                        min(4u, params.rows - row),
                        (v * SCALE) + bias4(row));
                }
            }
            workgroupBarrier();
        }
    }
}
