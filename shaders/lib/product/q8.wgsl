// A unit of units/q8.wgsl with inputs in f32.
// A word of each row is four columns.
fn byte_products(r0: u32, r1: u32, r2: u32, r3: u32, v: vec4<f32>) -> vec4<f32> {
    let w = bitcast<vec4<i32>>(vec4<u32>(r0, r1, r2, r3));
    let shift = vec4<u32>(24u);
    return (vec4<f32>((w << shift) >> shift) * v.x)
        + (vec4<f32>((w << vec4<u32>(16u)) >> shift) * v.y)
        + (vec4<f32>((w << vec4<u32>(8u)) >> shift) * v.z)
        + (vec4<f32>(w >> shift) * v.w);
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    var p = byte_products(u.a0.x, u.a1.x, u.a2.x, u.a3.x, x.v0);
    p += byte_products(u.a0.y, u.a1.y, u.a2.y, u.a3.y, x.v1);
    p += byte_products(u.a0.z, u.a1.z, u.a2.z, u.a3.z, x.v2);
    p += byte_products(u.a0.w, u.a1.w, u.a2.w, u.a3.w, x.v3);
    p += byte_products(u.b0.x, u.b1.x, u.b2.x, u.b3.x, x.v4);
    p += byte_products(u.b0.y, u.b1.y, u.b2.y, u.b3.y, x.v5);
    p += byte_products(u.b0.z, u.b1.z, u.b2.z, u.b3.z, x.v6);
    p += byte_products(u.b0.w, u.b1.w, u.b2.w, u.b3.w, x.v7);
    return u.scale * p;
}
