// sample_select: token = the best of `tops` if temperature is 0, else the best of `draws` and of the
//                candidates that top-k, top-p and min-p keep
//
//   logits      [n_logit_rows, vocab]     f32
//   tops        [n_logit_rows, spans][2]  u32   output of sample_prepare: the largest logit of each span of token ids,
//                                             and its token. The largest logit of all spans is `high`
//   histogram   [n_logit_rows, 2, WG]     u32   output of sample_histogram; set to zero here
//   candidates  [n_logit_rows, 1 + vocab] u32   output of sample_draw: their number, then their tokens; set to zero
//                                             here
//   draws       [n_logit_rows, spans][2]  u32   output of sample_draw: the best draw of each span, and its token
//   drawn       [n_logit_rows][2]         u32   the row's token, and for tests the bits of the smallest logit
//                                             that may be drawn
//   next_token  [n_slots]                 u32   the token that a sequence's last row draws, by the sequence's slot
//
// Top-k, top-p and min-p act on logits / temperature, in the order of transformers' logits processors. Top-k keeps the
// k largest. Top-p keeps the smallest set of these whose total probability reaches top_p. Min-p keeps the logits whose
// probability is at least min_p times the largest one. Each option thus keeps all logits from a threshold upwards, and
// the highest threshold decides. Equal logits are kept or dropped together.
// The logits are divided into bins by their distance below `high` (import sample=bins). sample_draw has already drawn
// from the bins that are certainly kept. The logits in the bins that a threshold may cut are the candidates. The
// threshold of min-p follows from `high`. This kernel finds the threshold of top-k, then that of top-p, each in two
// steps. The histogram gives the bin of the threshold. A radix select over the candidates in this bin gives the
// threshold itself. The select takes four rounds of 8 bits, on u32 keys that have the order of the logits.
// The order of the candidates varies. The result does not depend on it, because counts and masses (probabilities that
// are not normalised) are sums of integers.
// A threshold that is NEAR or more below `high` is not looked for: no logit below it could be drawn.
// If an allowed logit is NaN or infinite, NOT_FINITE is written instead of a token.
// One workgroup for each logit row. Source: Alabi et al., Fast k-selection algorithms for graphics
// processing units, JEA 17, 2012. Twin: reference/sample.rs
#import params=sample
#import sample=best
#import sample=draw
#import sample=bins
#import sample=cuts

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> tops: array<vec2<u32>>;
@group(1) @binding(N) var<storage, read_write> histogram: array<u32>;
@group(1) @binding(N) var<storage, read_write> candidates: array<u32>;
@group(1) @binding(N) var<storage, read> draws: array<vec2<u32>>;
@group(1) @binding(N) var<storage, read_write> drawn: array<u32>;
@group(1) @binding(N) var<storage, read_write> next_token: array<u32>;

// A logit row: its index, largest logit, temperature and number of candidates.
struct Row {
    item: u32,
    high: f32,
    temperature: f32,
    candidates: u32,
}

// A token with its logit, the distance of the logit below `high`, its bin, and its key (`ordered`).
struct Candidate {
    token: u32,
    logit: f32,
    distance: f32,
    bin: u32,
    key: u32,
}

// Keeps the logits in the bins before `bin`, and those in `bin` whose keys are at least `key`.
struct Threshold {
    bin: u32,
    key: u32,
}

fn is_kept(c: Candidate, t: Threshold) -> bool {
    return c.bin < t.bin || (c.bin == t.bin && c.key >= t.key);
}

fn candidate(row: Row, i: u32) -> Candidate {
    let token = candidates[(row.item * (1u + params.vocab)) + 1u + i];
    let l = logits[(row.item * params.vocab) + token];
    let x = distance_below(row.high, l, row.temperature);
    return Candidate(token, l, x, bin_of(x), ordered(l));
}

