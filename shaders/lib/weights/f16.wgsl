// Weights as f16, row major, two in a word, the first in the low half; core WGSL, no device feature.
@group(1) @binding(N) var<storage, read> weight: array<vec2<u32>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let w = weight[i];
    return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
}
