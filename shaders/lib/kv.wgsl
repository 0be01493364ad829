// Formats of keys and values: a part that reads (import kv, in attention and flash_attention) and a
// part that writes (import kv_store, in qk_norm_rope_append) for each.
//   Packed4     four values of a head as stored
//   key4(i), value4(i)   values 4 i .. 4 i + 3 of the pool
//   STORED      vectors of four that a lane writes at once
//   store(h, to, i, width)   writes vectors i .. i + STORED - 1 of head h to head `to` of the pool;
//               a head has `width` vectors

#part kv=f32
alias Packed4 = vec4<f32>;
fn key4(i: u32) -> vec4<f32> { return keys[i]; }
fn value4(i: u32) -> vec4<f32> { return values[i]; }

#part kv_store=f32
alias Packed4 = vec4<f32>;
const STORED = 1u;

fn store(h: Head, to: u32, i: u32, width: u32) {
    let v = head4(h, i);
    if (h.turns) { keys[(to * width) + i] = v; } else { values[(to * width) + i] = v; }
}

#part kv=f16
// Four values in two words.
alias Packed4 = vec2<u32>;
fn unpack4(p: Packed4) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(p.x), unpack2x16float(p.y));
}
fn key4(i: u32) -> vec4<f32> { return unpack4(keys[i]); }
fn value4(i: u32) -> vec4<f32> { return unpack4(values[i]); }

#part kv_store=f16
// Packing is undefined beyond the range of f16, so values are clamped to +-65504. clamp may turn a
// NaN into a number, which would hide the defect from later rows, so a NaN is kept as it is.
alias Packed4 = vec2<u32>;
const STORED = 1u;

fn pack4(v: vec4<f32>) -> Packed4 {
    let c = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    let bits = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    let kept = select(c, v, bits > vec4<u32>(0x7f800000u));
    return vec2<u32>(pack2x16float(kept.xy), pack2x16float(kept.zw));
}

fn store(h: Head, to: u32, i: u32, width: u32) {
    let packed = pack4(head4(h, i));
    if (h.turns) { keys[(to * width) + i] = packed; } else { values[(to * width) + i] = packed; }
}

#part kv=q8
// 8-bit integers in blocks of 32 dimensions of a head: d * q.
//   plane 0  a word for four values, value n in byte n, signed
//   plane 1  from params.kv_scales on: d of two blocks of a head in a word, as halves. A head has its
//            own words; with an odd number of blocks, its last high half is unused
alias Packed4 = u32;

fn unscaled4(word: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u))
        >> vec4<u32>(24u));
}

// Index of the word with d of the block of values 4 i .. 4 i + 3.
fn scale_at(i: u32) -> u32 {
    return params.kv_scales + ((i / WIDTH) * ((WIDTH + 15u) / 16u)) + ((i % WIDTH) / 16u);
}

fn scale_of(i: u32, word: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, ((i % WIDTH) & 8u) != 0u);
}

fn key4(i: u32) -> vec4<f32> { return unscaled4(keys[i]) * scale_of(i, keys[scale_at(i)]); }
fn value4(i: u32) -> vec4<f32> { return unscaled4(values[i]) * scale_of(i, values[scale_at(i)]); }

#part kv_store=q8
// d is the block's largest magnitude / 127, at least the smallest normal half and at most the largest,
// so no driver's handling of other halves matters. In a block with a NaN d is NaN, hence every value.
alias Packed4 = u32;
// Two blocks, whose scales share a word.
const STORED = 16u;

fn put(is_key: bool, at: u32, word: u32) {
    if (is_key) { keys[at] = word; } else { values[at] = word; }
}

fn quantised4(v: vec4<f32>, d: f32) -> u32 {
    let q = vec4<i32>(round(clamp(v / d, vec4<f32>(-127.0), vec4<f32>(127.0))));
    let bytes = (bitcast<vec4<u32>>(q) & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
    return bytes.x | bytes.y | bytes.z | bytes.w;
}

// Writes vectors i .. i + 7 of a head to `at`; returns d as a half.
fn store_block(h: Head, i: u32, at: u32) -> u32 {
    var v: array<vec4<f32>, 8>;
    var most = vec4<f32>(0.0);
    var broken = false;
    for (var n = 0u; n < 8u; n++) {
        let u = head4(h, i + n);
        let nan = (bitcast<vec4<u32>>(u) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
        broken = broken || any(nan);
        v[n] = select(u, vec4<f32>(0.0), nan);
        most = max(most, abs(v[n]));
    }
    let largest = max(max(most.x, most.y), max(most.z, most.w));
    let half = pack2x16float(vec2<f32>(clamp(largest / 127.0, 6.103515625e-5, 65504.0), 0.0));
    let d = unpack2x16float(half).x;
    for (var n = 0u; n < 8u; n++) { put(h.turns, at + n, quantised4(v[n], d)); }
    return select(half & 0xffffu, 0x7e00u, broken);
}

fn store(h: Head, to: u32, i: u32, width: u32) {
    var scales = store_block(h, i, (to * width) + i);
    if (i + 8u < width) { scales |= store_block(h, i + 8u, (to * width) + i + 8u) << 16u; }
    put(h.turns, params.kv_scales + (to * ((width + 15u) / 16u)) + (i / 16u), scales);
}
