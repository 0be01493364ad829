// What the kernels of many items are given beside weights and output; the twin of Params in
// src/kernels/matmul.rs.
struct Params {
    rows: u32,
    first_row: u32,
    cols: u32,
    // Where the sorted items begin in groups.
    items_at: u32,
    out_stride: u32,
    top_k: u32,
    logit_rows: u32,
    // First words of the weights' planes.
    plane1: u32,
    plane2: u32,
    plane3: u32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;
