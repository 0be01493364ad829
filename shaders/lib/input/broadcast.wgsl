// Inputs of a product as f32, [inputs, cols], where all lanes of a subgroup want the same ones:
// each lane loads a part and hands it to the others. For reduce = serial on CPU drivers, which
// load for one lane after another: one load instead of eight. Subgroups of 8 lanes or more.
@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

// Columns 4 i .. 4 i + 3.
fn x4(i: u32) -> vec4<f32> { return x[i]; }

// 32 columns from 4 i on.
struct Inputs {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}

fn load_inputs(i: u32, lane: Lane) -> Inputs {
    let part = x[i + (lane.subgroup_lane & 7u)];
    return Inputs(
        subgroupBroadcast(part, 0u), subgroupBroadcast(part, 1u),
        subgroupBroadcast(part, 2u), subgroupBroadcast(part, 3u),
        subgroupBroadcast(part, 4u), subgroupBroadcast(part, 5u),
        subgroupBroadcast(part, 6u), subgroupBroadcast(part, 7u));
}
