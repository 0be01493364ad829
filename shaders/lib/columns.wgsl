// Eight columns of four rows of a matrix, unpacked: for matmul, and for slices of Q5_K and Q6_K in matvec.

#part columns=eight
// Eight columns of four rows.
struct Columns {
    c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32>,
    c4: vec4<f32>, c5: vec4<f32>, c6: vec4<f32>, c7: vec4<f32>,
}

// The dot products of the four rows with eight inputs: columns 0 .. 3 with a, the others with b.
fn columns_product(w: Columns, a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    var sum = w.c0 * a.x;
    sum += w.c1 * a.y;
    sum += w.c2 * a.z;
    sum += w.c3 * a.w;
    sum += w.c4 * b.x;
    sum += w.c5 * b.y;
    sum += w.c6 * b.z;
    sum += w.c7 * b.w;
    return sum;
}

#part columns=bytes
// A slice is unpacked once for all items. This saves instructions where a weight has several bit fields.
#import columns=eight

// Word r of `a` has the first four columns of row r, a byte each; word r of `b` the others.
fn columns_of(a: vec4<u32>, b: vec4<u32>) -> Columns {
    let byte = vec4<u32>(255u);
    return Columns(
        vec4<f32>(a & byte), vec4<f32>((a >> vec4<u32>(8u)) & byte),
        vec4<f32>((a >> vec4<u32>(16u)) & byte), vec4<f32>(a >> vec4<u32>(24u)),
        vec4<f32>(b & byte), vec4<f32>((b >> vec4<u32>(8u)) & byte),
        vec4<f32>((b >> vec4<u32>(16u)) & byte), vec4<f32>(b >> vec4<u32>(24u)));
}
