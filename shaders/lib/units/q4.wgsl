// A unit: a block of 32 columns of four rows, by the block's index.
const UNIT4 = 8u;
struct Unit { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, scale: vec4<f32> }

fn load_unit(at: vec4<u32>) -> Unit {
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        vec4<f32>(block_scale(at.x), block_scale(at.y), block_scale(at.z), block_scale(at.w)));
}

#import product
