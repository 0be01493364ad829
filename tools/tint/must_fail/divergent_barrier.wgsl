// A barrier after a return that only some lanes take: naga accepts it, browsers do not.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
var<workgroup> part: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (id.x >= arrayLength(&x)) {
        return;
    }
    part[lane] = x[id.x];
    workgroupBarrier();
    x[id.x] = part[63u - lane];
}
