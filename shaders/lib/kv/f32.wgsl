// Keys and values as f32: four values in a vec4.
alias Packed4 = vec4<f32>;
fn unpack4(p: Packed4) -> vec4<f32> { return p; }
fn pack4(v: vec4<f32>) -> Packed4 { return v; }
