// attention_combine: o[r, head, :] = sum_i exp(m_i - m) o_i / sum_i exp(m_i - m) l_i, m = max_i m_i
//
//   partial [splits, n_heads][4 + head_dim]  f32   m_i, l_i, 0, 0, then o_i: output of attention and flash_attention
//   o       [n_rows, n_heads, head_dim]      f32
//
// A workgroup joins the splits of a head. Its lanes form parts of head_dim / 4 lanes, each lane with
// four dimensions. A part joins every PARTS-th split, in order, with a running maximum; then the
// parts are joined, in order.
// Grid: n_heads, rows, and 1 in z; 0 if no context of the pass has more than one split. Rows whose
// context is one split return at once. f32.
// Source: flash decoding, https://pytorch.org/blog/flash-decoding. Twin: reference/attention.rs

struct Params {
    n_heads: u32,
    head_dim: u32,
}

@group(1) @binding(N) var<storage, read> partial_in: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> o: array<vec4<f32>>;

var<workgroup> highs: array<f32, WG>;
var<workgroup> totals: array<f32, WG>;
var<workgroup> sums: array<vec4<f32>, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let split = row_split(row);
    let context = row_position(row) + 1u;
    // The result of a context with one split is complete.
    if (split >= context) { return; }
    let splits = (context + split - 1u) / split;
    let width = bound(params.head_dim / 4u);
    let parts = WG / width;
    let part = lane / width;
    let d = lane % width;
    var high = LOWEST;
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    if (part < parts) {
        for (var s = part; s < splits; s += parts) {
            let at = partial_row(row, s, group.x, params.n_heads) * (width + 1u);
            let own = partial_in[at];
            let v = partial_in[at + 1u + d];
            let top = max(high, own.x);
            let rescale = exp(high - top);
            let factor = exp(own.x - top);
            high = top;
            total = (total * rescale) + (factor * own.y);
            sum = (sum * rescale) + (factor * v);
        }
    }
    highs[lane] = high;
    workgroupBarrier();
    var top = LOWEST;
    for (var p = 0u; p < parts; p++) { top = max(top, highs[p * width]); }
    let factor = exp(high - top);
    totals[lane] = total * factor;
    sums[lane] = sum * factor;
    workgroupBarrier();
    if (lane < width) {
        total = 0.0;
        sum = vec4<f32>(0.0);
        for (var p = 0u; p < parts; p++) {
            total += totals[p * width];
            sum += sums[(p * width) + lane];
        }
        o[(((row * params.n_heads) + group.x) * width) + lane] = sum / total;
    }
}
