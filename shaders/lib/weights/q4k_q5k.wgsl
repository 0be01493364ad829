// Q4_K and Q5_K of ggml: 4-bit and 5-bit integers in blocks of 256 with sub-blocks of 32,
// d * sc * q - m * mn. eight_nibbles and the functions nibble_* are in q4.wgsl, integers and columns_of in the prelude.
//   nibbles  plane 0: 32 words a block, 4 a sub-block: the low 4 bits of element 4 w + n in the low
//            half of byte n of word w, those of element 16 + 4 w + n in the high half
//   fifths   Q5_K, plane 1: 8 words a block, the fifth bit of element 32 w + n in bit n of word w
//   heads    Q4_K plane 1, Q5_K plane 2: 4 words a block: d and m as halves; the low 4 bits of eight
//            scales sc; those of eight minima mn; the upper 2 bits of the scales, then of the minima

#part blocks=k
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

// d * sc and m * mn of a sub-block by its index; `heads` is the first word of the heads' plane.
fn scale_and_minimum(heads: u32, sub: u32) -> vec2<f32> {
    return of_head(weight[(heads / 4u) + (sub / 8u)], sub & 7u);
}

// The same of the i-th sub-block of a block, by the block's head.
fn of_head(head: vec4<u32>, i: u32) -> vec2<f32> {
    let upper = vec2<u32>(head.w >> (2u * i), head.w >> (16u + (2u * i))) & vec2<u32>(3u);
    let lower = (head.yz >> vec2<u32>(4u * i)) & vec2<u32>(15u);
    return unpack2x16float(head.x) * vec2<f32>(lower | (upper << vec2<u32>(4u)));
}

// Low 4 bits of elements 4 i .. 4 i + 3.
fn nibbles4(i: u32) -> vec4<u32> {
    let word = weight_words[((i / 8u) * 4u) + (i & 3u)] >> (i & 4u);
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
}

#part weights=q4k
#import nibbles=word
#import blocks=k
fn sub_block(sub: u32) -> vec2<f32> { return scale_and_minimum(params.plane1, sub); }

// A word of a sub-block, and its block's head.
struct Packed8 { word: u32, head: vec4<u32> }
fn load8(i: u32) -> Packed8 {
    return Packed8(
        weight_words[((i / 8u) * 4u) + (i & 3u)], weight[(params.plane1 / 4u) + (i / 64u)]);
}
fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    let s = of_head(packed.head, (i / 8u) & 7u);
    let q = eight_nibbles(packed.word, 0.0);
    return mat2x4<f32>((q[0] * s.x) - s.y, (q[1] * s.x) - s.y);
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let s = sub_block(i / 8u);
    return (vec4<f32>(nibbles4(i)) * s.x) - s.y;
}

#part weights=q5k
#import integers=fields
#import blocks=k
fn sub_block(sub: u32) -> vec2<f32> { return scale_and_minimum(params.plane2, sub); }

// A word of a sub-block, its fifth bits, and its block's head.
struct Packed8 { word: u32, fifths: u32, head: vec4<u32> }
fn load8(i: u32) -> Packed8 {
    return Packed8(
        weight_words[((i / 8u) * 4u) + (i & 3u)],
        weight_words[params.plane1 + (i / 8u)],
        weight[(params.plane2 / 4u) + (i / 64u)]);
}

// Bits `first` .. `first` + 3 as bit 4 of four integers.
fn fifths4(fifths: u32, first: u32) -> vec4<u32> {
    let bits = (vec4<u32>(fifths) >> (vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u))) & vec4<u32>(1u);
    return bits << vec4<u32>(4u);
}

fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    let s = of_head(packed.head, (i / 8u) & 7u);
    let low = unpack4xU8(packed.word & 0x0f0f0f0fu) | fifths4(packed.fifths, (i & 3u) * 4u);
    let high = unpack4xU8((packed.word >> 4u) & 0x0f0f0f0fu)
        | fifths4(packed.fifths, ((i & 3u) * 4u) + 16u);
    let first = vec4<u32>(0u);
    return mat2x4<f32>(
        (integers(low, first, 31u, 0.0) * s.x) - s.y, (integers(high, first, 31u, 0.0) * s.x) - s.y);
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let fifths = weight_words[params.plane1 + (i / 8u)] >> ((i & 7u) * 4u);
    let high = (vec4<u32>(fifths) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
    let s = sub_block(i / 8u);
    return (vec4<f32>(nibbles4(i) | (high << vec4<u32>(4u))) * s.x) - s.y;
}

