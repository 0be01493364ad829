// Q4: 4-bit integers in blocks of 32, d * (q - 8).
//   plane 0  4 words per block. Element 4 * w + n is in the low nibble of byte n of word w, element
//            16 + 4 * w + n in its high nibble, as in Q4_0
//   plane 1  one f16 per block: d
// The products of whole blocks use Inputs and load_inputs of import input, those of slices slice_inputs
// (lib/linear.wgsl).

#part weights=q4
// Two views of one buffer: `weight` by blocks of plane 0, `weight_words` by words of both planes.
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
#import words=q4

#part weights=q4_pairs
// For product=q4_slices: `weight` by pairs of words of plane 0.
@group(1) @binding(N) var<storage, read> weight: array<vec2<u32>>;
#import words=q4

#part words=q4
#import nibbles=word
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

fn block_scale(block: u32) -> f32 {
    return unpack2x16float(weight_words[params.plane1 + (block / 2u)] >> ((block << 4u) & 16u)).x;
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    let word = weight_words[((i / 8u) * 4u) + (i & 3u)] >> (i & 4u);
    let q = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    return (vec4<f32>(q) - 8.0) * block_scale(i / 8u);
}

// A word of a block, and the scales of two blocks.
struct Packed8 { word: u32, scales: u32 }
fn load8(i: u32) -> Packed8 {
    return Packed8(
        weight_words[((i / 8u) * 4u) + (i & 3u)], weight_words[params.plane1 + (i / 16u)]);
}
fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    let pair = unpack2x16float(packed.scales);
    let scale = select(pair.x, pair.y, (i & 8u) != 0u);
    let q = eight_nibbles(packed.word, 8.0);
    return mat2x4<f32>(q[0] * scale, q[1] * scale);
}

#part unit=q4
// `scale` holds d of the four rows.
#import unit=block
struct Unit { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, scale: vec4<f32> }

fn load_unit(at: vec4<u32>) -> Unit {
    return Unit(
        weight[at.x], weight[at.y], weight[at.z], weight[at.w],
        vec4<f32>(block_scale(at.x), block_scale(at.y), block_scale(at.z), block_scale(at.w)));
}

#part product=q4
// Inputs in f32.
#import unit=q4
#import nibbles=f32
fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let p = nibble_products(u.r0, u.r1, u.r2, u.r3, x);
    return Product(u.scale * (p.products - vec4<f32>(8.0 * p.x_sum)), x.squares);
}

#part product=q4_slices
// Inputs in f32; two words of each of four rows. Needs weights=q4_pairs.
#import unit=slices
#import nibbles=columns
struct Unit { first: vec4<u32>, second: vec4<u32>, scale: vec4<f32> }
struct Weights { columns: Columns, scale: vec4<f32> }

fn load_unit(at: vec4<u32>) -> Unit {
    let block = at / vec4<u32>(2u);
    let r0 = weight[at.x];
    let r1 = weight[at.y];
    let r2 = weight[at.z];
    let r3 = weight[at.w];
    return Unit(
        vec4<u32>(r0.x, r1.x, r2.x, r3.x), vec4<u32>(r0.y, r1.y, r2.y, r3.y),
        vec4<f32>(
            block_scale(block.x), block_scale(block.y), block_scale(block.z), block_scale(block.w)));
}

fn unpacked(u: Unit, slice: u32) -> Weights {
    return Weights(nibble_columns(select(u.first, u.second, slice == 1u), 8.0), u.scale);
}

fn unit_product(w: Weights, row_at: u32, slice: u32, lane: Lane) -> Product {
    let x = slice_inputs(row_at, slice);
    return Product(w.scale * columns_product(w.columns, x.a, x.b), x.squares);
}

#part product=q4_int8
// Inputs in 8 bits. The sums within a block are exact, in integers.
#import unit=q4
#import nibbles=int8
fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let dots = nibble_dots(u.r0, u.r1, u.r2, u.r3, x) - vec4<i32>(8 * (x.low_sum + x.high_sum));
    return Product((u.scale * x.scale) * vec4<f32>(dots), x.squares);
}

