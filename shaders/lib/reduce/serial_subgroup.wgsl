// No sharing: every lane owns whole rows and needs no barrier, but lanes may hand values to each
// other. What CPU drivers with subgroups want.
const LANES = 1u;

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return 0u; }
fn row_in_group(lane: Lane) -> u32 { return lane.index; }
fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> { return value; }
fn reduce_max(value: f32, lane: Lane) -> f32 { return value; }
