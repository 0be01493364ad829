// logprobs: log-probabilities of a logit row: log p(t) = l_t - high - log(sum_j exp(l_j - high)), high the largest l
//
//   logits    [n_logit_rows, vocab]            f32   the logits that logprobs_spans read
//   spans     [n_logit_rows, n_spans][2 + 2 MAX_TOP] u32   output of logprobs_spans
//   drawn     [n_logit_rows][2]                u32   tokens, output of sample_select
//   logprobs  [n_logit_rows][2 + 2 MAX_TOP]    u32   the row's token and its log-probability's bits; then the same for
//                                              its most probable tokens, as many as the row wants
//
// The row's token is the one in the batch table, else the drawn one. If that is NOT_FINITE, its log-probability
// is 0. A list with fewer tokens than wanted ends with NOTHING.
// One workgroup for each logit row. f32; the error is a few ulp of the logits plus 1e-6.
// Source: OpenAI's API, top_logprobs; vLLM's logprobs_mode. Twin: reference/logprobs.rs
#import sample=best
#import reduce=tree

struct Params {
    vocab: u32,
    spans: u32,
}

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> spans: array<u32>;
@group(1) @binding(N) var<storage, read> drawn: array<u32>;
@group(1) @binding(N) var<storage, read_write> logprobs: array<u32>;

const ENTRY_WORDS = 2u + (2u * MAX_TOP);

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let item = group.x;
    if (item >= n_logit_rows() || logit_word(item, LOGIT_LOGPROBS) == 0u) { return; }
    let n_spans = bound(params.spans);
    let first = item * params.spans * ENTRY_WORDS;
    var high = LOWEST;
    for (var i = lane.index; i < n_spans; i += WG) {
        high = max(high, bitcast<f32>(spans[first + (i * ENTRY_WORDS)]));
    }
    high = reduce_max(high, lane);
    var sum = 0.0;
    for (var i = lane.index; i < n_spans; i += WG) {
        let own = first + (i * ENTRY_WORDS);
        sum += bitcast<f32>(spans[own + 1u]) * exp(bitcast<f32>(spans[own]) - high);
    }
    let log_sum = log(reduce_sum4(vec4<f32>(sum, 0.0, 0.0, 0.0), lane).x);
    let out = item * ENTRY_WORDS;
    let top = min(logit_word(item, LOGIT_TOP), MAX_TOP);
    var last = Best(LOWEST, NOTHING);
    for (var i = 0u; i < top; i++) {
        var best = Best(LOWEST, NOTHING);
        for (var j = lane.index; j < n_spans * top; j += WG) {
            let own = entry(first + ((j / top) * ENTRY_WORDS), j % top);
            if (((i == 0u) | better(last, own)) & better(own, best)) { best = own; }
        }
        last = best_of_lanes(best, lane.index);
        if (lane.index == 0u) {
            logprobs[out + 2u + (2u * i)] = last.token;
            logprobs[out + 3u + (2u * i)] = bitcast<u32>((last.value - high) - log_sum);
        }
    }
    if (lane.index == 0u) {
        var token = logit_word(item, LOGIT_TOKEN);
        if (token == DRAWN) { token = drawn[2u * item]; }
        var logprob = 0.0;
        if (token < params.vocab) {
            logprob = (logits[(item * params.vocab) + token] - high) - log_sum;
        }
        logprobs[out] = token;
        logprobs[out + 1u] = bitcast<u32>(logprob);
    }
}

// The i-th of the largest logits of a span.
fn entry(span: u32, i: u32) -> Best {
    let at = span + 2u + (2u * i);
    return Best(bitcast<f32>(spans[at]), spans[at + 1u]);
}