#part unit=q4k
#import unit=block
struct Unit {
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>,
    scale: vec4<f32>, minimum: vec4<f32>,
}

fn load_unit(at: vec4<u32>) -> Unit {
    let s0 = sub_block(at.x);
    let s1 = sub_block(at.y);
    let s2 = sub_block(at.z);
    let s3 = sub_block(at.w);
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        vec4<f32>(s0.x, s1.x, s2.x, s3.x), vec4<f32>(s0.y, s1.y, s2.y, s3.y));
}

#part product=q4k
// Inputs in f32.
#import unit=q4k
#import nibbles=f32
fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let p = nibble_products(u.r0, u.r1, u.r2, u.r3, x);
    return Product((u.scale * p.products) - (u.minimum * p.x_sum), x.squares);
}

#part slices=k
// Inputs in f32; two words of each of four rows, with scales and minima of their sub-blocks.
#import unit=slices
#import columns=eight
struct Words { first: vec4<u32>, second: vec4<u32>, scale: vec4<f32>, minimum: vec4<f32> }

fn load_words(at: vec4<u32>) -> Words {
    let i = at * 2u;
    let sub = at / vec4<u32>(2u);
    let s0 = sub_block(sub.x);
    let s1 = sub_block(sub.y);
    let s2 = sub_block(sub.z);
    let s3 = sub_block(sub.w);
    return Words(
        words_of(i), words_of(i + 1u),
        vec4<f32>(s0.x, s1.x, s2.x, s3.x), vec4<f32>(s0.y, s1.y, s2.y, s3.y));
}

struct Weights { columns: Columns, scale: vec4<f32>, minimum: vec4<f32> }

fn unit_product(w: Weights, row_at: u32, slice: u32, lane: Lane) -> Product {
    let x = slice_inputs(row_at, slice);
    let sums = x.a + x.b;
    let x_sum = sums.x + sums.y + sums.z + sums.w;
    return Product(
        (w.scale * columns_product(w.columns, x.a, x.b)) - (w.minimum * x_sum), x.squares);
}

#part product=q4k_slices
#import slices=k
#import nibbles=columns
alias Unit = Words;

fn load_unit(at: vec4<u32>) -> Unit { return load_words(at); }

fn unpacked(u: Unit, slice: u32) -> Weights {
    return Weights(
        nibble_columns(select(u.first, u.second, slice == 1u), 0.0), u.scale, u.minimum);
}

#part product=q4k_int8
// Inputs in 8 bits: sums are exact, in integers.
#import unit=q4k
#import nibbles=int8
fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let dots = vec4<f32>(nibble_dots(u.r0, u.r1, u.r2, u.r3, x));
    return Product(
        x.scale * ((u.scale * dots) - (u.minimum * f32(x.low_sum + x.high_sum))), x.squares);
}

#part unit=q5k
#import unit=block
struct Unit {
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>,
    fifths: vec4<u32>, scale: vec4<f32>, minimum: vec4<f32>,
}

fn load_unit(at: vec4<u32>) -> Unit {
    let s0 = sub_block(at.x);
    let s1 = sub_block(at.y);
    let s2 = sub_block(at.z);
    let s3 = sub_block(at.w);
    let fifth = at + vec4<u32>(params.plane1);
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        vec4<u32>(
            weight_words[fifth.x], weight_words[fifth.y],
            weight_words[fifth.z], weight_words[fifth.w]),
        vec4<f32>(s0.x, s1.x, s2.x, s3.x), vec4<f32>(s0.y, s1.y, s2.y, s3.y));
}

