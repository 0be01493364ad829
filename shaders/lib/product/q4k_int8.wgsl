// A unit of units/q4k.wgsl with inputs in 8 bits: exact in integers.
#import nibbles
// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let dots = vec4<f32>(nibble_dots(u.r0, u.r1, u.r2, u.r3, x));
    return x.scale * ((u.scale * dots) - (u.minimum * f32(x.low_sum + x.high_sum)));
}
