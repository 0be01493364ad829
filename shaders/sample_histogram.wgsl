// sample_histogram: counts and masses of a row's logits by their distance below the largest, for top-k and
//                   top-p
//
//   logits     [n_logit_rows, vocab]     f32
//   allowed    [n_masks, ceil(vocab / 32)] u32   a set bit: the token may be drawn; mask 0: it exists
//   tops       [n_logit_rows, spans][2]  u32   output of sample_prepare
//   histogram  [n_logit_rows, 2, WG]     u32   counts, then deficits, of WG bins: added to
//
// Bins and deficits are explained in lib/sample.wgsl (import sample=bins). A workgroup counts its span in
// workgroup memory, then adds the bins that it has to those of the row. Integers are added in any
// order with the same result. Rows with neither top-k nor top-p need no histogram.
// Grid: spans, logit rows in y. Source: the first step of a radix select, Alabi et al., Fast k-selection
// algorithms for graphics processing units, JEA 17, 2012. Twin: reference/sample.rs
#import params=sample
#import sample=allowed
#import sample=best
#import sample=draw
#import sample=bins

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> allowed: array<u32>;
@group(1) @binding(N) var<storage, read> tops: array<vec2<u32>>;
@group(1) @binding(N) var<storage, read_write> histogram: array<atomic<u32>>;

var<workgroup> counts: array<atomic<u32>, WG>;
var<workgroup> deficits: array<atomic<u32>, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = group.y;
    if (item >= n_logit_rows()) { return; }
    let seq = row_seq(logit_row(item));
    let temperature = bitcast<f32>(seq_word(seq, SEQ_TEMPERATURE));
    if (temperature == 0.0 || !truncates(seq)) { return; }
    atomicStore(&counts[lane], 0u);
    atomicStore(&deficits[lane], 0u);
    let high = best_of_row(item, lane).value;
    let at = item * params.vocab;
    let span = group.x * SPAN;
    let end = min(span + SPAN, bound(params.vocab));
    let mask = mask_of(item);
    for (var token = span + lane; token < end; token += WG) {
        let x = distance_below(high, logits[at + token], temperature);
        let bin = bin_of(x);
        if (bin < BINS && is_allowed(mask, token)) {
            atomicAdd(&counts[bin], 1u);
            atomicAdd(&deficits[bin], deficit(x, bin));
        }
    }
    workgroupBarrier();
    let bin = (item * 2u * WG) + lane;
    let count = atomicLoad(&counts[lane]);
    if (count > 0u) {
        atomicAdd(&histogram[bin], count);
        atomicAdd(&histogram[bin + WG], atomicLoad(&deficits[lane]));
    }
}
