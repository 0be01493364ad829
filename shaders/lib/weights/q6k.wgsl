// Q6_K of ggml: 6-bit integers in blocks of 256 with sub-blocks of 16, d * sc * (q - 32).
//   plane 0  32 words a block, 4 for each 32 elements: the low bits of element 4 w + n in the low
//            half of byte n of word w, those of element 16 + 4 w + n in the high half
//   plane 1  16 words a block, the upper 2 of element 16 w + n in bits 2 n, 2 n + 1 of word w
//   plane 2  4 words a block: the scale sc of sub-block 4 w + n in byte n of word w, signed
//   plane 3  a half a block: d

#part weights=q6k
#import integers=fields
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

// d * sc of a sub-block by its index.
fn sub_scale(sub: u32) -> f32 {
    let block = sub / 16u;
    let pair = unpack2x16float(weight_words[params.plane3 + (block / 2u)]);
    let scales = weight_words[params.plane2 + (sub / 4u)];
    let scale = bitcast<i32>(scales << (24u - ((sub & 3u) * 8u))) >> 24u;
    return select(pair.x, pair.y, (block & 1u) != 0u) * f32(scale);
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let word = weight_words[((i / 8u) * 4u) + (i & 3u)] >> (i & 4u);
    let low = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    let pairs = weight_words[params.plane1 + (i / 4u)] >> ((i & 3u) * 8u);
    let high = (vec4<u32>(pairs) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
    return (vec4<f32>(low | (high << vec4<u32>(4u))) - 32.0) * sub_scale(i / 4u);
}

// A word of the low bits, one of the upper bits of each of two sub-blocks, the scales of four
// sub-blocks, and those of two blocks.
struct Packed8 { word: u32, upper0: u32, upper1: u32, scales: u32, blocks: u32 }
fn load8(i: u32) -> Packed8 {
    let sub = i / 4u;
    return Packed8(
        weight_words[((i / 8u) * 4u) + (i & 3u)],
        weight_words[params.plane1 + sub], weight_words[params.plane1 + sub + 1u],
        weight_words[params.plane2 + (sub / 4u)], weight_words[params.plane3 + (sub / 32u)]);
}

// Four integers: their low 4 bits are the bytes of `low`, their upper 2 the lowest byte of `upper`.
fn six_bits4(low: u32, upper: u32) -> vec4<f32> {
    let high = (vec4<u32>(upper) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
    let q = unpack4xU8(low & 0x0f0f0f0fu) | (high << vec4<u32>(4u));
    return integers(q, vec4<u32>(0u), 63u, 32.0);
}

fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    let pair = unpack2x16float(packed.blocks);
    let scales = unpack4xI8(packed.scales >> ((i & 8u) * 2u));
    let scale = select(pair.x, pair.y, (i & 64u) != 0u) * vec2<f32>(scales.xy);
    let byte = (i & 3u) * 8u;
    return mat2x4<f32>(
        six_bits4(packed.word, packed.upper0 >> byte) * scale.x,
        six_bits4(packed.word >> 4u, packed.upper1 >> byte) * scale.y);
}

#part sub_blocks=q6k
// Upper bits and scales of a sub-block of four rows.
fn upper_bits(at: vec4<u32>) -> vec4<u32> {
    let i = at + vec4<u32>(params.plane1);
    return vec4<u32>(
        weight_words[i.x], weight_words[i.y], weight_words[i.z], weight_words[i.w]);
}

fn sub_scales(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(sub_scale(at.x), sub_scale(at.y), sub_scale(at.z), sub_scale(at.w));
}

#part unit=q6k
// A block of 32 columns is two sub-blocks, by half the index of the first.
#import unit=block
#import sub_blocks=q6k
struct Unit {
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>,
    upper0: vec4<u32>, upper1: vec4<u32>, scale0: vec4<f32>, scale1: vec4<f32>,
}

fn load_unit(at: vec4<u32>) -> Unit {
    let sub = at * 2u;
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        upper_bits(sub), upper_bits(sub + vec4<u32>(1u)),
        sub_scales(sub), sub_scales(sub + vec4<u32>(1u)));
}