// A key that sorts as an unsigned integer in the order of the floats. +0 and -0 have the same key.
fn ordered(l: f32) -> u32 {
    let bits = select(bitcast<u32>(l), 0u, l == 0.0);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn from_ordered(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = group.x;
    if (item >= n_logit_rows()) { return; }
    let seq = row_seq(logit_row(item));
    let temperature = bitcast<f32>(seq_word(seq, SEQ_TEMPERATURE));
    let top = best_of_row(item, lane);
    var token = top.token;
    if (temperature > 0.0) {
        let row = Row(item, top.value, temperature, candidates[item * (1u + params.vocab)]);
        let lowest = min_p_cut(top.value, temperature, bitcast<f32>(seq_word(seq, SEQ_MIN_P)));
        var threshold = Threshold(BINS, 0u);
        if (truncates(seq)) { threshold = find_threshold(row, seq, lane); }
        let best = draw(row, seq, threshold, lowest, lane);
        if (token != NOT_FINITE) { token = best.token; }
        // Other lanes may still read the candidates.
        storageBarrier();
        workgroupBarrier();
        for (var i = lane; i <= row.candidates; i += WG) {
            candidates[(item * (1u + params.vocab)) + i] = 0u;
        }
        if (lane == 0u) {
            let least = select(LOWEST, from_ordered(threshold.key), threshold.bin < BINS);
            drawn[(2u * item) + 1u] = bitcast<u32>(max(least, lowest));
        }
    }
    if (lane != 0u) { return; }
    drawn[2u * item] = token;
    // The next row of a sequence takes the token that the last row has drawn.
    if (logit_row(item) + 1u == seq_first_row(seq) + seq_n_rows(seq)) { next_token[seq_slot(seq)] = token; }
}

// The best of the row's draws and of the candidates that are kept.
fn draw(row: Row, seq: u32, threshold: Threshold, lowest: f32, lane: u32) -> Best {
    var best = Best(LOWEST, NOTHING);
    let spans = bound(params.spans);
    for (var i = lane; i < spans; i += WG) {
        let other = unpack(draws[(row.item * spans) + i]);
        if (better(other, best)) { best = other; }
    }
    let seed = seq_word(seq, SEQ_SEED);
    let position = row_position(logit_row(row.item));
    for (var i = lane; i < row.candidates; i += WG) {
        let c = candidate(row, i);
        if (!is_kept(c, threshold) || c.logit < lowest) { continue; }
        let own = Best(gumbel(seed, position, c.token) - c.distance, c.token);
        if (better(own, best)) { best = own; }
    }
    return best_of_lanes(best, lane);
}

// The higher of the thresholds of top-k and top-p.
fn find_threshold(row: Row, seq: u32, lane: u32) -> Threshold {
    sum_bins(row.item, lane);
    var kept = Threshold(top_k_bin(seq, lane), 0u);
    var mass = sum_before(kept.bin).y;
    if (has_top_k(seq)) {
        let rest = f32(seq_word(seq, SEQ_TOP_K)) - sum_before(kept.bin).x;
        let found = select_key(row, kept, vec2<f32>(rest, 0.0), lane);
        kept.key = found.key;
        mass += found.mass * mass_of_first(kept.bin);
    }
    let top_p = bitcast<f32>(seq_word(seq, SEQ_TOP_P));
    if (top_p < 1.0) {
        sum_bins(row.item, lane);
        let wanted = top_p * mass;
        let bin = min(kept.bin, first_lane(vec2<f32>(0.0, wanted), lane));
        let from_key = select(0u, kept.key, bin == kept.bin);
        let rest = (wanted - sum_before(bin).y) / mass_of_first(bin);
        let found = select_key(row, Threshold(bin, from_key), vec2<f32>(0.0, rest), lane);
        kept = Threshold(bin, max(from_key, found.key));
    }
    let bins = (row.item * 2u * WG) + lane;
    histogram[bins] = 0u;
    histogram[bins + WG] = 0u;
    // The largest logit is kept even if top_p is so small that `wanted` is 0.
    kept.key = min(kept.key, ordered(row.high));
    return kept;
}

// A key, and the total mass of the candidates in its bin from this key upwards. The unit is the mass of a logit at the
// beginning of the bin.
struct Found {
    key: u32,
    mass: f32,
}

var<workgroup> counts: array<atomic<u32>, WG>;
var<workgroup> deficits: array<atomic<u32>, WG>;

// The largest key such that the candidates in bin `bounds.bin` from this key upwards reach the count and the mass
// `wanted`. Candidates with keys below `bounds.key` are left out. Each round finds 8 more bits of the key. Counter i is
// for the candidates whose next 8 bits are 255 - i, so the largest come first.
fn select_key(row: Row, bounds: Threshold, wanted: vec2<f32>, lane: u32) -> Found {
    var rest = wanted;
    var key = 0u;
    var above = 0.0;
    var mass = 0.0;
    let own = candidate(row, lane);
    // Other lanes may still read `sums`.
    workgroupBarrier();
    atomicStore(&counts[lane], 0u);
    atomicStore(&deficits[lane], 0u);
    workgroupBarrier();
    for (var round = 0u; round < 4u; round++) {
        let shift = 24u - (8u * round);
        for (var i = lane; i < row.candidates; i += WG) {
            var c = own;
            if (i != lane) { c = candidate(row, i); }
            if (c.bin == bounds.bin && c.key >= bounds.key && ((c.key >> shift) >> 8u) == key) {
                let digit = 255u - ((c.key >> shift) & 255u);
                atomicAdd(&counts[digit], 1u);
                atomicAdd(&deficits[digit], deficit(c.distance, c.bin));
            }
        }
        workgroupBarrier();
        let digit = count_and_mass(
            atomicExchange(&counts[lane], 0u), atomicExchange(&deficits[lane], 0u));
        sum_lanes(digit, lane);
        // Because of rounding, the whole bin may have less than `rest`.
        if (round == 0u) { rest = min(rest, sums[WG - 1u]); }
        let chosen = min(first_lane(rest, lane), WG - 1u);
        let before = sum_before(chosen);
        mass = above + sums[chosen].y;
        above += before.y;
        rest -= before;
        key = (key << 8u) | (255u - chosen);
    }
    return Found(key, mass);
}
