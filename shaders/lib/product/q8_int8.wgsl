// A unit of units/q8.wgsl with inputs in 8 bits: exact in integers.
fn byte_dot(a: vec4<u32>, b: vec4<u32>, x: Inputs) -> i32 {
    return dot4I8Packed(a.x, x.a.x) + dot4I8Packed(a.y, x.a.y)
        + dot4I8Packed(a.z, x.a.z) + dot4I8Packed(a.w, x.a.w)
        + dot4I8Packed(b.x, x.b.x) + dot4I8Packed(b.y, x.b.y)
        + dot4I8Packed(b.z, x.b.z) + dot4I8Packed(b.w, x.b.w);
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let dots = vec4<i32>(
        byte_dot(u.a0, u.b0, x), byte_dot(u.a1, u.b1, x),
        byte_dot(u.a2, u.b2, x), byte_dot(u.a3, u.b3, x));
    return (u.scale * x.scale) * vec4<f32>(dots);
}
