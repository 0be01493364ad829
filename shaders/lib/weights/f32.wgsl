// Weights as f32, row major.
@group(1) @binding(N) var<storage, read> weight: array<vec4<f32>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> { return weight[i]; }
