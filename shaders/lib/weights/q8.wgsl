// Q8: 8-bit integers in blocks of 32, d * q.
//   plane 0  8 words a block, element 4 w + n in byte n of word w, signed
//   plane 1  a half a block: d

#part weights=q8
#import integers=fields
@group(1) @binding(N) var<storage, read> weight: array<vec4<u32>>;
@group(1) @binding(N) var<storage, read> weight_words: array<u32>;

fn block_scale(block: u32) -> f32 {
    return unpack2x16float(weight_words[params.plane1 + (block / 2u)] >> ((block << 4u) & 16u)).x;
}

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> { return signed_bytes(weight_words[i]) * block_scale(i / 8u); }

// Two words of a block, and the scales of two blocks.
struct Packed8 { a: u32, b: u32, scales: u32 }
fn load8(i: u32) -> Packed8 {
    return Packed8(
        weight_words[i], weight_words[i + 4u], weight_words[params.plane1 + (i / 16u)]);
}
fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    let pair = unpack2x16float(packed.scales);
    let scale = select(pair.x, pair.y, (i & 8u) != 0u);
    return mat2x4<f32>(signed_bytes(packed.a) * scale, signed_bytes(packed.b) * scale);
}

#part unit=q8
#import unit=block
struct Unit {
    a0: vec4<u32>, a1: vec4<u32>, a2: vec4<u32>, a3: vec4<u32>,
    b0: vec4<u32>, b1: vec4<u32>, b2: vec4<u32>, b3: vec4<u32>,
    scale: vec4<f32>,
}

fn load_unit(at: vec4<u32>) -> Unit {
    let i = at * 2u;
    return Unit(
        weight[i.x], weight[i.y], weight[i.z], weight[i.w],
        weight[i.x + 1u], weight[i.y + 1u], weight[i.z + 1u], weight[i.w + 1u],
        vec4<f32>(block_scale(at.x), block_scale(at.y), block_scale(at.z), block_scale(at.w)));
}

#part bytes=four
// Takes one word of each row: four columns.
fn byte_products(r0: u32, r1: u32, r2: u32, r3: u32, v: vec4<f32>) -> vec4<f32> {
    let w = bitcast<vec4<i32>>(vec4<u32>(r0, r1, r2, r3));
    let shift = vec4<u32>(24u);
    return (vec4<f32>((w << shift) >> shift) * v.x)
        + (vec4<f32>((w << vec4<u32>(16u)) >> shift) * v.y)
        + (vec4<f32>((w << vec4<u32>(8u)) >> shift) * v.z)
        + (vec4<f32>(w >> shift) * v.w);
}

#part product=q8
// Inputs in f32.
#import unit=q8
#import bytes=four
fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    var p = byte_products(u.a0.x, u.a1.x, u.a2.x, u.a3.x, x.v0);
    p += byte_products(u.a0.y, u.a1.y, u.a2.y, u.a3.y, x.v1);
    p += byte_products(u.a0.z, u.a1.z, u.a2.z, u.a3.z, x.v2);
    p += byte_products(u.a0.w, u.a1.w, u.a2.w, u.a3.w, x.v3);
    p += byte_products(u.b0.x, u.b1.x, u.b2.x, u.b3.x, x.v4);
    p += byte_products(u.b0.y, u.b1.y, u.b2.y, u.b3.y, x.v5);
    p += byte_products(u.b0.z, u.b1.z, u.b2.z, u.b3.z, x.v6);
    p += byte_products(u.b0.w, u.b1.w, u.b2.w, u.b3.w, x.v7);
    return Product(u.scale * p, x.squares);
}

#part product=q8_slices
// Inputs in f32; two words of each slice in each of four rows.
#import unit=slices
#import integers=fields
#import columns=eight
struct Words { a: vec4<u32>, b: vec4<u32> }
struct Unit { first: Words, second: Words, scale: vec4<f32> }
struct Weights { columns: Columns, scale: vec4<f32> }

fn load_unit(at: vec4<u32>) -> Unit {
    let block = at / vec4<u32>(2u);
    let i = (block * 8u) + ((at & vec4<u32>(1u)) * 2u);
    return Unit(
        Words(words_of(i), words_of(i + 4u)), Words(words_of(i + 1u), words_of(i + 5u)),
        vec4<f32>(
            block_scale(block.x), block_scale(block.y), block_scale(block.z), block_scale(block.w)));
}

fn unpacked(u: Unit, slice: u32) -> Weights {
    let second = slice == 1u;
    // With its sign bit inverted, a byte is 128 more.
    let signs = vec4<u32>(0x80808080u);
    let a = select(u.first.a, u.second.a, second) ^ signs;
    let b = select(u.first.b, u.second.b, second) ^ signs;
    let a2 = a >> vec4<u32>(16u);
    let b2 = b >> vec4<u32>(16u);
    return Weights(
        Columns(
            row_bits(a, 0u, 255u, 128.0), row_bits(a, 8u, 255u, 128.0),
            row_bits(a2, 0u, 255u, 128.0), row_bits(a2, 8u, 255u, 128.0),
            row_bits(b, 0u, 255u, 128.0), row_bits(b, 8u, 255u, 128.0),
            row_bits(b2, 0u, 255u, 128.0), row_bits(b2, 8u, 255u, 128.0)),
        u.scale);
}

fn unit_product(w: Weights, row_at: u32, slice: u32, lane: Lane) -> Product {
    let x = slice_inputs(row_at, slice);
    return Product(w.scale * columns_product(w.columns, x.a, x.b), x.squares);
}

#part product=q8_int8
// Inputs in 8 bits: sums are exact, in integers.
#import unit=q8
fn byte_dot(a: vec4<u32>, b: vec4<u32>, x: Inputs) -> i32 {
    return dot4I8Packed(a.x, x.a.x) + dot4I8Packed(a.y, x.a.y)
        + dot4I8Packed(a.z, x.a.z) + dot4I8Packed(a.w, x.a.w)
        + dot4I8Packed(b.x, x.b.x) + dot4I8Packed(b.y, x.b.y)
        + dot4I8Packed(b.z, x.b.z) + dot4I8Packed(b.w, x.b.w);
}

fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let x = load_inputs(row_at, unit * UNIT4, lane);
    let dots = vec4<i32>(
        byte_dot(u.a0, u.b0, x), byte_dot(u.a1, u.b1, x),
        byte_dot(u.a2, u.b2, x), byte_dot(u.a3, u.b3, x));
    return Product((u.scale * x.scale) * vec4<f32>(dots), x.squares);
}