#part fifths=four
// Products of bit `first` .. `first` + 3 of each row's word with four inputs.
fn four_bits(bits: vec4<u32>, first: u32, v: vec4<f32>) -> vec4<f32> {
    let b = bits >> vec4<u32>(first);
    let one = vec4<u32>(1u);
    return (vec4<f32>(b & one) * v.x) + (vec4<f32>((b >> vec4<u32>(1u)) & one) * v.y)
        + (vec4<f32>((b >> vec4<u32>(2u)) & one) * v.z)
        + (vec4<f32>((b >> vec4<u32>(3u)) & one) * v.w);
}

#part product=q5k
// Inputs in f32.
#import unit=q5k
#import nibbles=f32
#import fifths=four
fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let p = nibble_products(u.r0, u.r1, u.r2, u.r3, x);
    var fifths = vec4<f32>(0.0);
    fifths += four_bits(u.fifths, 0u, x.v0);
    fifths += four_bits(u.fifths, 4u, x.v1);
    fifths += four_bits(u.fifths, 8u, x.v2);
    fifths += four_bits(u.fifths, 12u, x.v3);
    fifths += four_bits(u.fifths, 16u, x.v4);
    fifths += four_bits(u.fifths, 20u, x.v5);
    fifths += four_bits(u.fifths, 24u, x.v6);
    fifths += four_bits(u.fifths, 28u, x.v7);
    return Product(
        (u.scale * (p.products + (16.0 * fifths))) - (u.minimum * p.x_sum), x.squares);
}

#part product=q5k_slices
#import slices=k
#import columns=bytes
struct Unit { low: Words, fifths: vec4<u32> }

fn load_unit(at: vec4<u32>) -> Unit {
    let i = (at / vec4<u32>(2u)) + vec4<u32>(params.plane1);
    let fifths = words_of(i);
    // Bits 4 w .. of the word belong to the first columns of slice w, bits 16 + 4 w .. to its others.
    return Unit(load_words(at), fifths >> ((at & vec4<u32>(1u)) * 8u));
}

// The lowest four bits of each row as bit 4 of four bytes. The product moves bit n to bit 8 n.
fn fifths_of_rows(bits: vec4<u32>) -> vec4<u32> {
    let spread = (bits & vec4<u32>(15u)) * vec4<u32>(0x00204081u);
    return (spread & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn unpacked(u: Unit, slice: u32) -> Weights {
    let low = vec4<u32>(0x0f0f0f0fu);
    let words = select(u.low.first, u.low.second, slice == 1u);
    let fifths = u.fifths >> vec4<u32>(slice * 4u);
    let first = (words & low) | fifths_of_rows(fifths);
    let second = ((words >> vec4<u32>(4u)) & low) | fifths_of_rows(fifths >> vec4<u32>(16u));
    return Weights(columns_of(first, second, 0.0), u.low.scale, u.low.minimum);
}

#part product=q5k_int8
// Inputs in 8 bits: sums are exact, in integers.
#import unit=q5k
#import nibbles=int8
// Four bits from bit `first` on as four bytes of 0 or 1.
fn spread(bits: u32, first: u32) -> u32 {
    let b = bits >> first;
    return (b & 1u) | ((b & 2u) << 7u) | ((b & 4u) << 14u) | ((b & 8u) << 21u);
}

fn fifth_dot(bits: u32, x: Inputs) -> i32 {
    return dot4I8Packed(spread(bits, 0u), x.a.x) + dot4I8Packed(spread(bits, 4u), x.a.y)
        + dot4I8Packed(spread(bits, 8u), x.a.z) + dot4I8Packed(spread(bits, 12u), x.a.w)
        + dot4I8Packed(spread(bits, 16u), x.b.x) + dot4I8Packed(spread(bits, 20u), x.b.y)
        + dot4I8Packed(spread(bits, 24u), x.b.z) + dot4I8Packed(spread(bits, 28u), x.b.w);
}

fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let fifths = vec4<i32>(
        fifth_dot(u.fifths.x, x), fifth_dot(u.fifths.y, x),
        fifth_dot(u.fifths.z, x), fifth_dot(u.fifths.w, x));
    let dots = nibble_dots(u.r0, u.r1, u.r2, u.r3, x) + (16 * fifths);
    return Product(
        x.scale * ((u.scale * vec4<f32>(dots)) - (u.minimum * f32(x.low_sum + x.high_sum))),
        x.squares);
}
