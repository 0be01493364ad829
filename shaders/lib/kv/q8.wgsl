// Keys and values as 8-bit integers in blocks of 32 dimensions of a head: d * q.
//   plane 0  a word for four values, value n in byte n, signed
//   plane 1  from params.kv_scales on: d of two blocks of a head in a word, as halves. A head has
//            its own words: where its blocks are odd, the last high half means nothing
alias Packed4 = u32;

fn unscaled4(word: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u))
        >> vec4<u32>(24u));
}

// Where d of the block of values 4 i .. 4 i + 3 is.
fn scale_at(i: u32) -> u32 {
    return params.kv_scales + ((i / WIDTH) * ((WIDTH + 15u) / 16u)) + ((i % WIDTH) / 16u);
}

fn scale_of(i: u32, word: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, ((i % WIDTH) & 8u) != 0u);
}

fn key4(i: u32) -> vec4<f32> { return unscaled4(keys[i]) * scale_of(i, keys[scale_at(i)]); }
fn value4(i: u32) -> vec4<f32> { return unscaled4(values[i]) * scale_of(i, values[scale_at(i)]); }
