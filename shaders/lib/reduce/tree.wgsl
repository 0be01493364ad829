// Sums and maxima over a workgroup by a tree in workgroup memory. LANES = WG lanes share a row.
const LANES = WG;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return lane.index; }
fn row_in_group(lane: Lane) -> u32 { return 0u; }

var<workgroup> reduce_scratch: array<vec4<f32>, WG>;

// The sum over the workgroup, in every lane. Fixed order: the result depends on WG alone.
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
