// A unit of units/q6k.wgsl with inputs in f32.
// Products of four columns: their low bits are in the low halves of the bytes of `low`, their upper
// ones in the lowest byte of `upper`.
fn four_columns(low: vec4<u32>, upper: vec4<u32>, v: vec4<f32>) -> vec4<f32> {
    let nibble = vec4<u32>(15u);
    let pair = vec4<u32>(0x30u);
    let q0 = (low & nibble) | ((upper << vec4<u32>(4u)) & pair);
    let q1 = ((low >> vec4<u32>(8u)) & nibble) | ((upper << vec4<u32>(2u)) & pair);
    let q2 = ((low >> vec4<u32>(16u)) & nibble) | (upper & pair);
    let q3 = ((low >> vec4<u32>(24u)) & nibble) | ((upper >> vec4<u32>(2u)) & pair);
    return ((vec4<f32>(q0) - 32.0) * v.x) + ((vec4<f32>(q1) - 32.0) * v.y)
        + ((vec4<f32>(q2) - 32.0) * v.z) + ((vec4<f32>(q3) - 32.0) * v.w);
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let w0 = vec4<u32>(u.r0.x, u.r1.x, u.r2.x, u.r3.x);
    let w1 = vec4<u32>(u.r0.y, u.r1.y, u.r2.y, u.r3.y);
    let w2 = vec4<u32>(u.r0.z, u.r1.z, u.r2.z, u.r3.z);
    let w3 = vec4<u32>(u.r0.w, u.r1.w, u.r2.w, u.r3.w);
    let high = vec4<u32>(4u);
    let byte = vec4<u32>(8u);
    var first = four_columns(w0, u.upper0, x.v0);
    first += four_columns(w1, u.upper0 >> byte, x.v1);
    first += four_columns(w2, u.upper0 >> vec4<u32>(16u), x.v2);
    first += four_columns(w3, u.upper0 >> vec4<u32>(24u), x.v3);
    var second = four_columns(w0 >> high, u.upper1, x.v4);
    second += four_columns(w1 >> high, u.upper1 >> byte, x.v5);
    second += four_columns(w2 >> high, u.upper1 >> vec4<u32>(16u), x.v6);
    second += four_columns(w3 >> high, u.upper1 >> vec4<u32>(24u), x.v7);
    return (u.scale0 * first) + (u.scale1 * second);
}
