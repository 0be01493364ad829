// Parts that the kernels of sampling share:
//   sample=best     a value with its token, and the best of a workgroup
//   sample=allowed  the masks of tokens
//   sample=draw     distances from the largest logit, and the noise of a draw
//   sample=bins     bins of logits by their probability, and what is counted of each
//   sample=cuts     sums over lanes in order, and the bin where top-k cuts
//   params=sample   parameters of sample_histogram, sample_draw and sample_select
// logprobs_spans has two variants (import keep):
//   keep(at, l)     keeps a copy of the logit that has the index `at`, or does nothing, if nothing changes the logits
// sample_prepare has two ways to apply penalties (import penalties):
//   penalise_span   applies them to tokens `span` .. `end` - 1 of a row, by the first `length` tokens of
//                   its history

#part params=sample
// Twin: Params in src/kernels/sample.rs
struct Params {
    vocab: u32,
    spans: u32,
    deficit_unit: f32,
}

#part sample=best
const NOT_FINITE = 0xfffffffeu;
const NOTHING = 0xffffffffu;

// A value and its token; or NOTHING; or NOT_FINITE, if a logit is NaN or infinite.
struct Best {
    value: f32,
    token: u32,
}

fn pack(best: Best) -> vec2<u32> { return vec2<u32>(bitcast<u32>(best.value), best.token); }
fn unpack(words: vec2<u32>) -> Best { return Best(bitcast<f32>(words.x), words.y); }

// Whether a comes before b: NOT_FINITE before all, then larger values, then lower tokens. No operand is left out by a
// branch: FXC, a compiler of DX12, refuses a barrier behind a loop with such branches.
fn better(a: Best, b: Best) -> bool {
    let before = (a.token == NOT_FINITE) | (b.token == NOTHING) | (a.value > b.value)
        | ((a.value == b.value) & (a.token < b.token));
    return before & (b.token != NOT_FINITE) & (a.token != NOTHING);
}

fn is_finite(l: f32) -> bool { return (bitcast<u32>(l) & 0x7f800000u) != 0x7f800000u; }

var<workgroup> bests: array<Best, WG>;

fn best_of_16(first: u32, stride: u32) -> Best {
    var best = bests[first];
    for (var i = 1u; i < 16u; i++) {
        let other = bests[first + (i * stride)];
        if (better(other, best)) { best = other; }
    }
    return best;
}

// The best of all lanes, returned in each. WG is 256, so 16 lanes find the best of 16 each, then all lanes
// the best of these: barriers cost more than comparisons, on a GPU and on a CPU.
fn best_of_lanes(own: Best, lane: u32) -> Best {
    bests[lane] = own;
    workgroupBarrier();
    if (lane < 16u) { bests[lane] = best_of_16(lane, 16u); }
    workgroupBarrier();
    let best = best_of_16(0u, 1u);
    workgroupBarrier();
    return best;
}

#part sample=allowed
// First word of the mask of tokens that a logit row may draw.
fn mask_of(item: u32) -> u32 {
    return logit_word(item, LOGIT_ALLOWED) * ((params.vocab + 31u) / 32u);
}

// Whether the mask that begins with the word `mask` has this token.
fn is_allowed(mask: u32, token: u32) -> bool {
    return ((allowed[mask + (token / 32u)] >> (token % 32u)) & 1u) != 0u;
}

#part keep=copy
@group(1) @binding(N) var<storage, read_write> kept: array<f32>;

fn keep(at: u32, l: f32) { kept[at] = l; }

#part keep=none
fn keep(at: u32, l: f32) {}

#part sample=draw
// Distances below the largest logit, in units of the temperature (nats): the probability relative to the
// largest is exp(-distance). No logit NEAR or more below it can be drawn, since the noise is from -2.9
// to 16.7. All such logits together have a share of at most vocab * exp(-32), 2e-9 for 131,072 tokens,
// of the probability.
const NEAR = 32.0;

