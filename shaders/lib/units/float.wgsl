// A unit: four columns of four rows, by the index of its first element / 4.
const UNIT4 = 1u;
struct Unit { r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32> }

fn load_unit(at: vec4<u32>) -> Unit {
    return Unit(weight4(at.x), weight4(at.y), weight4(at.z), weight4(at.w));
}

// The four rows' products with columns 4 x_at .. 4 x_at + 3 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let v = x4(x_at);
    return vec4<f32>(dot(u.r0, v), dot(u.r1, v), dot(u.r2, v), dot(u.r3, v));
}
