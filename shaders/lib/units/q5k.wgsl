// A unit: a sub-block of 32 columns of four rows, by the sub-block's index.
#import nibbles
const UNIT4 = 8u;
struct Unit {
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>,
    fifths: vec4<u32>, scale: vec4<f32>, minimum: vec4<f32>,
}

fn load_unit(at: vec4<u32>) -> Unit {
    let s0 = sub_block(at.x);
    let s1 = sub_block(at.y);
    let s2 = sub_block(at.z);
    let s3 = sub_block(at.w);
    let fifth = at + vec4<u32>(params.plane1);
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        vec4<u32>(
            weight_words[fifth.x], weight_words[fifth.y],
            weight_words[fifth.z], weight_words[fifth.w]),
        vec4<f32>(s0.x, s1.x, s2.x, s3.x), vec4<f32>(s0.y, s1.y, s2.y, s3.y));
}

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
