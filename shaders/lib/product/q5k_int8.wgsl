// A unit of units/q5k.wgsl with inputs in 8 bits: exact in integers.
#import nibbles
// Four bits from bit `first` on as four bytes of 0 or 1.
fn spread(bits: u32, first: u32) -> u32 {
    let b = bits >> first;
    return (b & 1u) | ((b & 2u) << 7u) | ((b & 4u) << 14u) | ((b & 8u) << 21u);
}

fn fifth_dot(bits: u32, x: Inputs) -> i32 {
    return dot4I8Packed(spread(bits, 0u), x.a.x) + dot4I8Packed(spread(bits, 4u), x.a.y)
        + dot4I8Packed(spread(bits, 8u), x.a.z) + dot4I8Packed(spread(bits, 12u), x.a.w)
        + dot4I8Packed(spread(bits, 16u), x.b.x) + dot4I8Packed(spread(bits, 20u), x.b.y)
        + dot4I8Packed(spread(bits, 24u), x.b.z) + dot4I8Packed(spread(bits, 28u), x.b.w);
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let fifths = vec4<i32>(
        fifth_dot(u.fifths.x, x), fifth_dot(u.fifths.y, x),
        fifth_dot(u.fifths.z, x), fifth_dot(u.fifths.w, x));
    let dots = nibble_dots(u.r0, u.r1, u.r2, u.r3, x) + (16 * fifths);
    return x.scale * ((u.scale * vec4<f32>(dots)) - (u.minimum * f32(x.low_sum + x.high_sum)));
}
