// sample_prepare: applies logit biases, then penalties, to each logit l of a row, and finds each span's best:
//                 l -> l + bias, for the tokens of the sequence's logit_bias
//                 l -> l / repetition if l > 0, else l * repetition, for the tokens of the context
//                 l -> l - presence - frequency * count, for tokens generated `count` > 0 times
//                 tops[span] = the largest allowed logit and its token
//
//   history  [n_slots, context]        u32   tokens by position, written by embed
//   allowed  [n_masks, ceil(vocab / 32)] u32   a set bit: the token may be drawn; mask 0: it exists
//   logits   [n_logit_rows, vocab]     f32   in place
//   tops     [n_logit_rows, spans][2]  u32   the value's bits and the token, of each span of SPAN ids
//
// Equal logits go to the lower id. If an allowed logit is NaN or infinite, the token is NOT_FINITE.
// One workgroup for each span. Tokens are counted from the history up to the row's position, so going
// back in a sequence needs no undo. lib/sample.wgsl has two ways to count them (import penalties).
// Grid: spans, logit rows in y. Exact up to one rounding for each step.
// Source: transformers RepetitionPenaltyLogitsProcessor (whole context); OpenAI API for presence and
// frequency (generated text) and for biases, which llama.cpp and vLLM also add before the penalties.
// Twin: reference/sample.rs
#import sample=allowed
#import sample=best
#import penalties

struct Params {
    vocab: u32,
    context: u32,
    spans: u32,
}

@group(1) @binding(N) var<storage, read> history: array<u32>;
@group(1) @binding(N) var<storage, read> allowed: array<u32>;
@group(1) @binding(N) var<storage, read_write> logits: array<f32>;
@group(1) @binding(N) var<storage, read_write> tops: array<vec2<u32>>;

// Marks a token of the context; the bits below count how often it was generated.
const PRESENT = 0x80000000u;

// A sequence's penalties, the first position that it generated, and where its history begins.
struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    generated_from: u32,
    history: u32,
}

fn penalties_of(seq: u32) -> Penalties {
    return Penalties(
        bitcast<f32>(seq_word(seq, SEQ_REPETITION_PENALTY)),
        bitcast<f32>(seq_word(seq, SEQ_PRESENCE_PENALTY)),
        bitcast<f32>(seq_word(seq, SEQ_FREQUENCY_PENALTY)),
        seq_word(seq, SEQ_GENERATED_FROM),
        seq_slot(seq) * params.context,
    );
}

// The logit of a token of the context.
fn penalise(l: f32, p: Penalties, found: u32) -> f32 {
    let penalised = select(l * p.repetition, l / p.repetition, l > 0.0);
    let count = found & (~PRESENT);
    return select(penalised, penalised - p.presence - (p.frequency * f32(count)), count > 0u);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = group.y;
    if (item >= n_logit_rows()) { return; }
    let row = logit_row(item);
    let seq = row_seq(row);
    let span = group.x * SPAN;
    let end = min(span + SPAN, bound(params.vocab));
    let mask = mask_of(item);
    let at = item * params.vocab;
    let first_bias = batch[BATCH_BIASES_AT] + (seq_word(seq, SEQ_FIRST_BIAS) * 2u);
    let n_biases = seq_word(seq, SEQ_N_BIASES);
    for (var i = lane; i < n_biases; i += WG) {
        let token = batch[first_bias + (i * 2u)];
        if (token - span < SPAN) {
            logits[at + token] += bitcast<f32>(batch[first_bias + (i * 2u) + 1u]);
        }
    }
    storageBarrier();
    workgroupBarrier();
    let penalties = penalties_of(seq);
    if (penalties.repetition != 1.0 || penalties.presence != 0.0 || penalties.frequency != 0.0) {
        penalise_span(item, penalties, row_position(row) + 1u, span, end, lane);
        storageBarrier();
        workgroupBarrier();
    }
    var best = Best(LOWEST, NOTHING);
    var finite = true;
    for (var token = span + lane; token < end; token += WG) {
        let l = logits[at + token];
        if (!is_allowed(mask, token)) { continue; }
        finite &= is_finite(l);
        // Tokens rise, so the lower of equals stays.
        if (l > best.value || best.token == NOTHING) { best = Best(l, token); }
    }
    if (!finite) { best.token = NOT_FINITE; }
    best = best_of_lanes(best, lane);
    if (lane == 0u) { tops[(item * params.spans) + group.x] = pack(best); }
}
