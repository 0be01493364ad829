// Products of 32 unsigned 4-bit integers of four rows with 32 inputs, and the inputs' sum.
struct NibbleProducts { products: vec4<f32>, x_sum: f32 }

// A word of each row is eight columns: four in the low halves of its bytes, four in the high ones.
fn eight_columns(
    r0: u32, r1: u32, r2: u32, r3: u32, a: vec4<f32>, b: vec4<f32>
) -> NibbleProducts {
    let w = vec4<u32>(r0, r1, r2, r3);
    let mask = vec4<u32>(15u);
    var p = vec4<f32>(w & mask) * a.x;
    p += vec4<f32>((w >> vec4<u32>(4u)) & mask) * b.x;
    p += vec4<f32>((w >> vec4<u32>(8u)) & mask) * a.y;
    p += vec4<f32>((w >> vec4<u32>(12u)) & mask) * b.y;
    p += vec4<f32>((w >> vec4<u32>(16u)) & mask) * a.z;
    p += vec4<f32>((w >> vec4<u32>(20u)) & mask) * b.z;
    p += vec4<f32>((w >> vec4<u32>(24u)) & mask) * a.w;
    p += vec4<f32>(w >> vec4<u32>(28u)) * b.w;
    let sums = a + b;
    return NibbleProducts(p, sums.x + sums.y + sums.z + sums.w);
}

fn nibble_products(
    r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, x: Inputs
) -> NibbleProducts {
    let p0 = eight_columns(r0.x, r1.x, r2.x, r3.x, x.v0, x.v4);
    let p1 = eight_columns(r0.y, r1.y, r2.y, r3.y, x.v1, x.v5);
    let p2 = eight_columns(r0.z, r1.z, r2.z, r3.z, x.v2, x.v6);
    let p3 = eight_columns(r0.w, r1.w, r2.w, r3.w, x.v3, x.v7);
    return NibbleProducts(
        (p0.products + p1.products) + (p2.products + p3.products),
        (p0.x_sum + p1.x_sum) + (p2.x_sum + p3.x_sum));
}
