// matmul: y[output, r] = sum_k W[expert, r, k] * x[input, k] + bias[r], for tiles of items
//
//   weight  [experts, rows, cols]  format of import weights; one part of a matrix: rows of every expert
//   x       [inputs, cols]         f32
//   out     [items, rows]          f32, written by import epilogue: store | add (residual) | swiglu (gate
//                                  and up rows alternate; half as wide)
//
// Products of many items. A workgroup computes a tile of TILE_ITEMS = 64 items by 128 rows. Both operands
// pass through workgroup memory, 16 columns at a time; the next 16 are loaded into registers while these
// are multiplied. A lane computes 8 items by 4 rows. 32 consecutive lanes have the same items, so a
// subgroup whose items a short tile lacks does nothing.
// Import items: dense, or grouped_in and grouped_out, which read the tile list of moe_group. The host only
// knows an upper bound of that list's length; surplus workgroups return at once.
// Grid: ceil(rows / 128), tiles. cols % 4 == 0; rows and items may be any number.
//
// A quad is four columns. A step takes quads 0, 1, 4, 5 or 2, 3, 6, 7 of eight, since a lane loads two of
// weights that are four apart: one word of a block of 4-bit weights. In workgroup memory a row or an item
// has STRIDE = 5 quads, of which 4 are used. Eight lanes of a load or store of quads access the banks
// together. Their addresses in quads, modulo the 8 that fill all 32 banks:
//   weights, stores  lanes 2 u + p at 5 u + p, then at 5 u + p + 2: 0 1 5 6 2 3 7 0, one pair shares banks
//   inputs, stores   lanes 4 u + p at 5 u + p: 0 1 2 3 5 6 7 0, one pair
//   weights, loads   lane u at 5 u + constant: all different
//   inputs, loads    all the same
// Every index but one of a load is a constant, so that compilers that check indices check one.
//
// f32 accumulation: sums of 8 columns, added in order. Source: torch.nn.functional.linear.
// Twin: reference/matvec.rs
#import items
#import weights
#import columns=eight
#import bias
#import lora
#import epilogue
#import params=matmul

const TILE_ROWS = 128u;
const STRIDE = 5u;
// Lanes that compute all rows of 8 items.
const ROW_LANES = TILE_ROWS / 4u;

// [r][u][quad]: row 4 u + r of the tile.
var<workgroup> weights_tile: array<array<array<vec4<f32>, STRIDE>, ROW_LANES>, 4>;
// [g][i][quad]: item 8 g + i of the tile.
var<workgroup> inputs_tile: array<array<array<vec4<f32>, STRIDE>, 8>, TILE_ITEMS / 8>;

// Sums of four rows of eight items.
struct Sums {
    s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32>,
    s4: vec4<f32>, s5: vec4<f32>, s6: vec4<f32>, s7: vec4<f32>,
}

// Quads q and q + 1 of rows 4 u .. 4 u + 3 of the tile.
fn load_columns(u: u32, q: u32) -> Columns {
    let a0 = weights_tile[0][u][q];
    let a1 = weights_tile[1][u][q];
    let a2 = weights_tile[2][u][q];
    let a3 = weights_tile[3][u][q];
    let b0 = weights_tile[0][u][q + 1u];
    let b1 = weights_tile[1][u][q + 1u];
    let b2 = weights_tile[2][u][q + 1u];
    let b3 = weights_tile[3][u][q + 1u];
    return Columns(
        vec4<f32>(a0.x, a1.x, a2.x, a3.x), vec4<f32>(a0.y, a1.y, a2.y, a3.y),
        vec4<f32>(a0.z, a1.z, a2.z, a3.z), vec4<f32>(a0.w, a1.w, a2.w, a3.w),
        vec4<f32>(b0.x, b1.x, b2.x, b3.x), vec4<f32>(b0.y, b1.y, b2.y, b3.y),
        vec4<f32>(b0.z, b1.z, b2.z, b3.z), vec4<f32>(b0.w, b1.w, b2.w, b3.w));
}

