// short_conv: y[t, c] = C[t, c] * (sum_j taps[c, j] * Bx[p - (L - 1) + j, c] + bias[c]),
//             Bx[p, c] = B[t, c] * x[t, c] at the row's position p, zero before position 0
//
//   bcx    [n_rows, 3 * hidden_size]      f32   output of in_proj: B, C, x
//   taps   [hidden_size, L]               f32   tap L - 1 is the current token
//   ring   [columns, hidden_size]         f32   a slot has RING columns, p % RING holds Bx of position p. Behind
//                                               those of all slots are columns of snapshots: a row that has one
//                                               writes its Bx there too
//   y      [n_rows, hidden_size]          f32
//
// A lane owns one channel of one sequence: it reads the ring, computes y for the sequence's rows in
// order, then writes the last RING values of Bx to the ring. The same lane reads and writes, so chunks
// may have any length, and going back up to RING - (L - 1) positions needs no work.
// Long chunks are cut into blocks of BLOCK rows, one for each workgroup. Only the first block uses the
// ring: it also writes the values of later blocks' rows, which it computes from bcx.
// Grid: ceil(hidden_size / WG), blocks of the longest sequence in y, sequences in z. f32; fixed order over the taps.
// Source: transformers Lfm2MoeShortConv (slow_forward). Twin: reference/short_conv.rs
#import bias

struct Params {
    hidden_size: u32,
    // Read by bias=row: this kernel has one part with all channels.
    rows: u32,
    first_row: u32,
}

@group(1) @binding(N) var<storage, read> bcx: array<f32>;
@group(1) @binding(N) var<storage, read> taps: array<f32>;
@group(1) @binding(N) var<storage, read_write> ring: array<f32>;
@group(1) @binding(N) var<storage, read_write> y: array<f32>;

fn gated(row: u32, channel: u32) -> f32 {
    let at = (row * 3u * params.hidden_size) + channel;
    return bcx[at] * bcx[at + (2u * params.hidden_size)];
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let seq = group.z;
    if (seq >= n_seqs()) { return; }
    let channel = (group.x * WG) + lane;
    let first_row = seq_first_row(seq);
    let count = seq_n_rows(seq);
    let begin = group.y * BLOCK;
    if (begin >= count || channel >= params.hidden_size) { return; }
    let position = row_position(first_row);
    let ring_at = (seq_slot(seq) * RING * params.hidden_size) + channel;

    // window[j] = Bx of the j-th of the L positions that end at the current one.
    var window: array<f32, L>;
    for (var j = 0u; j < L; j++) { window[j] = 0.0; }
    for (var j = 1u; j < L; j++) {
        // Position of window[j] before the first step shifts it to j - 1.
        let back = L - j;
        if (begin >= back) {
            window[j] = gated(first_row + begin - back, channel);
        } else if (position + begin >= back) {
            let p = position + begin - back;
            window[j] = ring[ring_at + ((p % RING) * params.hidden_size)];
        }
    }
    let b = bias4(channel).x;
    let end = min(begin + BLOCK, count);
    for (var t = begin; t < end; t++) {
        for (var j = 1u; j < L; j++) { window[j - 1u] = window[j]; }
        let row = first_row + t;
        window[L - 1u] = gated(row, channel);
        let kept = row_snapshot(row);
        if (kept != NO_SNAPSHOT) { ring[(kept * params.hidden_size) + channel] = window[L - 1u]; }
        var sum = 0.0;
        for (var j = 0u; j < L; j++) { sum += taps[(channel * L) + j] * window[j]; }
        let gate = bcx[(row * 3u * params.hidden_size) + params.hidden_size + channel];
        y[(row * params.hidden_size) + channel] = gate * (sum + b);
    }
    if (begin == 0u) {
        let kept = min(count, RING);
        for (var t = count - kept; t < count; t++) {
            let column = (position + t) % RING;
            ring[ring_at + (column * params.hidden_size)] = gated(first_row + t, channel);
        }
    }
}
