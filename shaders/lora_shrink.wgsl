// lora_shrink: v[s, r] = scale * sum_k A[slot, expert, r, k] * x[input, k], for the products of rows with an adapter
//
//   x     [inputs, cols]   f32; with import norm=rms, this kernel multiplies x by the norm's weight. The product with
//                          W and B applies the norm's factor 1 / sqrt(mean(x^2) + eps) to its sum
//   lora                   the factors A and B of one matrix for the adapters in all slots, then the results v
//                          (lib/linear.wgsl, lora=added). This kernel reads A and writes v, so one binding has both
//
// The first half of a LoRA adapter's product scale B (A x), Hu et al. 2021, arXiv:2106.09685. The kernel of the product
// with the matrix W adds the second half, B v (import lora). Product s = row * top_k + j uses the row's j-th expert;
// without experts, top_k is 1 and s = row. The product reads row s of x if params.own_rows is 1, else row s / top_k. The
// row's sequence has the slot and the scale. Rows without an adapter are left out. Import of_expert:
//   none     the matrix has no experts
//   chosen   a pass of one row, which chooses its experts from the router's logits
//   listed   experts as route has written them
// LANES lanes share four ranks.
// Grid: rows, groups of four ranks, products of a row. R % 4 == 0, cols % 4 == 0.
// f32, |error| <= ~ (cols / LANES) ulp of sum |A x|.
// Source: PEFT 0.21 peft/tuners/lora/layer.py, Linear.forward. Twin: reference/lora.rs
#import reduce
#import norm
#import of_expert

struct Params {
    // R / 4.
    rank4: u32,
    // vec4s of a slot, and from the first slot to v.
    slot4: u32,
    v4: u32,
    cols: u32,
    top_k: u32,
    own_rows: u32,
    // Factor of the gates (of_expert=chosen); not used.
    routed_scaling: f32,
    // Added to the mean square (norm=rms); not used.
    eps: f32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> lora: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let row = group.x;
    if (row >= n_rows()) { return; }
    let s = (row * params.top_k) + group.z;
    let slot = row_lora(row);
    if (slot == NO_LORA) { return; }
    let expert = expert_of(s, row, lane.index);
    let quad = (group.y * (WG / LANES)) + row_in_group(lane);
    let width = bound(params.cols / 4u);
    let input_at = select(row, s, params.own_rows != 0u) * width;
    // Lanes beyond the end repeat the last ranks, and their results are dropped.
    let rank = min(quad, params.rank4 - 1u) * 4u;
    let a = (slot * params.slot4) + (((expert * params.rank4 * 4u) + rank) * width);
    var sum = vec4<f32>(0.0);
    for (var k = lane_in_row(lane); k < width; k += LANES) {
        let v = normed(x[input_at + k], k);
        sum += vec4<f32>(
            dot(lora[a + k], v), dot(lora[a + width + k], v),
            dot(lora[a + (2u * width) + k], v), dot(lora[a + (3u * width) + k], v));
    }
    sum = reduce_sum4(sum, lane);
    if (lane_in_row(lane) == 0u && quad < params.rank4) {
        lora[params.v4 + (s * params.rank4) + quad] = sum * row_lora_scale(row);
    }
}
