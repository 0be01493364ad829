// A unit: two sub-blocks, 32 columns of four rows, by half the index of the
// first; the products are exact in integers.
const UNIT4 = 8u;
struct Unit {
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>,
    upper0: vec4<u32>, upper1: vec4<u32>, scale0: vec4<f32>, scale1: vec4<f32>,
}

fn upper_bits(at: vec4<u32>) -> vec4<u32> {
    let i = at + vec4<u32>(params.plane1);
    return vec4<u32>(
        weight_words[i.x], weight_words[i.y], weight_words[i.z], weight_words[i.w]);
}

fn sub_scales(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(sub_scale(at.x), sub_scale(at.y), sub_scale(at.z), sub_scale(at.w));
}

fn load_unit(at: vec4<u32>) -> Unit {
    let sub = at * 2u;
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        upper_bits(sub), upper_bits(sub + vec4<u32>(1u)),
        sub_scales(sub), sub_scales(sub + vec4<u32>(1u)));
}

// Four pairs of bits from the lowest on as bits 4 and 5 of four bytes.
fn spread(pairs: u32) -> u32 {
    return ((pairs & 3u) << 4u) | ((pairs & 0xcu) << 10u) | ((pairs & 0x30u) << 16u)
        | ((pairs & 0xc0u) << 22u);
}

// 16 columns: a word's bytes hold their low bits in their low halves.
fn sixteen_dot(low: vec4<u32>, upper: u32, inputs: vec4<u32>) -> i32 {
    let nibbles = low & vec4<u32>(0x0f0f0f0fu);
    return dot4I8Packed(nibbles.x | spread(upper), inputs.x)
        + dot4I8Packed(nibbles.y | spread(upper >> 8u), inputs.y)
        + dot4I8Packed(nibbles.z | spread(upper >> 16u), inputs.z)
        + dot4I8Packed(nibbles.w | spread(upper >> 24u), inputs.w);
}

// The four rows' products with columns 4 x_at .. 4 x_at + 31 of the inputs.
fn unit_product(u: Unit, x_at: u32, lane: Lane) -> vec4<f32> {
    let x = load_inputs(x_at, lane);
    let high = vec4<u32>(4u);
    let first = vec4<i32>(
        sixteen_dot(u.r0, u.upper0.x, x.a), sixteen_dot(u.r1, u.upper0.y, x.a),
        sixteen_dot(u.r2, u.upper0.z, x.a), sixteen_dot(u.r3, u.upper0.w, x.a));
    let second = vec4<i32>(
        sixteen_dot(u.r0 >> high, u.upper1.x, x.b), sixteen_dot(u.r1 >> high, u.upper1.y, x.b),
        sixteen_dot(u.r2 >> high, u.upper1.z, x.b), sixteen_dot(u.r3 >> high, u.upper1.w, x.b));
    return x.scale * ((u.scale0 * vec4<f32>(first - vec4<i32>(32 * x.low_sum)))
        + (u.scale1 * vec4<f32>(second - vec4<i32>(32 * x.high_sum))));
}
