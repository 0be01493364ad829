// Parts of matmul and matmul_coop.

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
    // Sizes of import lora.
    lora_rank4: u32,
    lora_slot4: u32,
    lora_b4: u32,
    lora_v4: u32,
    lora_rows: u32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

// Adds the adapter's product to the sums of rows row .. row + 3 of item i of a tile, then biases.
fn with_lora_and_bias(tile: u32, i: u32, row: u32, sum: vec4<f32>) -> vec4<f32> {
    let s = tile_output(tile, i);
    let first = (tile_expert(tile) * params.lora_rows) + params.first_row;
    let last = vec4<u32>(params.rows - 1u);
    let rows = vec4<u32>(first) + min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), last);
    return add_lora(sum, s / params.top_k, s, rows, 0u, 1u) + bias4(row);
}
