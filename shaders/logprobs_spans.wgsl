// logprobs_spans: for each span of a logit row: its largest logit `high`, the sum of exp(l - high) over its logits
//                 l, and its largest logits of tokens
//
//   logits   [n_logit_rows, vocab]             f32
//   allowed  [n_masks, ceil(vocab / 32)]       u32   a set bit: the token may be drawn; mask 0: it exists
//   spans    [n_logit_rows, n_spans][2 + 2 MAX_TOP] u32   bits of `high` and of the sum; then values' bits and tokens,
//                                              largest first, as many as the row wants
//   kept     [n_logit_rows, vocab]             f32   the logits, which sampling changes (import keep=copy)
//
// Runs before biases and penalties for rows of LOGPROBS_RAW, and after them for rows of LOGPROBS_PROCESSED
// (params.mode). Raw sums are over all ids, as a model's softmax; processed ones are over the tokens that may be
// drawn. Equal logits are listed by rising token. Fewer tokens than wanted end with NOTHING.
// Each of the largest logits takes one more look at the span: at most MAX_TOP = 20, and none by default.
// One workgroup for each span of SPAN ids. Grid: spans, logit rows in y. f32; sums of a span in a fixed order.
// Twin: reference/logprobs.rs
#import sample=allowed
#import sample=best
#import reduce=tree
#import keep

struct Params {
    vocab: u32,
    spans: u32,
    mode: u32,
}

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> allowed: array<u32>;
@group(1) @binding(N) var<storage, read_write> spans: array<u32>;

// Whether the row's softmax counts a token.
fn is_counted(mask: u32, token: u32) -> bool {
    return params.mode == LOGPROBS_RAW || is_allowed(mask, token);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let item = group.y;
    if (item >= n_logit_rows() || logit_word(item, LOGIT_LOGPROBS) != params.mode) { return; }
    let mask = select(mask_of(item), 0u, params.mode == LOGPROBS_RAW);
    let span = group.x * SPAN;
    let end = min(span + SPAN, bound(params.vocab));
    let at = item * params.vocab;
    var high = LOWEST;
    for (var token = span + lane.index; token < end; token += WG) {
        let l = logits[at + token];
        keep(at + token, l);
        if (is_counted(mask, token)) { high = max(high, l); }
    }
    high = reduce_max(high, lane);
    var sum = 0.0;
    for (var token = span + lane.index; token < end; token += WG) {
        if (is_counted(mask, token)) { sum += exp(logits[at + token] - high); }
    }
    sum = reduce_sum4(vec4<f32>(sum, 0.0, 0.0, 0.0), lane).x;
    let out = ((item * params.spans) + group.x) * (2u + (2u * MAX_TOP));
    if (lane.index == 0u) {
        spans[out] = bitcast<u32>(high);
        spans[out + 1u] = bitcast<u32>(sum);
    }
    let top = min(logit_word(item, LOGIT_TOP), MAX_TOP);
    var last = Best(LOWEST, NOTHING);
    for (var i = 0u; i < top; i++) {
        var best = Best(LOWEST, NOTHING);
        for (var token = span + lane.index; token < end; token += WG) {
            let own = Best(logits[at + token], token);
            let follows = (i == 0u) | better(last, own);
            if (follows & is_allowed(mask, token) & better(own, best)) { best = own; }
        }
        last = best_of_lanes(best, lane.index);
        if (lane.index == 0u) {
            spans[out + 2u + (2u * i)] = bitcast<u32>(last.value);
            spans[out + 3u + (2u * i)] = last.token;
        }
    }
}