#part columns=q6k
// Products of four columns: their low bits are in the low halves of the bytes of `low`, their upper
// ones in the lowest byte of `upper`.
fn four_columns(low: vec4<u32>, upper: vec4<u32>, v: vec4<f32>) -> vec4<f32> {
    let nibble = vec4<u32>(15u);
    let pair = vec4<u32>(0x30u);
    let q0 = (low & nibble) | ((upper << vec4<u32>(4u)) & pair);
    let q1 = ((low >> vec4<u32>(8u)) & nibble) | ((upper << vec4<u32>(2u)) & pair);
    let q2 = ((low >> vec4<u32>(16u)) & nibble) | (upper & pair);
    let q3 = ((low >> vec4<u32>(24u)) & nibble) | ((upper >> vec4<u32>(2u)) & pair);
    return ((vec4<f32>(q0) - 32.0) * v.x) + ((vec4<f32>(q1) - 32.0) * v.y)
        + ((vec4<f32>(q2) - 32.0) * v.z) + ((vec4<f32>(q3) - 32.0) * v.w);
}

#part product=q6k
// Inputs in f32.
#import unit=q6k
#import columns=q6k
fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let w0 = vec4<u32>(u.r0.x, u.r1.x, u.r2.x, u.r3.x);
    let w1 = vec4<u32>(u.r0.y, u.r1.y, u.r2.y, u.r3.y);
    let w2 = vec4<u32>(u.r0.z, u.r1.z, u.r2.z, u.r3.z);
    let w3 = vec4<u32>(u.r0.w, u.r1.w, u.r2.w, u.r3.w);
    let high = vec4<u32>(4u);
    let byte = vec4<u32>(8u);
    var first = four_columns(w0, u.upper0, x.v0);
    first += four_columns(w1, u.upper0 >> byte, x.v1);
    first += four_columns(w2, u.upper0 >> vec4<u32>(16u), x.v2);
    first += four_columns(w3, u.upper0 >> vec4<u32>(24u), x.v3);
    var second = four_columns(w0 >> high, u.upper1, x.v4);
    second += four_columns(w1 >> high, u.upper1 >> byte, x.v5);
    second += four_columns(w2 >> high, u.upper1 >> vec4<u32>(16u), x.v6);
    second += four_columns(w3 >> high, u.upper1 >> vec4<u32>(24u), x.v7);
    return Product((u.scale0 * first) + (u.scale1 * second), x.squares);
}

#part product=q6k_slices
// Inputs in f32; of each of four rows two words of low bits, two bytes of upper bits of each sub-block (in the lower
// and the upper half of `upper`), and the scales: d as a half, below the bytes of both sub-blocks. So a unit takes 16
// registers; with scales in f32 it would take 20.
#import unit=slices
#import sub_blocks=q6k
#import columns=bytes
struct Unit { first: vec4<u32>, second: vec4<u32>, upper: vec4<u32>, scales: vec4<u32> }

// The scales of two sub-blocks, by the index of the first.
fn packed_scales(sub: u32) -> u32 {
    let block = sub / 16u;
    let d = weight_words[params.plane3 + (block / 2u)] >> ((block & 1u) * 16u);
    let pair = weight_words[params.plane2 + (sub / 4u)] >> ((sub & 2u) * 8u);
    return (d & 0xffffu) | (pair << 16u);
}

fn load_unit(at: vec4<u32>) -> Unit {
    let i = at * 2u;
    let sub = (at / vec4<u32>(2u)) * 2u;
    // Byte w of a sub-block's word has the upper bits of columns 4 w .. 4 w + 3.
    let bytes = (at & vec4<u32>(1u)) * 16u;
    let upper0 = (upper_bits(sub) >> bytes) & vec4<u32>(0xffffu);
    let upper1 = (upper_bits(sub + vec4<u32>(1u)) >> bytes) << vec4<u32>(16u);
    return Unit(
        words_of(i), words_of(i + 1u),
        upper0 | upper1,
        vec4<u32>(
            packed_scales(sub.x), packed_scales(sub.y), packed_scales(sub.z), packed_scales(sub.w)));
}

