// Weights as ggml's Q6_K, blocks of 256 in sub-blocks of 16: d * sc * (q - 32).
//   plane 0  32 words a block, 4 for each 32 elements: the low bits of element 4 w + n in the low
//            half of byte n of word w, those of element 16 + 4 w + n in the high half
//   plane 1  16 words a block, the upper 2 of element 16 w + n in bits 2 n, 2 n + 1 of word w
//   plane 2  4 words a block: the scale sc of sub-block 4 w + n in byte n of word w, signed
//   plane 3  a half a block: d
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

// d * sc of a sub-block by its index.
fn sub_scale(sub: u32) -> f32 {
    let block = sub / 16u;
    let pair = unpack2x16float(weight_words[params.plane3 + (block / 2u)]);
    let scales = weight_words[params.plane2 + (sub / 4u)];
    let scale = bitcast<i32>(scales << (24u - ((sub & 3u) * 8u))) >> 24u;
    return select(pair.x, pair.y, (block & 1u) != 0u) * f32(scale);
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let word = weight_words[((i / 8u) * 4u) + (i & 3u)] >> (i & 4u);
    let low = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    let pairs = weight_words[params.plane1 + (i / 4u)] >> ((i & 3u) * 8u);
    let high = (vec4<u32>(pairs) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
    return (vec4<f32>(low | (high << vec4<u32>(4u))) - 32.0) * sub_scale(i / 4u);
}
