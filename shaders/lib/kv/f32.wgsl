// Keys and values as f32: four values in a vec4.
alias Packed4 = vec4<f32>;
fn key4(i: u32) -> vec4<f32> { return keys[i]; }
fn value4(i: u32) -> vec4<f32> { return values[i]; }
