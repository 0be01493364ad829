// Keys and values as f16: four values in two words.
alias Packed4 = vec2<u32>;
fn unpack4(p: Packed4) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(p.x), unpack2x16float(p.y));
}
fn key4(i: u32) -> vec4<f32> { return unpack4(keys[i]); }
fn value4(i: u32) -> vec4<f32> { return unpack4(values[i]); }
