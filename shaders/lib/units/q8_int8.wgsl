// A unit: a block of 32 columns of four rows, by the block's index; the
// products are exact in integers.
const UNIT4 = 8u;
struct Unit {
    a0: vec4<u32>, a1: vec4<u32>, a2: vec4<u32>, a3: vec4<u32>,
    b0: vec4<u32>, b1: vec4<u32>, b2: vec4<u32>, b3: vec4<u32>,
    scale: vec4<f32>,
}

fn load_unit(at: vec4<u32>) -> Unit {
    let i = at * 2u;
    return Unit(
        weight[i.x], weight[i.y], weight[i.z], weight[i.w],
        weight[i.x + 1u], weight[i.y + 1u], weight[i.z + 1u], weight[i.w + 1u],
        vec4<f32>(block_scale(at.x), block_scale(at.y), block_scale(at.z), block_scale(at.w)));
}

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
