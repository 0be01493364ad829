// Formats of keys and values: for each a part that reads (import kv, in attention and flash_attention) and
// a part that writes (import kv_store, in qk_norm_rope_append). The last part has the parameters of flash
// attention.
//   Packed4     four values of a head as stored
//   Raw4        the same with all that decoding needs, so that a kernel can load early and decode late
//   load_key(i), load_value(i)   values 4 i .. 4 i + 3 of the pool
//   decode4(raw, i)              as floats; values 4 i .. are dimensions 4 (i % WIDTH) .. of a head
//   Tile4, tile4(raw, i), untile4(t)   the same on their way through workgroup memory: in 8 bytes if
//                                that is exact
//   store(v, to, i, lane)        writes vector i of the head `to`. All lanes of a workgroup call it
//                                together, TEAM lanes for TEAM vectors of a head

#part kv=f32
alias Packed4 = vec4<f32>;
alias Raw4 = vec4<f32>;
fn load_key(i: u32) -> Raw4 { return keys[i]; }
fn load_value(i: u32) -> Raw4 { return values[i]; }
fn decode4(raw: Raw4, i: u32) -> vec4<f32> { return raw; }
alias Tile4 = vec4<f32>;
fn tile4(raw: Raw4, i: u32) -> Tile4 { return raw; }
fn untile4(t: Tile4) -> vec4<f32> { return t; }

#part kv_store=f32
alias Packed4 = vec4<f32>;

fn store(v: vec4<f32>, to: Place, i: u32, lane: u32) {
    put(v, to, i);
}

#part kv=f16
// Four values in two words.
alias Packed4 = vec2<u32>;
alias Raw4 = vec2<u32>;
fn load_key(i: u32) -> Raw4 { return keys[i]; }
fn load_value(i: u32) -> Raw4 { return values[i]; }
fn decode4(raw: Raw4, i: u32) -> vec4<f32> { return untile4(raw); }
alias Tile4 = vec2<u32>;
fn tile4(raw: Raw4, i: u32) -> Tile4 { return raw; }
fn untile4(t: Tile4) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(t.x), unpack2x16float(t.y));
}

