// One bias for each row of the whole matrix.
@group(1) @binding(N) var<storage, read> bias: array<f32>;

// Biases of rows row .. row + 3 of the part.
fn bias4(row: u32) -> vec4<f32> {
    var b = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (row + i < params.rows) { b[i] = bias[params.first_row + row + i]; }
    }
    return b;
}
