// sample_select: token = the best of `tops` if temperature is 0, else the best of `draws` and of the
//                candidates that top-k, top-p and min-p keep
//
//   logits      [n_logit_rows, vocab]     f32
//   tops        [n_logit_rows, spans][2]  u32   output of sample_prepare; `high` is their largest logit
//   histogram   [n_logit_rows, 2, WG]     u32   output of sample_histogram; all zero afterwards
//   candidates  [n_logit_rows, 1 + vocab] u32   output of sample_draw; all zero afterwards
//   draws       [n_logit_rows, spans][2]  u32   output of sample_draw
//   drawn       [n_logit_rows][2]         u32   the row's token, and for tests the bits of the smallest logit
//                                             that may be drawn
//   next_token  [n_slots]                 u32   the token of a sequence's last row, by its slot
//
// All three options act on logits / temperature, in the order of transformers' warpers: top-k keeps the k
// largest; top-p keeps the smallest set of these whose probability reaches top_p; min-p keeps those of
// at least min_p times the largest probability. Each option keeps the logits that are at least some
// threshold; the cut is the largest of the three. Equal logits are kept or dropped together.
// The histogram says in which bin the threshold of top-k is, and then in which bin that of top-p is. A radix
// select finds the threshold among the bin's candidates: in four rounds of 8 bits, on u32 keys that have the
// order of the logits. Candidates come in any order, but counts and masses are sums of integers, so the
// result does not depend on it. A threshold that is NEAR or more below the largest logit is not looked for: it
// cuts nothing that could be drawn.
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

// A row, its largest logit, its temperature, and the number of its candidates.
struct Row {
    item: u32,
    high: f32,
    temperature: f32,
    candidates: u32,
}

struct Candidate {
    token: u32,
    logit: f32,
    distance: f32,
    bin: u32,
    key: u32,
}

// Logits of nearer bins are kept, and those of `bin` whose keys are at least `key`.
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
        // Others may still read them.
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
    // Only the last row of a sequence draws the token that its next row takes.
    if (logit_row(item) + 1u == seq_first_row(seq) + seq_n_rows(seq)) { next_token[seq_slot(seq)] = token; }
}

// The best of the row's draws and of its candidates that are kept.
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
    // If top_p is so small that `wanted` is 0, the largest logit stays.
    kept.key = min(kept.key, ordered(row.high));
    return kept;
}

// A key, and the mass of the keys in its bin that are at least as large, in units of the bin's first.
struct Found {
    key: u32,
    mass: f32,
}

var<workgroup> counts: array<atomic<u32>, WG>;
var<workgroup> deficits: array<atomic<u32>, WG>;

// The largest key for which the candidates in bin `bounds.bin` from it on have the count and the mass
// `wanted`; keys below `bounds.key` do not count. Each round finds 8 more bits: lane i counts the keys
// whose next 8 bits are 255 - i.
fn select_key(row: Row, bounds: Threshold, wanted: vec2<f32>, lane: u32) -> Found {
    var rest = wanted;
    var key = 0u;
    var above = 0.0;
    var mass = 0.0;
    let own = candidate(row, lane);
    // Lanes still read `sums`.
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
        // Rounding may leave the whole bin below what is wanted of it.
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
