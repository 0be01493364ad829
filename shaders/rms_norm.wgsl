// rms_norm: h[i, :] = scale * x[r, :] / sqrt(mean(x[r, :]^2) + eps)
//
//   x       [n_rows, hidden_size]  f32   residual stream
//   scale   [hidden_size]          f32   weight of the norm as stored, not 1 + weight
//   h       [n_items, hidden_size] f32
//
// Item i is row i, or the i-th row whose logits are wanted (params.only_logit_rows).
// A workgroup of WG lanes computes one row, or with reduce=serial each lane one row.
// hidden_size % 4 == 0.
// f32 throughout; relative error of a few ulp from the order of the sum.
// Source: transformers Lfm2MoeRMSNorm. Twin: reference/rms_norm.rs
#import reduce

struct Params {
    hidden_size: u32,
    only_logit_rows: u32,
    eps: f32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> scale: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> h: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let item = (group.x * (WG / LANES)) + row_in_group(lane);
    let n = select(n_rows(), n_logit_rows(), params.only_logit_rows != 0u);
    if (item >= n) { return; }
    var row = item;
    if (params.only_logit_rows != 0u) { row = logit_row(item); }
    let width = bound(params.hidden_size / 4u);
    var squares = vec4<f32>(0.0);
    for (var i = lane_in_row(lane); i < width; i += LANES) {
        let v = x[(row * width) + i];
        squares += v * v;
    }
    let sum = reduce_sum4(squares, lane);
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(params.hidden_size);
    let factor = 1.0 / sqrt(mean + params.eps);
    for (var i = lane_in_row(lane); i < width; i += LANES) {
        h[(item * width) + i] = scale[i] * (x[(row * width) + i] * factor);
    }
}
