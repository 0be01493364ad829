// attention_combine: o[r, head, :] = sum_i exp(m_i - m) o_i / sum_i exp(m_i - m) l_i, m = max_i m_i
//
//   partial [n_rows, n_heads, max_splits][4 + head_dim]  f32   output of attention
//   o       [n_rows, n_heads, head_dim]                  f32
//
// A lane joins the splits of four dimensions of a head, in order.
// Grid: ceil(n_heads * head_dim / 4 / WG), rows in y. f32.
// Source: flash decoding, https://pytorch.org/blog/flash-decoding. Twin: reference/attention.rs

struct Params {
    n_heads: u32,
    head_dim: u32,
    max_splits: u32,
}

@group(1) @binding(N) var<storage, read> partial_in: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> o: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let width = params.head_dim / 4u;
    let i = (group.x * WG) + lane;
    if (row >= n_rows() || i >= params.n_heads * width) { return; }
    let head = i / width;
    let d = i % width;
    let splits = (row_position(row) + SPLIT) / SPLIT;
    let stride = width + 1u;
    let start = ((row * params.n_heads) + head) * params.max_splits * stride;
    var high = LOWEST;
    for (var s = 0u; s < splits; s++) { high = max(high, partial_in[start + (s * stride)].x); }
    var sum = 0.0;
    var joined = vec4<f32>(0.0);
    for (var s = 0u; s < splits; s++) {
        let at = start + (s * stride);
        let factor = exp(partial_in[at].x - high);
        sum += factor * partial_in[at].y;
        joined += factor * partial_in[at + 1u + d];
    }
    o[(((row * params.n_heads) + head) * width) + d] = joined / sum;
}