#part halves=nearest
fn is_nan4(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

// Four values as f16 in two words, rounded to nearest, ties to even. pack2x16float leaves the rounding to the driver:
// RADV's, for AMD, truncates, so that errors would be twice as large and all towards zero. Values that are rounded
// before are packed exactly. Packing is also undefined beyond the range of f16, so values are clamped to +-65504. clamp
// may turn a NaN into a number, which would hide the defect from later rows, so a NaN is kept as it is.
fn nearest_halves(v: vec4<f32>) -> vec2<u32> {
    let c = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    let bits = bitcast<vec4<u32>>(c);
    let even = (bits >> vec4<u32>(13u)) & vec4<u32>(1u);
    let normal = bitcast<vec4<f32>>((bits + vec4<u32>(0xfffu) + even) & vec4<u32>(0xffffe000u));
    // Below 2^-14, an f16 is a multiple of 2^-24.
    let denormal = round(c * 16777216.0) * 5.9604644775390625e-8;
    let rounded = select(normal, denormal, abs(c) < vec4<f32>(6.103515625e-5));
    let kept = select(rounded, v, is_nan4(v));
    return vec2<u32>(pack2x16float(kept.xy), pack2x16float(kept.zw));
}

#part kv_store=f16
#import halves=nearest
alias Packed4 = vec2<u32>;

fn store(v: vec4<f32>, to: Place, i: u32, lane: u32) { put(nearest_halves(v), to, i); }

#part kv=q8
// 8-bit integers in blocks of 32 dimensions of a head: d * q.
//   plane 0  a word for four values, value n in byte n, signed
//   plane 1  from params.kv_scales on: d of two blocks of a head in a word, as halves. A head has its
//            own words; with an odd number of blocks, its last high half is unused
#import integers=fields
alias Packed4 = u32;

struct Raw4 {
    integers: u32,
    scales: u32,
}

// Index of the word with d of the block of values 4 i .. 4 i + 3.
fn scale_at(i: u32) -> u32 {
    return params.kv_scales + ((i / WIDTH) * ((WIDTH + 15u) / 16u)) + ((i % WIDTH) / 16u);
}

fn load_key(i: u32) -> Raw4 { return Raw4(keys[i], keys[scale_at(i)]); }
fn load_value(i: u32) -> Raw4 { return Raw4(values[i], values[scale_at(i)]); }

fn decode4(raw: Raw4, i: u32) -> vec4<f32> {
    let pair = unpack2x16float(raw.scales);
    return signed_bytes(raw.integers) * select(pair.x, pair.y, ((i % WIDTH) & 8u) != 0u);
}

alias Tile4 = vec4<f32>;
fn tile4(raw: Raw4, i: u32) -> Tile4 { return decode4(raw, i); }
fn untile4(t: Tile4) -> vec4<f32> { return t; }

#part kv_store=q8
// d is the block's largest magnitude / 127, at least the smallest normal half and at most the largest,
// so no driver's handling of other halves matters. In a block with a NaN d is NaN, hence every value.
#import halves=nearest
alias Packed4 = u32;

// The largest magnitude of each lane's vector, -1 if it has a NaN.
var<workgroup> largest: array<f32, WG>;

// d, as a half, of the block of the eight lanes from `first` on.
fn block_scale(first: u32) -> u32 {
    var most = 0.0;
    var broken = false;
    for (var n = 0u; n < 8u; n++) {
        most = max(most, largest[first + n]);
        broken = broken || largest[first + n] < 0.0;
    }
    let half = nearest_halves(vec4<f32>(max(most / 127.0, 6.103515625e-5))).x;
    return select(half & 0xffffu, 0x7e00u, broken);
}

fn store(v: vec4<f32>, to: Place, i: u32, lane: u32) {
    let nan = is_nan4(v);
    let m = abs(v);
    largest[lane] = select(max(max(m.x, m.y), max(m.z, m.w)), -1.0, any(nan));
    workgroupBarrier();
    let first = lane - (lane % 16u);
    let low = block_scale(first);
    let high = block_scale(first + 8u);
    workgroupBarrier();
    // A head with an odd number of blocks has none for the last high half.
    let exists = i - (i % 16u) + 8u < to.width;
    let scales = low | select(0u, high << 16u, exists);
    let own = select(low, high, (lane & 8u) != 0u);
    let d = select(unpack2x16float(own).x, 1.0, own == 0x7e00u);
    let kept = select(v, vec4<f32>(0.0), nan);
    let q = vec4<i32>(round(clamp(kept / d, vec4<f32>(-127.0), vec4<f32>(127.0))));
    let bytes = (bitcast<vec4<u32>>(q) & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
    put(bytes.x | bytes.y | bytes.z | bytes.w, to, i);
    if (i % 16u == 0u && i < to.width) {
        let at = params.kv_scales + (to.head * ((to.width + 15u) / 16u)) + (i / 16u);
        if (to.pool == KEYS) { keys[at] = scales; }
        if (to.pool == VALUES) { values[at] = scales; }
    }
}

#part params=flash_attention
// Parameters, inputs and outputs of flash_attention and flash_attention_coop. Twin: Params in
// src/kernels/flash_attention.rs
struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    scale: f32,
    // First word of the scales in keys and values (kv=q8).
    kv_scales: u32,
}

@group(1) @binding(N) var<storage, read> q: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> keys: array<Packed4>;
@group(1) @binding(N) var<storage, read> values: array<Packed4>;
// [splits, n_heads][4 + HEAD_DIM]: for each split of a row's context m, l = sum_t exp(s_t - m), 0, 0, then
// sum_t exp(s_t - m) v_t. m is the highest score, or at most SLACK below it
// (flash_attention_coop). l and the sums may be multiplied by one common factor.
@group(1) @binding(N) var<storage, read_write> partial_out: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> o: array<vec4<f32>>;

// The vec4 of a row's partial result at which the split's m is.
fn partial_at(row: u32, head: u32, split: u32) -> u32 {
    return partial_row(row, split, head, params.n_heads) * (1u + (HEAD_DIM / 4u));
}
