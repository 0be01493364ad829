// sample_draw: next_token[slot] = argmax_i l_i                        if temperature is 0
//                               = argmax_i l_i / temperature + g_i    over l_i >= cut otherwise
//
//   logits      [n_logit_rows, vocab]  f32
//   allowed     [ceil(vocab / 32)]     u32   bit set: the id has a token
//   cut         [n_logit_rows]         f32   output of sample_threshold
//   next_token  [n_slots]              u32
//
// g_i = -log(-log(u_i)) is Gumbel noise; u_i comes from a counter-based generator of (seed, position,
// i). The largest sum of logit and noise is a draw from the softmax (Gumbel-max trick). It takes one
// pass and does not depend on the number of lanes. u has 23 bits; |error of g| <= 1e-4 even if the
// absolute error of log is 2^-21, as Vulkan allows between 0.5 and 2.
// Equal values go to the lower id. If an allowed logit is NaN or infinite, NOT_FINITE is written
// instead of a token.
// One workgroup for each logit row. Twin: reference/sample.rs

struct Params {
    vocab: u32,
}

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> allowed: array<u32>;
@group(1) @binding(N) var<storage, read> cut: array<f32>;
@group(1) @binding(N) var<storage, read_write> next_token: array<u32>;

const NOT_FINITE = 0xfffffffeu;
const NOTHING = 0xffffffffu;

var<workgroup> best_value: array<f32, WG>;
var<workgroup> best_token: array<u32, WG>;
var<workgroup> broken: array<u32, WG>;

fn is_allowed(token: u32) -> bool {
    return ((allowed[token / 32u] >> (token % 32u)) & 1u) != 0u;
}

// pcg3d, Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020.
fn hash(a: u32, b: u32, c: u32) -> u32 {
    var v = (vec3<u32>(a, b, c) * 1664525u) + vec3<u32>(1013904223u);
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v = v ^ (v >> vec3<u32>(16u));
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    return v.x;
}

fn gumbel(seed: u32, position: u32, token: u32) -> f32 {
    let bits = hash(seed, position, token) >> 9u;
    let u = (f32(bits) + 0.5) / 8388608.0;
    // Near u = 1 log may return 0 or more, so -log(u) is a series in 1 - u, which is exact.
    let v = (f32(8388607u - bits) + 0.5) / 8388608.0;
    let series = v * (1.0 + (v * (0.5 + (v * (0.33333333 + (v * 0.25))))));
    return -log(select(-log(u), series, v < 0.015625));
}

// Whether (a, i) comes before (b, j).
fn better(a: f32, i: u32, b: f32, j: u32) -> bool {
    return j == NOTHING || (i != NOTHING && (a > b || (a == b && i < j)));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = group.x;
    if (item >= n_logit_rows()) { return; }
    let row = logit_row(item);
    let seq = row_seq(row);
    let seed = seq_word(seq, SEQ_SEED);
    let temperature = bitcast<f32>(seq_word(seq, SEQ_TEMPERATURE));
    let at = item * params.vocab;
    var value = LOWEST;
    var token = NOTHING;
    var bad = 0u;
    for (var i = lane; i < params.vocab; i += WG) {
        if (!is_allowed(i)) { continue; }
        let l = logits[at + i];
        if ((bitcast<u32>(l) & 0x7f800000u) == 0x7f800000u) { bad = 1u; }
        var v = l;
        if (temperature > 0.0) {
            if (l < cut[item]) { continue; }
            v = (l / temperature) + gumbel(seed, row_position(row), i);
        }
        if (better(v, i, value, token)) {
            value = v;
            token = i;
        }
    }
    best_value[lane] = value;
    best_token[lane] = token;
    broken[lane] = bad;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half = half / 2u) {
        if (lane < half) {
            if (better(
                best_value[lane + half], best_token[lane + half], best_value[lane], best_token[lane])) {
                best_value[lane] = best_value[lane + half];
                best_token[lane] = best_token[lane + half];
            }
            broken[lane] |= broken[lane + half];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        next_token[seq_slot(seq)] = select(best_token[0], NOT_FINITE, broken[0] != 0u);
    }
}
