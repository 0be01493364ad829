// Sums and maxima over the lanes that share a row (import reduce). A lane is one invocation.
//   LANES                 lanes that share a row: all WG of the workgroup, or 1
//   Lane                  builtins of an invocation
//   lane_in_row(lane)     index of the lane among those of its row
//   row_in_group(lane)    index of the lane's row among those of the workgroup
//   reduce_sum4, reduce_max   the result for the row, returned in each of its lanes

#part reduce=tree
// A tree in workgroup memory. The order is fixed, so a result depends only on WG.
const LANES = WG;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return lane.index; }
fn row_in_group(lane: Lane) -> u32 { return 0u; }

var<workgroup> reduce_scratch: array<vec4<f32>, WG>;

fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> {
    reduce_scratch[lane.index] = value;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half = half / 2u) {
        if (lane.index < half) {
            reduce_scratch[lane.index] += reduce_scratch[lane.index + half];
        }
        workgroupBarrier();
    }
    let total = reduce_scratch[0];
    workgroupBarrier();
    return total;
}

fn reduce_max(value: f32, lane: Lane) -> f32 {
    reduce_scratch[lane.index].x = value;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half = half / 2u) {
        if (lane.index < half) {
            reduce_scratch[lane.index].x =
                max(reduce_scratch[lane.index].x, reduce_scratch[lane.index + half].x);
        }
        workgroupBarrier();
    }
    let total = reduce_scratch[0].x;
    workgroupBarrier();
    return total;
}

#part reduce=subgroup
// Subgroup operations within each subgroup, then a loop over the subgroups' results in workgroup
// memory. Correct for subgroups of 4 lanes or more.
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

#part reduce=serial
// Every lane owns whole rows, so nothing is shared and no barrier is needed: fastest on CPU drivers.
const LANES = 1u;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return 0u; }
fn row_in_group(lane: Lane) -> u32 { return lane.index; }
fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> { return value; }
fn reduce_max(value: f32, lane: Lane) -> f32 { return value; }

#part reduce=serial_subgroup
// As serial; lanes of a subgroup may also pass values to each other (input=broadcast).
const LANES = 1u;

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return 0u; }
fn row_in_group(lane: Lane) -> u32 { return lane.index; }
fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> { return value; }
fn reduce_max(value: f32, lane: Lane) -> f32 { return value; }
