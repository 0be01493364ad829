// Inputs of a product, [inputs, cols] in f32, rounded to 8 bits in blocks of 32 by who reads them:
// q = round(x * 127 / max|x|), so the error of an input is at most max|x| / 254 of its block. Costs
// no dispatch of its own and less than the conversions of weights to f32 that it saves.
@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

// A word holds four columns; element 4 n + i is byte i of word n.
struct Inputs {
    a: vec4<u32>,
    b: vec4<u32>,
    scale: f32,
    // Sums of the integers of columns 0 .. 15 and 16 .. 31.
    low_sum: i32,
    high_sum: i32,
}

// The largest magnitude as bits, which are in the order of the magnitudes and end with infinity and
// NaN: a NaN among the inputs is not lost.
fn largest(v: vec4<f32>) -> u32 {
    let a = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    return max(max(a.x, a.y), max(a.z, a.w));
}

fn rounded(v: vec4<f32>, inverse: f32) -> u32 { return pack4xI8(vec4<i32>(round(v * inverse))); }

fn sum_of(words: vec4<u32>) -> i32 {
    let ones = 0x01010101u;
    return dot4I8Packed(words.x, ones) + dot4I8Packed(words.y, ones)
        + dot4I8Packed(words.z, ones) + dot4I8Packed(words.w, ones);
}

fn load_inputs(i: u32, lane: Lane) -> Inputs {
    let v0 = x[i];
    let v1 = x[i + 1u];
    let v2 = x[i + 2u];
    let v3 = x[i + 3u];
    let v4 = x[i + 4u];
    let v5 = x[i + 5u];
    let v6 = x[i + 6u];
    let v7 = x[i + 7u];
    let most = bitcast<f32>(max(
        max(max(largest(v0), largest(v1)), max(largest(v2), largest(v3))),
        max(max(largest(v4), largest(v5)), max(largest(v6), largest(v7)))));
    // A block of smaller values counts as zeros: 127 / most must be finite.
    let inverse = select(0.0, 127.0 / most, most >= 1e-30);
    let a = vec4<u32>(
        rounded(v0, inverse), rounded(v1, inverse), rounded(v2, inverse), rounded(v3, inverse));
    let b = vec4<u32>(
        rounded(v4, inverse), rounded(v5, inverse), rounded(v6, inverse), rounded(v7, inverse));
    return Inputs(a, b, most / 127.0, sum_of(a), sum_of(b));
}
