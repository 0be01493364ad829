// A unit: two sub-blocks, 32 columns of four rows, by half the index of the first.
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

#import product
