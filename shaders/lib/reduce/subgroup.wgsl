// Sums and maxima over a workgroup: within each subgroup by subgroup operations, then over the
// subgroups' results in workgroup memory. Right for any subgroup size from 4 up.
const LANES = WG;

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
    @builtin(subgroup_size) subgroup_size: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return lane.index; }
fn row_in_group(lane: Lane) -> u32 { return 0u; }

var<workgroup> reduce_scratch: array<vec4<f32>, WG / 4u>;

fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> {
    let part = subgroupAdd(value);
    if (lane.subgroup_lane == 0u) {
        reduce_scratch[lane.index / lane.subgroup_size] = part;
    }
    workgroupBarrier();
    var total = vec4<f32>(0.0);
    let parts = (WG + lane.subgroup_size - 1u) / lane.subgroup_size;
    for (var i = 0u; i < parts; i++) {
        total += reduce_scratch[i];
    }
    workgroupBarrier();
    return total;
}

fn reduce_max(value: f32, lane: Lane) -> f32 {
    let part = subgroupMax(value);
    if (lane.subgroup_lane == 0u) {
        reduce_scratch[lane.index / lane.subgroup_size].x = part;
    }
    workgroupBarrier();
    var total = LOWEST;
    let parts = (WG + lane.subgroup_size - 1u) / lane.subgroup_size;
    for (var i = 0u; i < parts; i++) {
        total = max(total, reduce_scratch[i].x);
    }
    workgroupBarrier();
    return total;
}
