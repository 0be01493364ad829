// Inputs of a product as f32, [inputs, cols].
@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

// Columns 4 i .. 4 i + 3.
fn x4(i: u32) -> vec4<f32> { return x[i]; }
