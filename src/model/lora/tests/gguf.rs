//! GGUF adapters, in the form of llama.cpp's conversion.

use super::*;

/// A GGUF file: keys and tensors in f32, with the dimensions of PyTorch's order.
#[derive(Clone)]
struct Gguf {
    keys: Vec<(&'static str, Value)>,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Gguf {
    fn new() -> Self {
        let keys = vec![
            ("general.type", json!("adapter")),
            ("general.architecture", json!("lfm2moe")),
            ("adapter.type", json!("lora")),
            ("adapter.lora.alpha", json!(6.0)),
        ];
        Self { keys, tensors: Vec::new() }
    }

    fn set(mut self, key: &'static str, value: Option<Value>) -> Self {
        self.keys.retain(|(name, _)| *name != key);
        self.keys.extend(value.map(|value| (key, value)));
        self
    }

    fn tensor(mut self, name: &str, shape: &[usize]) -> Self {
        let data = values(shape.iter().product(), name.len());
        self.tensors.retain(|(other, ..)| other != name);
        self.tensors.push((name.to_owned(), shape.to_vec(), data));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        };
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            text(&mut out, key);
            match value {
                Value::String(value) => {
                    out.extend(8_u32.to_le_bytes());
                    text(&mut out, value);
                }
                value => {
                    out.extend(6_u32.to_le_bytes());
                    out.extend((value.as_f64().unwrap() as f32).to_le_bytes());
                }
            }
        }
        let mut at = 0_u64;
        for (name, shape, data) in &self.tensors {
            text(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|d| out.extend((*d as u64).to_le_bytes()));
            out.extend(0_u32.to_le_bytes());
            out.extend(at.to_le_bytes());
            at = (at + 4 * data.len() as u64).next_multiple_of(32);
        }
        for (.., data) in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            data.iter().for_each(|value| out.extend(value.to_le_bytes()));
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out
    }

    fn read(&self) -> Result<LoraAdapter, LoraError> {
        let files = table(&[("x.gguf", self.bytes())]);
        block_on(LoraAdapter::read(&files, &moe()))
    }
}

const NAMES: [(&str, [usize; 2], TensorId); 10] = [
    ("blk.0.shortconv.in_proj", [3 * HIDDEN, HIDDEN], TensorId::ConvInProj(0)),
    ("blk.0.shortconv.out_proj", [HIDDEN, HIDDEN], TensorId::ConvOutProj(0)),
    ("blk.1.attn_q", [16, HIDDEN], TensorId::Q(1)),
    ("blk.1.attn_k", [8, HIDDEN], TensorId::K(1)),
    ("blk.1.attn_v", [8, HIDDEN], TensorId::V(1)),
    ("blk.1.attn_output", [HIDDEN, 16], TensorId::AttentionOut(1)),
    ("blk.0.ffn_gate", [24, HIDDEN], TensorId::W1(0)),
    ("blk.0.ffn_down", [HIDDEN, 24], TensorId::W2(0)),
    ("blk.0.ffn_up", [24, HIDDEN], TensorId::W3(0)),
    ("blk.1.ffn_gate_inp", [EXPERTS, HIDDEN], TensorId::Router(1)),
];

fn whole() -> Gguf {
    let mut gguf = Gguf::new();
    for (name, [rows, cols], _) in NAMES {
        gguf = gguf.tensor(&format!("{name}.weight.lora_a"), &[2, cols]);
        gguf = gguf.tensor(&format!("{name}.weight.lora_b"), &[rows, 2]);
    }
    for (name, rows, cols) in
        [("gate", WIDTH, HIDDEN), ("up", WIDTH, HIDDEN), ("down", HIDDEN, WIDTH)]
    {
        let name = format!("blk.2.ffn_{name}_exps.weight");
        gguf = gguf.tensor(&format!("{name}.lora_a"), &[EXPERTS, 2, cols]);
        gguf = gguf.tensor(&format!("{name}.lora_b"), &[EXPERTS, rows, 2]);
    }
    gguf
}

#[test]
fn every_target_that_the_conversion_knows() {
    let gguf = whole();
    let adapter = gguf.read().unwrap();
    assert_eq!(adapter.factors.len(), NAMES.len() + 3 * EXPERTS);
    let data = |name: &str| &gguf.tensors.iter().find(|(n, ..)| n == name).unwrap().2[..];
    for (name, _, id) in NAMES {
        let factors = &adapter.factors[&id];
        assert_eq!((factors.rank, factors.scale), (2, 3.0), "{name}");
        assert_eq!(&*factors.a, data(&format!("{name}.weight.lora_a")));
        assert_eq!(&*factors.b, data(&format!("{name}.weight.lora_b")));
    }
    for e in 0..EXPERTS {
        let factors = &adapter.factors[&TensorId::ExpertW2(2, e)];
        let (a, b) = (2 * WIDTH, HIDDEN * 2);
        assert_eq!(&*factors.a, &data("blk.2.ffn_down_exps.weight.lora_a")[e * a..][..a]);
        assert_eq!(&*factors.b, &data("blk.2.ffn_down_exps.weight.lora_b")[e * b..][..b]);
        for id in [TensorId::ExpertW1(2, e), TensorId::ExpertW3(2, e)] {
            assert_eq!(adapter.factors[&id].b.len(), WIDTH * 2, "{id:?}");
        }
    }
}