// Four pairs of bits of the lowest byte as bits 4 and 5 of four bytes.
fn pairs4(bits: vec4<u32>) -> vec4<u32> {
    let byte = bits & vec4<u32>(255u);
    let halves = (byte | (byte << vec4<u32>(12u))) & vec4<u32>(0x000f000fu);
    let bytes = (halves | (halves << vec4<u32>(6u))) & vec4<u32>(0x03030303u);
    return bytes << vec4<u32>(4u);
}

alias Weights = Columns;

fn unpacked(u: Unit, slice: u32) -> Weights {
    let low = vec4<u32>(0x0f0f0f0fu);
    let words = select(u.first, u.second, slice == 1u);
    let upper = u.upper >> vec4<u32>(slice * 8u);
    let q = columns_of(
        (words & low) | pairs4(upper),
        ((words >> vec4<u32>(4u)) & low) | pairs4(upper >> vec4<u32>(16u)),
        32.0);
    let d = vec4<f32>(
        unpack2x16float(u.scales.x).x, unpack2x16float(u.scales.y).x,
        unpack2x16float(u.scales.z).x, unpack2x16float(u.scales.w).x);
    let scales = bitcast<vec4<i32>>(u.scales);
    let first = d * vec4<f32>((scales << vec4<u32>(8u)) >> vec4<u32>(24u));
    let second = d * vec4<f32>(scales >> vec4<u32>(24u));
    return Columns(
        q.c0 * first, q.c1 * first, q.c2 * first, q.c3 * first,
        q.c4 * second, q.c5 * second, q.c6 * second, q.c7 * second);
}

fn unit_product(w: Weights, row_at: u32, slice: u32, lane: Lane) -> Product {
    let x = slice_inputs(row_at, slice);
    return Product(columns_product(w, x.a, x.b), x.squares);
}

#part product=q6k_int8
// Inputs in 8 bits: sums are exact, in integers.
#import unit=q6k
// Four pairs of bits from the lowest on as bits 4 and 5 of four bytes.
fn spread(pairs: u32) -> u32 {
    return ((pairs & 3u) << 4u) | ((pairs & 0xcu) << 10u) | ((pairs & 0x30u) << 16u)
        | ((pairs & 0xc0u) << 22u);
}

// 16 columns: a word's bytes hold their low bits in their low halves.
fn sixteen_dot(low: vec4<u32>, upper: u32, inputs: vec4<u32>) -> i32 {
    let nibbles = low & vec4<u32>(0x0f0f0f0fu);
    return dot4I8Packed(nibbles.x | spread(upper), inputs.x)
        + dot4I8Packed(nibbles.y | spread(upper >> 8u), inputs.y)
        + dot4I8Packed(nibbles.z | spread(upper >> 16u), inputs.z)
        + dot4I8Packed(nibbles.w | spread(upper >> 24u), inputs.w);
}

fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let high = vec4<u32>(4u);
    let first = vec4<i32>(
        sixteen_dot(u.r0, u.upper0.x, x.a), sixteen_dot(u.r1, u.upper0.y, x.a),
        sixteen_dot(u.r2, u.upper0.z, x.a), sixteen_dot(u.r3, u.upper0.w, x.a));
    let second = vec4<i32>(
        sixteen_dot(u.r0 >> high, u.upper1.x, x.b), sixteen_dot(u.r1 >> high, u.upper1.y, x.b),
        sixteen_dot(u.r2 >> high, u.upper1.z, x.b), sixteen_dot(u.r3 >> high, u.upper1.w, x.b));
    return Product(
        x.scale * ((u.scale0 * vec4<f32>(first - vec4<i32>(32 * x.low_sum)))
            + (u.scale1 * vec4<f32>(second - vec4<i32>(32 * x.high_sum)))),
        x.squares);
}
