// sample_draw: draws[span] = argmax_i g_i - (high - l_i) / temperature, over the logits l_i of the span that
//              top-k, top-p and min-p certainly keep
//
//   logits      [n_logit_rows, vocab]     f32
//   allowed     [n_masks, ceil(vocab / 32)] u32   a set bit: the token may be drawn; mask 0: it exists
//   tops        [n_logit_rows, spans][2]  u32   output of sample_prepare: each span's largest logit and its
//                                             token; `high` is the largest of all
//   histogram   [n_logit_rows, 2, WG]     u32   output of sample_histogram
//   candidates  [n_logit_rows, 1 + vocab] u32   a number, then as many tokens, added in any order
//   draws       [n_logit_rows, spans][2]  u32   the value's bits and the token
//
// g_i = -log(-log(u_i)) is Gumbel noise; u_i comes from a counter-based generator of (seed, position, i). The
// largest sum of logit and noise is a draw from the softmax (Gumbel-max trick). It takes one pass and does
// not depend on the number of lanes or workgroups.
// Bins order the logits by their distance from `high`. The histogram says in which bin top-k cuts, and in which
// few bins top-p may cut. Logits in nearer bins are kept. Logits in the bins that may be cut are candidates:
// sample_select decides which of them are kept.
// Grid: spans, logit rows in y. Rows of temperature 0 are not drawn. Twin: reference/sample.rs
#import params=sample
#import sample=allowed
#import sample=best
#import sample=draw
#import sample=bins
#import sample=cuts

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> allowed: array<u32>;
@group(1) @binding(N) var<storage, read> tops: array<vec2<u32>>;
@group(1) @binding(N) var<storage, read> histogram: array<u32>;
@group(1) @binding(N) var<storage, read_write> candidates: array<atomic<u32>>;
@group(1) @binding(N) var<storage, read_write> draws: array<vec2<u32>>;

// The bins that thresholds may cut: nearest .. farthest by top-p, and that of top-k.
struct Cuts {
    nearest: u32,
    farthest: u32,
    top_k: u32,
}

// More than the sums' error, so that sample_select finds its bin among the candidates'.
const SLACK = 1e-5;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = group.y;
    if (item >= n_logit_rows()) { return; }
    let row = logit_row(item);
    let seq = row_seq(row);
    let temperature = bitcast<f32>(seq_word(seq, SEQ_TEMPERATURE));
    if (temperature == 0.0) { return; }
    let high = best_of_row(item, lane).value;
    let lowest = min_p_cut(high, temperature, bitcast<f32>(seq_word(seq, SEQ_MIN_P)));
    var cuts = Cuts(BINS, BINS, BINS);
    if (truncates(seq)) { cuts = find_cuts(item, seq, lane); }
    let seed = seq_word(seq, SEQ_SEED);
    let position = row_position(row);
    let at = item * params.vocab;
    let span = group.x * SPAN;
    let end = min(span + SPAN, bound(params.vocab));
    let mask = mask_of(item);
    var best = Best(LOWEST, NOTHING);
    for (var token = span + lane; token < end; token += WG) {
        let l = logits[at + token];
        let x = distance_below(high, l, temperature);
        if (l < lowest || bin_of(x) >= cuts.nearest || !is_allowed(mask, token)) { continue; }
        let value = gumbel(seed, position, token) - x;
        // Tokens rise, so the lower of equals stays.
        if (value > best.value) { best = Best(value, token); }
    }
    best = best_of_lanes(best, lane);
    if (lane == 0u) { draws[(item * params.spans) + group.x] = pack(best); }
    if (!truncates(seq)) { return; }
    for (var token = span + lane; token < end; token += WG) {
        let bin = bin_of(distance_below(high, logits[at + token], temperature));
        let cut = (cuts.nearest <= bin && bin <= cuts.farthest) || bin == cuts.top_k;
        if (!cut || bin >= BINS || !is_allowed(mask, token)) { continue; }
        let list = item * (1u + params.vocab);
        let n = atomicAdd(&candidates[list], 1u);
        atomicStore(&candidates[list + 1u + n], token);
    }
}

fn find_cuts(item: u32, seq: u32, lane: u32) -> Cuts {
    sum_bins(item, lane);
    let top_k = top_k_bin(seq, lane);
    var cuts = Cuts(top_k, top_k, top_k);
    let top_p = bitcast<f32>(seq_word(seq, SEQ_TOP_P));
    if (top_p < 1.0) {
        // Top-k keeps a part of its bin's mass, which is not known yet.
        let least = top_p * (1.0 - SLACK) * sum_before(top_k).y;
        let most = top_p * (1.0 + SLACK) * sum_before(top_k + 1u).y;
        cuts.nearest = min(top_k, first_lane(vec2<f32>(0.0, least), lane));
        cuts.farthest = min(top_k, first_lane(vec2<f32>(0.0, most), lane));
    }
    return cuts;
}
