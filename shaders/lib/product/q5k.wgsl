// A unit of units/q5k.wgsl with inputs in f32.
#import nibbles
// Products of bit `first` .. `first` + 3 of each row's word with four inputs.
fn four_bits(bits: vec4<u32>, first: u32, v: vec4<f32>) -> vec4<f32> {
    let b = bits >> vec4<u32>(first);
    let one = vec4<u32>(1u);
    return (vec4<f32>(b & one) * v.x) + (vec4<f32>((b >> vec4<u32>(1u)) & one) * v.y)
        + (vec4<f32>((b >> vec4<u32>(2u)) & one) * v.z)
        + (vec4<f32>((b >> vec4<u32>(3u)) & one) * v.w);
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let p = nibble_products(u.r0, u.r1, u.r2, u.r3, x);
    var fifths = vec4<f32>(0.0);
    fifths += four_bits(u.fifths, 0u, x.v0);
    fifths += four_bits(u.fifths, 4u, x.v1);
    fifths += four_bits(u.fifths, 8u, x.v2);
    fifths += four_bits(u.fifths, 12u, x.v3);
    fifths += four_bits(u.fifths, 16u, x.v4);
    fifths += four_bits(u.fifths, 20u, x.v5);
    fifths += four_bits(u.fifths, 24u, x.v6);
    fifths += four_bits(u.fifths, 28u, x.v7);
    return (u.scale * (p.products + (16.0 * fifths))) - (u.minimum * p.x_sum);
}
