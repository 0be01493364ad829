// in_proj_conv: y[r, c] = C * (sum_j taps[c, j] * Bx[p - (L - 1) + j, c]),  Bx[p, c] = B * x at the row's
//               position p, zero before position 0, with B, C, x = rows c, H + c, 2 H + c of W norm(x)
//
//   weight  [3 H, cols]           in_proj, in the format of import weights
//   x       [n_rows, cols]        f32   residual stream; RMSNorm is applied to it (import norm)
//   taps    [H, L]                f32   tap L - 1 is the current token
//   ring    [columns, H]          f32   a slot has RING columns, p % RING holds Bx of position p. Behind those of
//                                       all slots are columns of snapshots: a row that has one writes its Bx there
//                                       too
//   y       [n_rows, H]           f32
//
// The gated short convolution of single rows: in_proj and short_conv in one dispatch. Each row must be the only one of
// its sequence. LANES lanes share four channels and read the three groups of rows that these need; then one lane
// reads the ring, computes y and writes the ring's column. No other lane touches these channels.
// Products and sums have the order of matvec and short_conv, so y is the same.
// Grid: rows, groups of four channels. H % 4 == 0. f32.
// The product has the twin reference/matvec.rs.
// Source: transformers Lfm2MoeShortConv (slow_forward). Twin: reference/short_conv.rs
#import reduce
#import weights
#import norm
#import product
#import lora

struct Params {
    // H.
    channels: u32,
    cols: u32,
    plane1: u32,
    plane2: u32,
    plane3: u32,
    eps: f32,
    // Sizes of import lora.
    lora_rank4: u32,
    lora_slot4: u32,
    lora_b4: u32,
    lora_v4: u32,
    lora_rows: u32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> taps: array<f32>;
@group(1) @binding(N) var<storage, read_write> ring: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> y: array<vec4<f32>>;

// Tap j of four channels.
fn taps4(channel: u32, j: u32) -> vec4<f32> {
    let at = (channel * L) + j;
    return vec4<f32>(taps[at], taps[at + L], taps[at + (2u * L)], taps[at + (3u * L)]);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let row = group.x;
    if (row >= n_rows()) { return; }
    let quad = (group.y * (WG / LANES)) + row_in_group(lane);
    let quads = params.channels / 4u;
    // Lanes beyond the end repeat the last channels, and their results are dropped.
    let channel = min(quad, quads - 1u) * 4u;
    let units = bound(params.cols / (4u * UNIT4));
    let rows = vec4<u32>(channel, channel + 1u, channel + 2u, channel + 3u);
    let b_at = rows * units;
    let c_at = (rows + vec4<u32>(params.channels)) * units;
    let x_at = (rows + vec4<u32>(2u * params.channels)) * units;
    let row_at = row * (params.cols / 4u);
    var b = vec4<f32>(0.0);
    var c = vec4<f32>(0.0);
    var v = vec4<f32>(0.0);
    var squares = 0.0;
    for (var k = lane_in_row(lane); k < units; k += LANES) {
        let b_unit = load_unit(b_at + vec4<u32>(k));
        let c_unit = load_unit(c_at + vec4<u32>(k));
        let x_unit = load_unit(x_at + vec4<u32>(k));
        let p = unit_product(unpacked(b_unit, 0u), row_at, k * UNIT_SLICES, lane);
        b += p.y;
        squares += p.squares;
        c += unit_product(unpacked(c_unit, 0u), row_at, k * UNIT_SLICES, lane).y;
        v += unit_product(unpacked(x_unit, 0u), row_at, k * UNIT_SLICES, lane).y;
        // Not a loop over the slices: llvmpipe's compiler does not remove a loop of one round. It took a third more time.
        if (UNIT_SLICES == 2u) {
            let p = unit_product(unpacked(b_unit, 1u), row_at, (k * 2u) + 1u, lane);
            b += p.y;
            squares += p.squares;
            c += unit_product(unpacked(c_unit, 1u), row_at, (k * 2u) + 1u, lane).y;
            v += unit_product(unpacked(x_unit, 1u), row_at, (k * 2u) + 1u, lane).y;
        }
    }
    let c_rows = rows + vec4<u32>(params.channels);
    let x_rows = c_rows + vec4<u32>(params.channels);
    b = add_lora(b, row, row, rows, lane_in_row(lane), LANES);
    c = add_lora(c, row, row, c_rows, lane_in_row(lane), LANES);
    v = add_lora(v, row, row, x_rows, lane_in_row(lane), LANES);
    let factor = norm_factors(row_squares(vec4<f32>(squares), lane)).x;
    b = reduce_sum4(b, lane) * factor;
    c = reduce_sum4(c, lane) * factor;
    v = reduce_sum4(v, lane) * factor;
    if (lane_in_row(lane) != 0u || quad >= quads) { return; }
    let position = row_position(row);
    let ring_at = (seq_slot(row_seq(row)) * RING * quads) + quad;
    let gated = b * v;
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < L - 1u; j++) {
        let back = L - 1u - j;
        if (position >= back) {
            sum += taps4(channel, j) * ring[ring_at + (((position - back) % RING) * quads)];
        }
    }
    sum += taps4(channel, L - 1u) * gated;
    y[(row * quads) + quad] = c * sum;
    ring[ring_at + ((position % RING) * quads)] = gated;
    let kept = row_snapshot(row);
    if (kept != NO_SNAPSHOT) { ring[(kept * quads) + quad] = gated; }
}