#part nibbles=word
#import integers=fields
// The low nibbles of a word's bytes, then the high ones, minus `zero`.
fn eight_nibbles(word: u32, zero: f32) -> mat2x4<f32> {
    let upper = word >> 12u;
    return mat2x4<f32>(
        integers(vec4<u32>(word, word, word, upper), vec4<u32>(0u, 8u, 16u, 12u), 15u, zero),
        integers(vec4<u32>(word, word, upper, upper), vec4<u32>(4u, 12u, 8u, 16u), 15u, zero));
}

#part nibbles=columns
#import integers=fields
#import columns=eight
// w has a word of each row. Its low nibbles are the first four columns, its high nibbles the others.
fn nibble_columns(w: vec4<u32>, zero: f32) -> Columns {
    let upper = w >> vec4<u32>(12u);
    return Columns(
        row_bits(w, 0u, 15u, zero), row_bits(w, 8u, 15u, zero),
        row_bits(w, 16u, 15u, zero), row_bits(upper, 12u, 15u, zero),
        row_bits(w, 4u, 15u, zero), row_bits(w, 12u, 15u, zero),
        row_bits(upper, 8u, 15u, zero), row_bits(upper, 16u, 15u, zero));
}

#part nibbles=eight
// `products`: for each of four rows, the dot product of its 4-bit integers with the inputs. `x_sum`: the sum
// of these inputs.
struct NibbleProducts { products: vec4<f32>, x_sum: f32 }

// w has a word of each row. Its low nibbles are multiplied by a, its high nibbles by b.
fn eight_columns(w: vec4<u32>, a: vec4<f32>, b: vec4<f32>) -> NibbleProducts {
    let low = w & vec4<u32>(0x0f0f0f0fu);
    let high = (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
    let byte = vec4<u32>(255u);
    var p = vec4<f32>(low & byte) * a.x;
    p += vec4<f32>(high & byte) * b.x;
    p += vec4<f32>((low >> vec4<u32>(8u)) & byte) * a.y;
    p += vec4<f32>((high >> vec4<u32>(8u)) & byte) * b.y;
    p += vec4<f32>((low >> vec4<u32>(16u)) & byte) * a.z;
    p += vec4<f32>((high >> vec4<u32>(16u)) & byte) * b.z;
    p += vec4<f32>(low >> vec4<u32>(24u)) * a.w;
    p += vec4<f32>(high >> vec4<u32>(24u)) * b.w;
    let sums = a + b;
    return NibbleProducts(p, sums.x + sums.y + sums.z + sums.w);
}

#part nibbles=f32
#import nibbles=eight
fn nibble_products(
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, x: Inputs
) -> NibbleProducts {
    let p0 = eight_columns(vec4<u32>(r0.x, r1.x, r2.x, r3.x), x.v0, x.v4);
    let p1 = eight_columns(vec4<u32>(r0.y, r1.y, r2.y, r3.y), x.v1, x.v5);
    let p2 = eight_columns(vec4<u32>(r0.z, r1.z, r2.z, r3.z), x.v2, x.v6);
    let p3 = eight_columns(vec4<u32>(r0.w, r1.w, r2.w, r3.w), x.v3, x.v7);
    return NibbleProducts(
        (p0.products + p1.products) + (p2.products + p3.products),
        (p0.x_sum + p1.x_sum) + (p2.x_sum + p3.x_sum));
}

#part nibbles=int8
// For each of four rows, the dot product of 32 unsigned 4-bit integers with 32 inputs of 8 bits, exact in
// integers.

// 16 bytes of a row: low nibbles are columns 0 .. 15, high nibbles columns 16 .. 31.
fn nibble_dot(w: vec4<u32>, x: Inputs) -> i32 {
    let low = w & vec4<u32>(0x0f0f0f0fu);
    let high = (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
    return dot4I8Packed(low.x, x.a.x) + dot4I8Packed(low.y, x.a.y)
        + dot4I8Packed(low.z, x.a.z) + dot4I8Packed(low.w, x.a.w)
        + dot4I8Packed(high.x, x.b.x) + dot4I8Packed(high.y, x.b.y)
        + dot4I8Packed(high.z, x.b.z) + dot4I8Packed(high.w, x.b.w);
}

fn nibble_dots(
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, x: Inputs
) -> vec4<i32> {
    return vec4<i32>(
        nibble_dot(r0, x), nibble_dot(r1, x), nibble_dot(r2, x), nibble_dot(r3, x));
}
