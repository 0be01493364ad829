// Weights as 8-bit integers in blocks of 32: d * q.
//   plane 0  8 words a block, element 4 w + n in byte n of word w, signed
//   plane 1  a half a block: d
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

fn block_scale(block: u32) -> f32 {
    let pair = unpack2x16float(weight_words[params.plane1 + (block / 2u)]);
    return select(pair.x, pair.y, (block & 1u) != 0u);
}

// The four signed bytes of a word.
fn bytes4(word: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u))
        >> vec4<u32>(24u));
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> { return bytes4(weight_words[i]) * block_scale(i / 8u); }
