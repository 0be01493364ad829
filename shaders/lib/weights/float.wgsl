// Weights in f32, f16 and bf16, row major. docs/weights.md describes all formats. Every format has
//   weights   weight4(i), which decodes elements 4 i .. 4 i + 3, for all kernels that read weights;
//             and for matmul and matmul_coop, which load early and decode late, load8(i) and
//             decode8(packed, i): elements 4 i .. 4 i + 3 and 4 i + 16 .. 4 i + 19. In formats with
//             blocks, i & 4 = 0, so that both are in one block of 32
//   product   load_unit, unpacked and unit_product, for matvec, whose header describes them

#part weights=f32
@group(1) @binding(N) var<storage, read> weight: array<vec4<f32>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> { return weight[i]; }

alias Packed8 = mat2x4<f32>;
fn load8(i: u32) -> Packed8 { return Packed8(weight[i], weight[i + 4u]); }
fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> { return packed; }

#part weights=f16
// Two in a word, the first in the low half. Core WGSL: no device feature.
@group(1) @binding(N) var<storage, read> weight: array<vec2<u32>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    return halves4(weight[i]);
}

fn halves4(w: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
}

alias Packed8 = vec4<u32>;
fn load8(i: u32) -> Packed8 { return Packed8(weight[i], weight[i + 4u]); }
fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    return mat2x4<f32>(halves4(packed.xy), halves4(packed.zw));
}

#part weights=f16_native
// Loaded as f16: needs shader-f16.
@group(1) @binding(N) var<storage, read> weight: array<vec4<f16>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> { return vec4<f32>(weight[i]); }

struct Packed8 { a: vec4<f16>, b: vec4<f16> }
fn load8(i: u32) -> Packed8 { return Packed8(weight[i], weight[i + 4u]); }
fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    return mat2x4<f32>(vec4<f32>(packed.a), vec4<f32>(packed.b));
}

#part weights=bf16
// Two in a word, the first in the low half. bf16 is the upper half of an f32, so a shift decodes it.
@group(1) @binding(N) var<storage, read> weight: array<vec2<u32>>;

// Elements 4 i .. 4 i + 3.
fn weight4(i: u32) -> vec4<f32> {
    return halves4(weight[i]);
}

fn halves4(w: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(
        vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}

alias Packed8 = vec4<u32>;
fn load8(i: u32) -> Packed8 { return Packed8(weight[i], weight[i + 4u]); }
fn decode8(packed: Packed8, i: u32) -> mat2x4<f32> {
    return mat2x4<f32>(halves4(packed.xy), halves4(packed.zw));
}

#part product=float
// A unit is four columns of four rows.
#import unpack=later
#import result=unit
#import squares=own
const UNIT4 = 1u;
const UNIT_SLICES = 1u;
struct Unit { r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32> }

fn load_unit(at: vec4<u32>) -> Unit {
    return Unit(weight4(at.x), weight4(at.y), weight4(at.z), weight4(at.w));
}

fn unit_product(u: Unit, row_at: u32, unit: u32, lane: Lane) -> Product {
    let raw = x[row_at + unit];
    let v = normed(raw, unit);
    return Product(
        vec4<f32>(dot(u.r0, v), dot(u.r1, v), dot(u.r2, v), dot(u.r3, v)), squares4(raw));
}
