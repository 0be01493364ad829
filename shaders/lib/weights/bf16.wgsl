// Weights as bfloat16, row major, two in a word, the first in the low half. bf16 is the upper half
// of an f32, so decoding is a shift.
@group(1) @binding(N) var<storage, read> weight: array<vec2<u32>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let w = weight[i];
    return bitcast<vec4<f32>>(
        vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}
