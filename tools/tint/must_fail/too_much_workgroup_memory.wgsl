// 16 KiB and 4 bytes of workgroup memory: only found when a pipeline is made.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
var<workgroup> part: array<f32, 4097>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    part[lane] = x[lane];
    workgroupBarrier();
    x[lane] = part[(x_index(lane))];
}

fn x_index(lane: u32) -> u32 {
    return 4096u - lane;
}
