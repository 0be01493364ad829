// A unit of units/q4.wgsl with inputs in f32.
#import nibbles
// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let p = nibble_products(u.r0, u.r1, u.r2, u.r3, x);
    return u.scale * (p.products - vec4<f32>(8.0 * p.x_sum));
}
