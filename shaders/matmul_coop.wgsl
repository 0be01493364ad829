// matmul_coop: y[output, r] = sum_k W[expert, r, k] * x[input, k] + bias[r], on matrix units
//
//   weight  [experts, rows, cols]  format of import weights; one part of a matrix: rows of every expert
//   x       [inputs, cols]         f32
//   out     [items, rows]          f32, written by import epilogue: store | add (residual) | swiglu (gate
//                                  and up rows alternate; half as wide)
//
// As matmul, for devices with cooperative matrices of f16 with sums in f32. A workgroup computes a tile
// of TILE_ITEMS = 64 items by 128 rows, in BLOCKS blocks of BLOCK_ROWS rows by 32 items, one for each
// subgroup. Both operands pass through workgroup memory as f16, 32 columns at a time; the next 32 are
// loaded into registers while these are multiplied. Import coop: matrices of SIDE x SIDE (8 or 16).
// Import buffers: one or two for the operands, by the adapter's workgroup memory.
// WG = BLOCKS * the adapter's largest subgroup. If the driver picks smaller subgroups, there are more
// than BLOCKS: the surplus ones repeat the last block, and STORED_BLOCKS = BLOCKS + 1, since they store
// sums that are not read. No subgroup skips items that a short tile lacks: naga demands that all
// invocations take the same way to an operation on matrices.
// Grid: ceil(rows / 128), tiles. cols % 4 == 0; rows and items may be any number.
//
// A quad is four columns. In workgroup memory a row or an item has STRIDE = 10 quads, of which 8 are
// used. Banks of 4 bytes, of 32: rows are 20 banks apart, so the 16 bytes that matrix loads take of each
// of eight rows begin at banks 0 20 8 28 16 4 24 12 and fill all. Stores of quads by 16 lanes are of four
// rows (weights) or two (inputs): at most two lanes share a bank.
//
// Weights are rounded to f16, and so are inputs after a division by 64: f16 then holds inputs up to
// 4.1e6, and small inputs lose at most 2e-6. Larger inputs become infinite, not clamped to a plausible
// number, and sampling reports that. f32 sums; the error of a product is at most 2^-10 of |w x|, or 3e-8
// |x| for a denormal weight (below 6.1e-5).
// Source: torch.nn.functional.linear. Twin: reference/matvec.rs
#import coop
#import buffers
#import items
#import weights
#import bias
#import lora
#import epilogue
#import params=matmul

const TILE_ROWS = 128u;
// Quads of a row in one step, and from one row to the next.
const STEP = 8u;
const STRIDE = STEP + 2u;
const WEIGHT_QUADS = BUFFERS * TILE_ROWS * STRIDE;
const INPUT_QUADS = BUFFERS * TILE_ITEMS * STRIDE;
const BLOCK_ITEMS = 32u;
const BLOCKS_ACROSS = TILE_ITEMS / BLOCK_ITEMS;
const BLOCK_ROWS = TILE_ROWS / (BLOCKS / BLOCKS_ACROSS);
// Matrices of a block: along its rows, and along the items.
const DOWN = BLOCK_ROWS / SIDE;
const ACROSS = BLOCK_ITEMS / SIDE;
// Loads of a lane in one step: two quads of weights each, or one of inputs.
const WEIGHT_LOADS = (TILE_ROWS * STEP) / (2u * WG);
const INPUT_LOADS = (TILE_ITEMS * STEP) / WG;
const SCALE = 64.0;

