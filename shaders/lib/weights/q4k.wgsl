// Weights as ggml's Q4_K, blocks of 256 in sub-blocks of 32: d * sc * q - m * mn.
//   plane 0  32 words a block, 4 for each 32 elements: element 4 w + n in the low half of byte n
//            of word w, element 16 + 4 w + n in the high half
//   plane 1  4 words a block: d and m as halves; the low 4 bits of eight scales sc; those of eight
//            minima mn; the upper 2 bits of the scales, then of the minima
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

// d * sc and m * mn of a sub-block by its index.
fn sub_block(sub: u32) -> vec2<f32> {
    let head = weight[(params.plane1 / 4u) + (sub / 8u)];
    let i = sub & 7u;
    let upper = vec2<u32>(head.w >> (2u * i), head.w >> (16u + (2u * i))) & vec2<u32>(3u);
    let lower = (head.yz >> vec2<u32>(4u * i)) & vec2<u32>(15u);
    return unpack2x16float(head.x) * vec2<f32>(lower | (upper << vec2<u32>(4u)));
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let word = weight_words[((i / 8u) * 4u) + (i & 3u)] >> (i & 4u);
    let q = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    let s = sub_block(i / 8u);
    return (vec4<f32>(q) * s.x) - s.y;
}
