// A unit of units/q6k.wgsl with inputs in 8 bits: exact in integers.
// Four pairs of bits from the lowest on as bits 4 and 5 of four bytes.
fn spread(pairs: u32) -> u32 {
    return ((pairs & 3u) << 4u) | ((pairs & 0xcu) << 10u) | ((pairs & 0x30u) << 16u)
        | ((pairs & 0xc0u) << 22u);
}

// 16 columns: a word's bytes hold their low bits in their low halves.
fn sixteen_dot(low: vec4<u32>, upper: u32, inputs: vec4<u32>) -> i32 {
    let nibbles = low & vec4<u32>(0x0f0f0f0fu);
    return dot4I8Packed(nibbles.x | spread(upper), inputs.x)
        + dot4I8Packed(nibbles.y | spread(upper >> 8u), inputs.y)
        + dot4I8Packed(nibbles.z | spread(upper >> 16u), inputs.z)
        + dot4I8Packed(nibbles.w | spread(upper >> 24u), inputs.w);
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let high = vec4<u32>(4u);
    let first = vec4<i32>(
        sixteen_dot(u.r0, u.upper0.x, x.a), sixteen_dot(u.r1, u.upper0.y, x.a),
        sixteen_dot(u.r2, u.upper0.z, x.a), sixteen_dot(u.r3, u.upper0.w, x.a));
    let second = vec4<i32>(
        sixteen_dot(u.r0 >> high, u.upper1.x, x.b), sixteen_dot(u.r1 >> high, u.upper1.y, x.b),
        sixteen_dot(u.r2 >> high, u.upper1.z, x.b), sixteen_dot(u.r3 >> high, u.upper1.w, x.b));
    return x.scale * ((u.scale0 * vec4<f32>(first - vec4<i32>(32 * x.low_sum)))
        + (u.scale1 * vec4<f32>(second - vec4<i32>(32 * x.high_sum))));
}