// SIDE rows of each block's sums, [item][row].
const SUMS = SIDE * BLOCK_ITEMS;
var<workgroup> sums_tile: array<f32, STORED_BLOCKS * SUMS>;
const SUM_LOADS = ((BLOCKS * SUMS) + (4u * WG) - 1u) / (4u * WG);

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
    let width = params.cols / 4u;
    let steps = bound((width + STEP - 1u) / STEP);

    // This lane loads quads word and word + 4 of rows weight_row, weight_row + WG / 4, ..., and quad
    // input_quad of items input_item, input_item + WG / 8, ...
    let word = lane % 4u;
    let weight_row = lane / 4u;
    let input_quad = lane % STEP;
    let input_item = lane / STEP;
    var weight_at: array<u32, WEIGHT_LOADS>;
    var input_at: array<u32, INPUT_LOADS>;
    var packed: array<Packed8, WEIGHT_LOADS>;
    var inputs: array<vec4<f32>, INPUT_LOADS>;
    let expert_rows = tile_expert(tile) * params.rows;
    for (var i = 0u; i < WEIGHT_LOADS; i++) {
        let row = min(first_row + weight_row + (i * (WG / 4u)), params.rows - 1u);
        weight_at[i] = (expert_rows + row) * width;
        packed[i] = load8(weight_at[i] + min(word, width - 1u));
    }
    for (var i = 0u; i < INPUT_LOADS; i++) {
        input_at[i] = tile_input(tile, min(input_item + (i * (WG / STEP)), len - 1u)) * width;
        inputs[i] = x[input_at[i] + min(input_quad, width - 1u)];
    }

    // Its subgroup multiplies BLOCK_ROWS rows of the tile from block_row on with 32 items from block_item
    // on.
    let block = min(subgroup, BLOCKS - 1u);
    let block_row = (block / BLOCKS_ACROSS) * BLOCK_ROWS;
    let block_item = (block % BLOCKS_ACROSS) * BLOCK_ITEMS;
    var sums: array<coop_sums, DOWN * ACROSS>;
    for (var i = 0u; i < DOWN * ACROSS; i++) { sums[i] = coop_sums(); }
    for (var step = 0u; step < steps; step++) {
        // Stores the columns of this step, which the lane has loaded into registers. Beyond a row's end
        // weights are 0, and inputs repeat the last quad.
        let quad = step * STEP;
        let weights_to = (step % BUFFERS) * TILE_ROWS * STRIDE;
        let inputs_to = (step % BUFFERS) * TILE_ITEMS * STRIDE;
        before_store();
        for (var i = 0u; i < WEIGHT_LOADS; i++) {
            let w = decode8(packed[i], weight_at[i] + min(quad + word, width - 1u));
            let at = weights_to + ((weight_row + (i * (WG / 4u))) * STRIDE) + word;
            let zero = vec4<f16>(0.0);
            store_weights(at, select(zero, vec4<f16>(w[0]), quad + word < width));
            store_weights(at + 4u, select(zero, vec4<f16>(w[1]), quad + word + 4u < width));
        }
        for (var i = 0u; i < INPUT_LOADS; i++) {
            let at = inputs_to + ((input_item + (i * (WG / STEP))) * STRIDE) + input_quad;
            store_inputs(at, vec4<f16>(inputs[i] * (1.0 / SCALE)));
        }
        workgroupBarrier();
        // The last step loads its own columns again: there are no others.
        let next = min(step + 1u, steps - 1u) * STEP;
        for (var i = 0u; i < WEIGHT_LOADS; i++) {
            packed[i] = load8(weight_at[i] + min(next + word, width - 1u));
        }
        for (var i = 0u; i < INPUT_LOADS; i++) {
            inputs[i] = x[input_at[i] + min(next + input_quad, width - 1u)];
        }
        for (var k = 0u; k < STEP; k += SIDE / 4u) {
            var right: array<coop_right, ACROSS>;
            for (var a = 0u; a < ACROSS; a++) {
                let at = inputs_to + ((block_item + (a * SIDE)) * STRIDE) + k;
                right[a] = coopLoad<coop_right>(&inputs_tile[at * QUAD], STRIDE * QUAD);
            }
            for (var d = 0u; d < DOWN; d++) {
                let at = weights_to + ((block_row + (d * SIDE)) * STRIDE) + k;
                let left = coopLoadT<coop_left>(&weights_tile[at * QUAD], STRIDE * QUAD);
                for (var a = 0u; a < ACROSS; a++) {
                    let s = (d * ACROSS) + a;
                    sums[s] = coopMultiplyAdd(left, right[a], sums[s]);
                }
            }
        }
    }
    // The sums go through workgroup memory to the epilogue, SIDE rows of each block at a time.
    for (var d = 0u; d < DOWN; d++) {
        for (var a = 0u; a < ACROSS; a++) {
            let at = (min(subgroup, STORED_BLOCKS - 1u) * SUMS) + (a * SIDE * SIDE);
            coopStore(sums[(d * ACROSS) + a], &sums_tile[at], SIDE);
        }
        workgroupBarrier();
        for (var i = 0u; i < SUM_LOADS; i++) {
            let at = (lane + (i * WG)) * 4u;
            let part = at / SUMS;
            let item = ((part % BLOCKS_ACROSS) * BLOCK_ITEMS) + ((at / SIDE) % BLOCK_ITEMS);
            let row = first_row + ((part / BLOCKS_ACROSS) * BLOCK_ROWS) + (d * SIDE) + (at % SIDE);
            if (at < BLOCKS * SUMS && item < len && row < params.rows) {
                let v = vec4<f32>(
                    sums_tile[at], sums_tile[at + 1u], sums_tile[at + 2u], sums_tile[at + 3u]);
                epilogue(
                    tile_output(tile, item),
                    row,
                    min(4u, params.rows - row),
                    with_lora_and_bias(tile, item, row, v * SCALE));
            }
        }
        workgroupBarrier();
    }
}
