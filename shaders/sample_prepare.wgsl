// sample_prepare: applies logit biases, then penalties, to each logit l of a row:
//                 l -> l + bias, for the tokens of the sequence's logit_bias
//                 l -> l / repetition if l > 0, else l * repetition, for the tokens of the context
//                 l -> l - presence - frequency * count, for tokens generated `count` > 0 times
//
//   history  [n_slots, context]        u32   tokens by position, written by embed
//   counts   [n_slots, vocab]          u32   all zero before and after
//   logits   [n_logit_rows, vocab]     f32   in place
//
// One workgroup for each logit row. Tokens are counted from the history up to the row's position, so
// going back in a sequence needs no undo. The lane that takes a token's count out of `counts` applies
// it and leaves zero.
// Exact up to one rounding for each step. Source: transformers RepetitionPenaltyLogitsProcessor (whole
// context); OpenAI API for presence and frequency (generated text) and for biases, which llama.cpp and
// vLLM also add before the penalties. Twin: reference/sample.rs

struct Params {
    vocab: u32,
    context: u32,
}

@group(1) @binding(N) var<storage, read> history: array<u32>;
@group(1) @binding(N) var<storage, read_write> counts: array<atomic<u32>>;
@group(1) @binding(N) var<storage, read_write> logits: array<f32>;

// Set in `counts` for a token of the context; the bits below count how often it was generated.
const PRESENT = 0x80000000u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = group.x;
    if (item >= n_logit_rows()) { return; }
    let row = logit_row(item);
    let seq = row_seq(row);
    let repetition = bitcast<f32>(seq_word(seq, SEQ_REPETITION_PENALTY));
    let presence = bitcast<f32>(seq_word(seq, SEQ_PRESENCE_PENALTY));
    let frequency = bitcast<f32>(seq_word(seq, SEQ_FREQUENCY_PENALTY));
    let at = item * params.vocab;
    let first_bias = batch[BATCH_BIASES_AT] + (seq_word(seq, SEQ_FIRST_BIAS) * 2u);
    let n_biases = seq_word(seq, SEQ_N_BIASES);
    for (var i = lane; i < n_biases; i += WG) {
        let token = batch[first_bias + (i * 2u)];
        logits[at + token] += bitcast<f32>(batch[first_bias + (i * 2u) + 1u]);
    }
    if (repetition == 1.0 && presence == 0.0 && frequency == 0.0) { return; }
    let length = row_position(row) + 1u;
    let generated_from = seq_word(seq, SEQ_GENERATED_FROM);
    let start = seq_slot(seq) * params.context;
    for (var p = lane; p < length; p += WG) {
        let token = history[start + p];
        if (p >= generated_from) { atomicAdd(&counts[at + token], 1u); }
        atomicOr(&counts[at + token], PRESENT);
    }
    storageBarrier();
    workgroupBarrier();
    for (var p = lane; p < length; p += WG) {
        let token = history[start + p];
        let seen = atomicExchange(&counts[at + token], 0u);
        if (seen != 0u) {
            var l = logits[at + token];
            l = select(l * repetition, l / repetition, l > 0.0);
            let count = seen & (~PRESENT);
            if (count > 0u) { l = l - presence - (frequency * f32(count)); }
            logits[at + token] = l;
        }
    }
}