fn distance_below(high: f32, l: f32, temperature: f32) -> f32 {
    return (high - l) * (1.0 / temperature);
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

// -log(-log(u)), where u has 23 bits; its error is at most 1e-4 even if the absolute error of log is 2^-21, as
// Vulkan allows between 0.5 and 2.
fn gumbel(seed: u32, position: u32, token: u32) -> f32 {
    let bits = hash(seed, position, token) >> 9u;
    let u = (f32(bits) + 0.5) / 8388608.0;
    // Near u = 1 log may return 0 or more, so -log(u) is a series in 1 - u, which is exact.
    let v = (f32(8388607u - bits) + 0.5) / 8388608.0;
    let series = v * (1.0 + (v * (0.5 + (v * (0.33333333 + (v * 0.25))))));
    return -log(select(-log(u), series, v < 0.015625));
}

// The best of a row's spans in `tops`, returned in each lane.
fn best_of_row(item: u32, lane: u32) -> Best {
    var best = Best(LOWEST, NOTHING);
    let spans = bound(params.spans);
    for (var i = lane; i < spans; i += WG) {
        let other = unpack(tops[(item * spans) + i]);
        if (better(other, best)) { best = other; }
    }
    return best_of_lanes(best, lane);
}

// The least logit that min-p keeps. The largest logit is always kept: with min_p = 1, a rounding error of
// log could put the cut above it.
fn min_p_cut(high: f32, temperature: f32, min_p: f32) -> f32 {
    if (min_p <= 0.0) { return LOWEST; }
    return min(high, high + (temperature * log(min_p)));
}

#part sample=bins
// Logits less than NEAR below the largest fall into WG = 256 bins by their distance, bin 0 the nearest. The
// distance never falls as the logit falls (a rounded difference times a constant), so bins are in the
// order of the logits and equal logits share a bin.
//
// The mass exp(-x) of a logit at the distance x in bin b is exp(-b / BINS_PER_NAT) * (1 - deficit). Counts and
// deficits are summed as integers, since atomics add them in any order. A deficit is rounded to
// params.deficit_unit, the least power of 2 for which `vocab` deficits fit 32 bits: 2^-19 for 65,536 logits,
// 2^-18 for 131,072. A sum of masses is thus within 3e-6 of its exact value, relatively: half a unit by
// rounding (2e-6; a mass in its bin is at least 0.88), and the f32 sums of 256 bins in a tree of 8 levels.
const BINS: u32 = WG;
const BINS_PER_NAT = 8.0;

fn bin_of(distance: f32) -> u32 { return u32(min(distance, NEAR) * BINS_PER_NAT); }

// 1 - exp(-r) in units, r the distance from the bin's beginning: a series for 0 <= r < 1/8, exact to 5e-9.
fn deficit(distance: f32, bin: u32) -> u32 {
    let r = distance - (f32(bin) / BINS_PER_NAT);
    let series = r * (1.0 - (r * (0.5 - (r * (0.16666667 - (r * (0.041666667 - (r * 0.0083333333))))))));
    return u32((series / params.deficit_unit) + 0.5);
}

// Count and mass of `count` logits, the mass in units of their bin's first logit.
fn count_and_mass(count: u32, deficits: u32) -> vec2<f32> {
    return vec2<f32>(f32(count), f32(count) - (f32(deficits) * params.deficit_unit));
}

fn mass_of_first(bin: u32) -> f32 { return exp(-f32(bin) / BINS_PER_NAT); }

// Whether top-k or top-p is on.
fn truncates(seq: u32) -> bool {
    return has_top_k(seq) || bitcast<f32>(seq_word(seq, SEQ_TOP_P)) < 1.0;
}

fn has_top_k(seq: u32) -> bool {
    let top_k = seq_word(seq, SEQ_TOP_K);
    return top_k > 0u && top_k < params.vocab;
}

#part sample=cuts
var<workgroup> sums: array<vec2<f32>, WG>;
var<workgroup> sums_of_16: array<vec2<f32>, 16>;
var<workgroup> first: u32;

// Inclusive sums of `own` over the lanes, in `sums`. WG is 256: each of 16 lanes sums 16 values in order, then
// each lane adds the sums before its 16. The order is fixed, and the sums never fall.
fn sum_lanes(own: vec2<f32>, lane: u32) {
    // Others may still read the sums before.
    workgroupBarrier();
    sums[lane] = own;
    workgroupBarrier();
    if (lane < 16u) {
        var sum = vec2<f32>(0.0);
        for (var i = lane * 16u; i < (lane + 1u) * 16u; i++) {
            sum += sums[i];
            sums[i] = sum;
        }
        sums_of_16[lane] = sum;
    }
    workgroupBarrier();
    var before = vec2<f32>(0.0);
    for (var i = 0u; i < lane / 16u; i++) { before += sums_of_16[i]; }
    sums[lane] += before;
    workgroupBarrier();
}

// sums[i] summed over lanes before `lane`.
fn sum_before(lane: u32) -> vec2<f32> {
    if (lane == 0u) { return vec2<f32>(0.0); }
    return sums[min(lane, WG) - 1u];
}

// The first lane whose sum is at least `wanted`, else WG. Sums never fall, so one lane finds it.
fn first_lane(wanted: vec2<f32>, lane: u32) -> u32 {
    let here = all(sums[lane] >= wanted);
    if (here && (lane == 0u || !all(sum_before(lane) >= wanted))) { first = lane; }
    if (lane == WG - 1u && !here) { first = WG; }
    workgroupBarrier();
    let found = first;
    workgroupBarrier();
    return found;
}

// Sums of counts and masses over a row's bins.
fn sum_bins(item: u32, lane: u32) {
    let at = (item * 2u * WG) + lane;
    let own = count_and_mass(histogram[at], histogram[at + WG]);
    sum_lanes(own * vec2<f32>(1.0, mass_of_first(lane)), lane);
}

// The bin of the logit at rank top_k; BINS if there is none.
fn top_k_bin(seq: u32, lane: u32) -> u32 {
    var bin = BINS;
    if (has_top_k(seq)) {
        bin = first_lane(vec2<f32>(f32(seq_word(seq, SEQ_TOP_K)), 0.0), lane);
    }
    return bin;
}

#part penalties=span
// For a GPU. Each workgroup reads the whole history and counts the tokens of its own span in workgroup
// memory, so a row needs no second dispatch, and no counts that are zero before and after.
var<workgroup> seen: array<atomic<u32>, SPAN>;

fn penalise_span(item: u32, penalties: Penalties, length: u32, span: u32, end: u32, lane: u32) {
    for (var i = lane; i < SPAN; i += WG) { atomicStore(&seen[i], 0u); }
    workgroupBarrier();
    let last = vec4<u32>(length - 1u);
    // A lane loads eight tokens at a time, so that their latencies overlap.
    for (var p = lane; p < length; p += 8u * WG) {
        let near = vec4<u32>(p) + vec4<u32>(0u, WG, 2u * WG, 3u * WG);
        let far = near + vec4<u32>(4u * WG);
        let a = tokens_at(min(near, last) + vec4<u32>(penalties.history)) - vec4<u32>(span);
        let b = tokens_at(min(far, last) + vec4<u32>(penalties.history)) - vec4<u32>(span);
        for (var j = 0u; j < 4u; j++) {
            count_token(a[j], near[j], length, penalties.generated_from);
            count_token(b[j], far[j], length, penalties.generated_from);
        }
    }
    workgroupBarrier();
    for (var token = span + lane; token < end; token += WG) {
        let found = atomicLoad(&seen[token - span]);
        let at = (item * params.vocab) + token;
        if (found != 0u) { logits[at] = penalise(logits[at], penalties, found); }
    }
}

fn tokens_at(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(history[at.x], history[at.y], history[at.z], history[at.w]);
}

fn count_token(i: u32, position: u32, length: u32, generated_from: u32) {
    if (i >= SPAN || position >= length) { return; }
    atomicOr(&seen[i], PRESENT);
    if (position >= generated_from) { atomicAdd(&seen[i], 1u); }
}

#part penalties=row
// For a CPU driver, where a row is one span: tokens are counted in storage, [n_logit_rows, 1 + vocab], all zero
// before and after. The lane that takes a token's count out applies it.
@group(1) @binding(N) var<storage, read_write> counts: array<atomic<u32>>;

fn penalise_span(item: u32, penalties: Penalties, length: u32, span: u32, end: u32, lane: u32) {
    let own = (item * (1u + params.vocab)) + 1u;
    for (var p = lane; p < length; p += WG) {
        let token = history[penalties.history + p];
        if (p >= penalties.generated_from) { atomicAdd(&counts[own + token], 1u); }
        atomicOr(&counts[own + token], PRESENT);
    }
    storageBarrier();
    workgroupBarrier();
    for (var p = lane; p < length; p += WG) {
        let token = history[penalties.history + p];
        let found = atomicExchange(&counts[own + token], 0u);
        let at = (item * params.vocab) + token;
        if (found != 0u) { logits[at] = penalise(logits[at], penalties, found); }
    }
}