// Adds the products of quads q and q + 1 of rows 4 u .. 4 u + 3 with items 8 g .. 8 g + 7 of the tile.
fn add_products(s: Sums, u: u32, g: u32, q: u32) -> Sums {
    let w = load_columns(u, q);
    return Sums(
        s.s0 + columns_product(w, inputs_tile[g][0][q], inputs_tile[g][0][q + 1u]),
        s.s1 + columns_product(w, inputs_tile[g][1][q], inputs_tile[g][1][q + 1u]),
        s.s2 + columns_product(w, inputs_tile[g][2][q], inputs_tile[g][2][q + 1u]),
        s.s3 + columns_product(w, inputs_tile[g][3][q], inputs_tile[g][3][q + 1u]),
        s.s4 + columns_product(w, inputs_tile[g][4][q], inputs_tile[g][4][q + 1u]),
        s.s5 + columns_product(w, inputs_tile[g][5][q], inputs_tile[g][5][q + 1u]),
        s.s6 + columns_product(w, inputs_tile[g][6][q], inputs_tile[g][6][q + 1u]),
        s.s7 + columns_product(w, inputs_tile[g][7][q], inputs_tile[g][7][q + 1u]));
}

// Writes rows row .. row + 3 of item i of the tile, if they exist.
fn finish(tile: u32, i: u32, row: u32, sum: vec4<f32>) {
    if (i < tile_len(tile) && row < params.rows) {
        let y = with_lora_and_bias(tile, i, row, sum);
        epilogue(tile_output(tile, i), row, min(4u, params.rows - row), y);
    }
}

// First quad of a step.
fn quad_of(step: u32) -> u32 { return ((step / 2u) * 8u) + ((step % 2u) * 2u); }

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.y;
    if (tile >= tiles()) { return; }
    let first_row = group.x * TILE_ROWS;
    let len = tile_len(tile);
    let width = params.cols / 4u;
    // Two steps for every eight quads.
    let steps = bound(((width + 7u) / 8u) * 2u);

    // This lane loads two quads of one row, 4 load_u + load_r of the tile, and one quad of one item.
    let load_u = (lane / 2u) % ROW_LANES;
    let load_r = lane / (2u * ROW_LANES);
    let weight_quad = lane % 2u;
    let load_row = min(first_row + (load_u * 4u) + load_r, params.rows - 1u);
    let weight_at = ((tile_expert(tile) * params.rows) + load_row) * width;
    let load_item = lane / 4u;
    let input_quad = (lane & 1u) + ((lane & 2u) * 2u);
    let input_at = tile_input(tile, min(load_item, len - 1u)) * width;

    // It multiplies rows 4 u .. 4 u + 3 of the tile with items 8 g .. 8 g + 7.
    let u = lane % ROW_LANES;
    let g = lane / ROW_LANES;
    let zero = vec4<f32>(0.0);
    var sums = Sums(zero, zero, zero, zero, zero, zero, zero, zero);
    var packed = load8(weight_at + min(weight_quad, width - 1u));
    var input = x[input_at + min(input_quad, width - 1u)];
    for (var step = 0u; step < steps; step++) {
        // Beyond a row's end weights are 0, and inputs repeat the last quad.
        let quad = quad_of(step);
        let w = decode8(packed, weight_at + min(quad + weight_quad, width - 1u));
        weights_tile[load_r][load_u][weight_quad] =
            select(zero, w[0], quad + weight_quad < width);
        weights_tile[load_r][load_u][weight_quad + 2u] =
            select(zero, w[1], quad + weight_quad + 4u < width);
        inputs_tile[load_item / 8u][load_item % 8u][lane % 4u] = input;
        workgroupBarrier();
        // The last step loads its own columns again: there are no others.
        let next = quad_of(min(step + 1u, steps - 1u));
        packed = load8(weight_at + min(next + weight_quad, width - 1u));
        input = x[input_at + min(next + input_quad, width - 1u)];
        if (g * 8u < len) {
            sums = add_products(sums, u, g, 0u);
            sums = add_products(sums, u, g, 2u);
        }
        workgroupBarrier();
    }
    let row = first_row + (u * 4u);
    let item = g * 8u;
    finish(tile, item, row, sums.s0);
    finish(tile, item + 1u, row, sums.s1);
    finish(tile, item + 2u, row, sums.s2);
    finish(tile, item + 3u, row, sums.s3);
    finish(tile, item + 4u, row, sums.s4);
    finish(tile, item + 5u, row, sums.s5);
    finish(tile, item + 6u, row, sums.s6);
    finish(tile, item + 7u, row, sums.s7);
}
