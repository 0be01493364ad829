// moe_combine: x[r, :] += sum_j gates[r, j] * y[r * top_k + j, :]
//
//   y      [n_rows * top_k, hidden_size]  f32   outputs of the experts
//   gates  [n_rows, top_k]                f32
//   x      [n_rows, hidden_size]          f32   residual stream
//
// A lane adds the experts of four columns of a row, in the router's order.
// Grid: ceil(hidden_size / 4 / WG), rows in y. f32.
// Source: transformers Lfm2MoeExperts.forward (index_add_). Twin: reference/moe_combine.rs

struct Params {
    hidden_size: u32,
    top_k: u32,
}

@group(1) @binding(N) var<storage, read> y: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> gates: array<f32>;
@group(1) @binding(N) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let width = params.hidden_size / 4u;
    let i = (group.x * WG) + lane;
    if (row >= n_rows() || i >= width) { return; }
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < bound(params.top_k); j++) {
        let item = (row * params.top_k) + j;
        sum += gates[item] * y[(item * width) + i];
    }
    x[(row * width) + i] += sum;
}
