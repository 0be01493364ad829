// Stores keys and values as f32: four values in a vec4. lib/kv/f32.wgsl reads them.
alias Packed4 = vec4<f32>;
// Vectors of four that a lane stores at once.
const STORED = 1u;

// Vector i of head `to` of the pool, a head being `width` vectors.
fn store(h: Head, to: u32, i: u32, width: u32) {
    if (h.turns) { keys[(to * width) + i] = head4(h, i); } else { values[(to * width) + i] = head4(h, i); }
}
