// Inputs of a product as f32, [inputs, cols].
@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

// Columns 4 i .. 4 i + 3.
fn x4(i: u32) -> vec4<f32> { return x[i]; }

// 32 columns from 4 i on.
struct Inputs {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}

fn load_inputs(i: u32, lane: Lane) -> Inputs {
    return Inputs(
        x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
}
