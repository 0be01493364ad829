// A unit: a sub-block of 32 columns of four rows, by the sub-block's index.
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

#import product