#[test]
fn refused_files() {
    let q = "blk.1.attn_q.weight";
    let (a, b) = (format!("{q}.lora_a"), format!("{q}.lora_b"));
    let exps = "blk.2.ffn_up_exps.weight";
    let without = |name: &str| {
        let mut gguf = whole();
        gguf.tensors.retain(|(other, ..)| other != name);
        gguf
    };
    let mut nan = whole();
    nan.tensors[0].2[3] = f32::NAN;
    for (gguf, parts) in [
        (
            whole().set("general.type", Some(json!("model"))),
            ["x.gguf", "type \"model\", not an adapter"],
        ),
        (whole().set("general.type", None), ["x.gguf", "is a model, not an adapter"]),
        (
            whole().set("general.architecture", Some(json!("llama"))),
            ["architecture", "got \"llama\", need lfm2moe"],
        ),
        (
            whole().set("adapter.type", Some(json!("control_vector"))),
            ["adapter.type", "not supported"],
        ),
        (whole().set("adapter.type", None), ["adapter.type", "is missing"]),
        (whole().set("adapter.lora.alpha", None), ["adapter.lora.alpha", "is missing"]),
        (whole().set("adapter.lora.alpha", Some(json!(0.0))), ["adapter.lora.alpha", "got 0"]),
        (
            whole().set("adapter.lora.alpha", Some(json!("6"))),
            ["adapter.lora.alpha", "need a number"],
        ),
        (whole().set("adapter.alora.invocation_tokens", Some(json!(1.0))), ["invocation", "aLoRA"]),
        (without(&a), [&*a, "is missing"]),
        (without(&b), [&*b, "is missing"]),
        (whole().tensor("blk.0.attn_norm.weight", &[HIDDEN]), ["attn_norm", "not a factor"]),
        (whole().tensor(&a, &[2, 8]), [&*a, "has shape [2, 8], need [rank, 16]"]),
        (whole().tensor(&b, &[1, 16, 2]), [&*b, "need [16, rank]"]),
        (whole().tensor(&b, &[16, 3]), [&*b, "has rank 3, but its other factor has rank 2"]),
        (whole().tensor(&format!("{exps}.lora_a"), &[3, 2, HIDDEN]), [exps, "need [4, rank, 16]"]),
        (whole().tensor(&format!("{exps}.lora_b"), &[4, HIDDEN, 2]), [exps, "need [4, 12, rank]"]),
        (nan, ["shortconv.in_proj", "element 3 is NaN"]),
        (Gguf::new(), ["x.gguf", "has no tensors"]),
    ] {
        let text = gguf.read().expect_err(parts[1]).to_string();
        assert!(text.contains(parts[0]) && text.contains(parts[1]), "{text}");
    }
    for (name, problem) in [
        ("token_embd.weight", "not supported"),
        ("output.weight", "not supported"),
        ("blk.9.attn_q.weight", "does not have (it has 3)"),
        ("blk.0.attn_q.weight", "layer 0 of this model has no such matrix"),
        ("blk.0.attn_qkv.weight", "another model"),
        ("attn_q.weight", "another model"),
    ] {
        let gguf = whole().tensor(&format!("{name}.lora_a"), &[2, HIDDEN]);
        let gguf = gguf.tensor(&format!("{name}.lora_b"), &[16, 2]);
        let text = gguf.read().unwrap_err().to_string();
        assert!(text.contains(name) && text.contains(problem), "{text}");
    }
}

#[test]
fn an_adapter_beside_others_is_found_by_its_form() {
    let gguf = whole().bytes();
    let json = b"{}".to_vec();
    let found = |files: &[(&str, Vec<u8>)]| {
        block_on(LoraAdapter::read(&table(files), &moe())).map_err(|e| e.to_string())
    };
    found(&[("README.md", json.clone()), ("x.gguf", gguf.clone())]).unwrap();
    let error = found(&[("x.gguf", gguf.clone()), ("y.gguf", gguf)]).unwrap_err();
    assert!(error.contains("\"x.gguf\" or \"y.gguf\""), "{error}");
}
