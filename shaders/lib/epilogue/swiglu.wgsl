// out[item, r] = silu(v[2 r]) * v[2 r + 1]: the matrix holds gate (w1) and up (w3) rows in turn.
@group(1) @binding(N) var<storage, read_write> out: array<f32>;

fn silu(x: f32) -> f32 { return x / (1.0 + exp(-x)); }

// v: the products of rows row .. row + 3 of the part, of which `n` (2 or 4) exist.
fn epilogue(item: u32, row: u32, n: u32, v: vec4<f32>) {
    let at = (item * params.out_stride) + ((params.first_row + row) / 2u);
    out[at] = silu(v.x) * v.y;
    if (n > 2u) { out[at + 1u] = silu(v.z) * v.w; }
}
