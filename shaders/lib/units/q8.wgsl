// A unit: a block of 32 columns of four rows, by the block's index.
const UNIT4 = 8u;
struct Unit {
    a0: vec4<u32>, a1: vec4<u32>, a2: vec4<u32>, a3: vec4<u32>,
    b0: vec4<u32>, b1: vec4<u32>, b2: vec4<u32>, b3: vec4<u32>,
    scale: vec4<f32>,
}

fn load_unit(at: vec4<u32>) -> Unit {
    let i = at * 2u;
    return Unit(
        weight[i.x], weight[i.y], weight[i.z], weight[i.w],
        weight[i.x + 1u], weight[i.y + 1u], weight[i.z + 1u], weight[i.w + 1u],
        vec4<f32>(block_scale(at.x), block_scale(at.y), block_scale(at.z), block_scale(at.w)));
}

#import product
