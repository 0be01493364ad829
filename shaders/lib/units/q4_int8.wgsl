// A unit: a block of 32 columns of four rows, by the block's index; the
// products are exact in integers.
#import nibbles
const UNIT4 = 8u;
struct Unit { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, scale: vec4<f32> }

fn load_unit(at: vec4<u32>) -> Unit {
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        vec4<f32>(block_scale(at.x), block_scale(at.y), block_scale(at.z), block_scale(at.w)));
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let dots = nibble_dots(u.r0, u.r1, u.r2, u.r3, x) - vec4<i32>(8 * (x.low_sum + x.high_sum));
    return (u.scale * x.scale) * vec4<f32>(dots);
}
