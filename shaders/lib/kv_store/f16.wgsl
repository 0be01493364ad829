// Stores keys and values as f16: four values in two words. lib/kv/f16.wgsl reads them. Beyond the
// f16 range packing is undefined, so values are clamped to +-65504. Clamping may turn a NaN into a
// number, and later rows would read it without a sign that something broke: a NaN stays one.
alias Packed4 = vec2<u32>;
// Vectors of four that a lane stores at once.
const STORED = 1u;

fn pack4(v: vec4<f32>) -> Packed4 {
    let c = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    let bits = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    let kept = select(c, v, bits > vec4<u32>(0x7f800000u));
    return vec2<u32>(pack2x16float(kept.xy), pack2x16float(kept.zw));
}

// Vector i of head `to` of the pool, a head being `width` vectors.
fn store(h: Head, to: u32, i: u32, width: u32) {
    let packed = pack4(head4(h, i));
    if (h.turns) { keys[(to * width) + i] = packed; } else { values[(to * width) + i] = packed; }
}
