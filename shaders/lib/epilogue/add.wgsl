// out[item, row] += v: the residual connection.
@group(1) @binding(N) var<storage, read_write> out: array<f32>;

// v: the products of rows row .. row + 3 of the part, of which `n` exist.
fn epilogue(item: u32, row: u32, n: u32, v: vec4<f32>) {
    let at = (item * params.out_stride) + params.first_row + row;
    for (var i = 0u; i < n; i++) { out[at + i] += v[i]; }
}
