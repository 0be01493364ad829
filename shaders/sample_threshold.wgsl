// sample_threshold: cut[i] = the smallest logit that may be drawn, by top-k, top-p and min-p
//
//   logits   [n_logit_rows, vocab]  f32
//   allowed  [ceil(vocab / 32)]     u32   a set bit means that the tokenizer has a token with this id
//   cut      [n_logit_rows]         f32
//
// All three act on logits / temperature, in the order of transformers' warpers: top-k keeps the k
// largest; top-p keeps the smallest set of these whose probability reaches top_p; min-p keeps those of
// at least min_p times the largest probability. Each option keeps the logits that are at least some
// threshold t. The cut is the largest t of the three. Equal logits are kept or dropped together. For top-k
// and top-p, t is found exactly by a binary search of 32 rounds, one for each bit, on u32 keys that have
// the order of the logits; if the option is off, its rounds are skipped. Min-p computes t directly.
// At temperature 0 nothing is written: sample_draw then takes the largest logit and does not read cut.
// One workgroup for each logit row. Sums in f32, in the order of import reduce. Twin: reference/sample.rs
#import reduce

struct Params {
    vocab: u32,
}

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> allowed: array<u32>;
@group(1) @binding(N) var<storage, read_write> cut: array<f32>;

fn is_allowed(token: u32) -> bool {
    return ((allowed[token / 32u] >> (token % 32u)) & 1u) != 0u;
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
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let item = group.x;
    if (item >= n_logit_rows()) { return; }
    let seq = row_seq(logit_row(item));
    let top_k = seq_word(seq, SEQ_TOP_K);
    let temperature = bitcast<f32>(seq_word(seq, SEQ_TEMPERATURE));
    let top_p = bitcast<f32>(seq_word(seq, SEQ_TOP_P));
    let min_p = bitcast<f32>(seq_word(seq, SEQ_MIN_P));
    if (temperature == 0.0) { return; }
    let at = item * params.vocab;
    var high = LOWEST;
    for (var i = lane.index; i < params.vocab; i += WG) {
        if (is_allowed(i)) { high = max(high, logits[at + i]); }
    }
    high = reduce_max(high, lane);

    var least = 0u;
    if (top_k > 0u && top_k < params.vocab) {
        var key = 0u;
        for (var bit = 0u; bit < 32u; bit++) {
            let candidate = key | (0x80000000u >> bit);
            var n = 0.0;
            for (var i = lane.index; i < params.vocab; i += WG) {
                if (is_allowed(i) && ordered(logits[at + i]) >= candidate) { n += 1.0; }
            }
            if (reduce_sum4(vec4<f32>(n), lane).x >= f32(top_k)) { key = candidate; }
        }
        least = key;
    }
    if (top_p < 1.0) {
        var mass = 0.0;
        for (var i = lane.index; i < params.vocab; i += WG) {
            let l = logits[at + i];
            if (is_allowed(i) && ordered(l) >= least) { mass += exp((l - high) / temperature); }
        }
        let wanted = top_p * reduce_sum4(vec4<f32>(mass), lane).x;
        var key = least;
        var reached = 0u;
        for (var bit = 0u; bit < 32u; bit++) {
            let candidate = reached | (0x80000000u >> bit);
            var sum = 0.0;
            for (var i = lane.index; i < params.vocab; i += WG) {
                let l = logits[at + i];
                let bits = ordered(l);
                if (is_allowed(i) && bits >= candidate && bits >= least) {
                    sum += exp((l - high) / temperature);
                }
            }
            if (reduce_sum4(vec4<f32>(sum), lane).x >= wanted) { reached = candidate; }
        }
        // If top_p is so small that `wanted` is 0, the largest logit stays.
        key = min(max(key, reached), ordered(high));
        least = key;
    }
    if (lane.index == 0u) {
        // Keys up to that of LOWEST cut no finite logit. Key 0 (no option on) would decode to a NaN.
        var t = LOWEST;
        if (least > ordered(LOWEST)) { t = from_ordered(least); }
        if (min_p > 0.0) { t = max(t, high + (temperature * log(min_p))); }
        // The largest logit is always kept: with min_p = 1, a rounding error of log could put t above it.
        cut[item] = min(t, high);
    }
}
