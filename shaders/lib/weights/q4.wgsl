// Weights as 4-bit integers in blocks of 32: d * (q - 8).
//   plane 0  4 words a block: element 4 w + n in the low half of byte n of word w, element
//            16 + 4 w + n in the high half, as in Q4_0
//   plane 1  a half a block: d
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

fn block_scale(block: u32) -> f32 {
    let pair = unpack2x16float(weight_words[params.plane1 + (block / 2u)]);
    return select(pair.x, pair.y, (block & 1u) != 0u);
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let word = weight_words[((i / 8u) * 4u) + (i & 3u)] >> (i & 4u);
    let q = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    return (vec4<f32>(q) - 8.0) * block_scale(i / 8u);
}
