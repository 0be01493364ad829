// Stores keys and values as 8-bit integers in blocks of 32: d * q. lib/kv/q8.wgsl reads them and
// has the layout. d is the block's largest size / 127, at least the least normal half and at most
// the largest, so that no driver's way with others matters. A block with a NaN is NaN as a whole:
// d is.
alias Packed4 = u32;
// Vectors of four that a lane stores at once: two blocks, whose scales share a word.
const STORED = 16u;

fn put(is_key: bool, at: u32, word: u32) {
    if (is_key) { keys[at] = word; } else { values[at] = word; }
}

fn quantised4(v: vec4<f32>, d: f32) -> u32 {
    let q = vec4<i32>(round(clamp(v / d, vec4<f32>(-127.0), vec4<f32>(127.0))));
    let bytes = (bitcast<vec4<u32>>(q) & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
    return bytes.x | bytes.y | bytes.z | bytes.w;
}

// Vectors i .. i + 7 of a head go to `at`; answers with d as a half.
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

// Vectors i .. i + 15 of head `to` of the pool, a head being `width` vectors.
fn store(h: Head, to: u32, i: u32, width: u32) {
    var scales = store_block(h, i, (to * width) + i);
    if (i + 8u < width) { scales |= store_block(h, i + 8u, (to * width) + i + 8u) << 16u; }
    put(h.turns, params.kv_scales + (to * ((width + 15u) / 16u)) + (i / 16u), scales);
}
