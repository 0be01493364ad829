// Weights as f16, row major, loaded as such: needs shader-f16.
@group(1) @binding(N) var<storage, read> weight: array<vec4<f16>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> { return vec4<f32>(weight[i]); }
