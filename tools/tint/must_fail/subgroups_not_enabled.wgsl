// A subgroup operation without `enable subgroups;`: naga wants it so, browsers do not.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    x[lane] = subgroupAdd(x[lane]);
}
