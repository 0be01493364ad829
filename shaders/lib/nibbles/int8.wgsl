// Exact products of 32 unsigned 4-bit integers of four rows with 32 8-bit inputs, in integers.

// 16 bytes of a row: low halves are columns 0 .. 15, high halves columns 16 .. 31.
fn nibble_dot(w: vec4<u32>, x: Inputs) -> i32 {
    let low = w & vec4<u32>(0x0f0f0f0fu);
    let high = (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
    return dot4I8Packed(low.x, x.a.x) + dot4I8Packed(low.y, x.a.y)
        + dot4I8Packed(low.z, x.a.z) + dot4I8Packed(low.w, x.a.w)
        + dot4I8Packed(high.x, x.b.x) + dot4I8Packed(high.y, x.b.y)
        + dot4I8Packed(high.z, x.b.z) + dot4I8Packed(high.w, x.b.w);
}

fn nibble_dots(
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, x: Inputs
) -> vec4<i32> {
    return vec4<i32>(
        nibble_dot(r0, x), nibble_dot(r1, x), nibble_dot(r2, x), nibble_dot(r3, x));
}
