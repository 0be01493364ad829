//! Writes GGUF files for tests: valid or invalid bytes, and complete models from checkpoints. It shares no code
//! with the reader, so that they do not share a mistake. `tools/make_gguf.py` writes files with ggml's own
//! package.

use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use lfm2_wgpu::formats::{Checkpoint, ElementType, ModelFiles, TensorSlice, read_small};
use lfm2_wgpu::model::config::MAX_CONFIG_BYTES;
use lfm2_wgpu::model::{
    FfnKind, ModelConfig, ModelType, OperatorKind, TensorId, expected_tensors, validate,
};
use serde_json::Value;

/// ggml's numbers of types.
pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const BF16: u32 = 30;

/// A key's value: its type's number and its bytes.
#[derive(Clone, Debug)]
pub struct V(pub u32, pub Vec<u8>);

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// An array header of `count` elements of a type, followed by any bytes.
pub fn array(element: u32, count: u64, bytes: Vec<u8>) -> V {
    V(9, [&element.to_le_bytes()[..], &count.to_le_bytes(), &bytes].concat())
}

impl From<u32> for V {
    fn from(value: u32) -> Self {
        V(4, value.to_le_bytes().to_vec())
    }
}

impl From<i32> for V {
    fn from(value: i32) -> Self {
        V(5, value.to_le_bytes().to_vec())
    }
}

impl From<u16> for V {
    fn from(value: u16) -> Self {
        V(2, value.to_le_bytes().to_vec())
    }
}

impl From<f32> for V {
    fn from(value: f32) -> Self {
        V(6, value.to_le_bytes().to_vec())
    }
}

impl From<bool> for V {
    fn from(value: bool) -> Self {
        V(7, vec![value.into()])
    }
}

impl From<&str> for V {
    fn from(text: &str) -> Self {
        V(8, string(text))
    }
}

impl From<&[i32]> for V {
    fn from(values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        array(5, values.len() as u64, bytes)
    }
}

impl From<&[String]> for V {
    fn from(texts: &[String]) -> Self {
        let bytes = texts.iter().flat_map(|text| string(text)).collect();
        array(8, texts.len() as u64, bytes)
    }
}

/// A tensor. `ne` are ggml's dimensions; the first is contiguous.
#[derive(Clone)]
pub struct T {
    pub name: Vec<u8>,
    pub ne: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    /// By default the end of the previous tensor.
    pub offset: Option<u64>,
}

/// A file. A count of `None` means the true count.
#[derive(Clone)]
pub struct Gguf {
    pub magic: [u8; 4],
    pub version: u32,
    pub n_tensors: Option<u64>,
    pub n_keys: Option<u64>,
    pub alignment: u64,
    pub keys: Vec<(Vec<u8>, V)>,
    pub tensors: Vec<T>,
    pub tail: Vec<u8>,
}

impl Gguf {
    pub fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            n_tensors: None,
            n_keys: None,
            alignment: 32,
            keys: Vec::new(),
            tensors: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// Sets a key, or replaces its value.
    pub fn set(&mut self, key: &str, value: impl Into<V>) -> &mut Self {
        let value = value.into();
        match self.keys.iter_mut().find(|(name, _)| name == key.as_bytes()) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key.as_bytes().to_vec(), value)),
        }
        self
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        let before = self.keys.len();
        self.keys.retain(|(name, _)| name != key.as_bytes());
        assert!(self.keys.len() < before, "there is no {key}");
        self
    }

    pub fn tensor(&mut self, name: &str) -> &mut T {
        self.tensors.iter_mut().find(|t| t.name == name.as_bytes()).unwrap()
    }

    /// Gives a tensor other dimensions, with zeros as data.
    pub fn reshape(&mut self, name: &str, ne: &[u64]) -> &mut Self {
        let t = self.tensor(name);
        (t.ne, t.kind) = (ne.to_vec(), F32);
        t.data = vec![0; ne.iter().product::<u64>() as usize * 4];
        self
    }

    /// Offset of the data.
    pub fn header(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_keys.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, V(kind, bytes)) in &self.keys {
            out.extend((key.len() as u64).to_le_bytes());
            out.extend(key);
            out.extend(kind.to_le_bytes());
            out.extend(bytes);
        }
        let mut end = 0;
        for t in &self.tensors {
            out.extend((t.name.len() as u64).to_le_bytes());
            out.extend(&t.name);
            out.extend((t.ne.len() as u32).to_le_bytes());
            t.ne.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(t.kind.to_le_bytes());
            out.extend(t.offset.unwrap_or(end).to_le_bytes());
            end = (end + t.data.len() as u64).next_multiple_of(self.alignment);
        }
        out
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.header();
        for t in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
            out.extend(&t.data);
        }
        // Like both of ggml's writers.
        out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
        out.extend(&self.tail);
        out
    }
}

/// A checkpoint directory as a GGUF file, in the form of llama.cpp's conversion: matrices as `kind`, and in f32 the
/// tensors that the conversion keeps in f32.
pub fn convert(dir: &Path, kind: u32) -> Gguf {
    let files = Arc::new(ModelFiles::directory(dir).unwrap());
    let source = files.require("config.json").unwrap();
    let bytes = pollster::block_on(read_small(&*source, MAX_CONFIG_BYTES)).unwrap();
    let config = ModelConfig::from_json("config.json", &bytes).unwrap();
    let checkpoint = pollster::block_on(Checkpoint::open(files.clone())).unwrap();
    let resolved = pollster::block_on(validate(&config, &checkpoint)).unwrap();

    let mut out = Gguf::new();
    model_keys(&mut out, &config);
    if let Ok(json) = std::fs::read(dir.join("tokenizer.json")) {
        tokenizer_keys(&mut out, &serde_json::from_slice(&json).unwrap(), config.vocab_size);
    }
    if let Ok(template) = std::fs::read_to_string(dir.join("chat_template.jinja")) {
        out.set("tokenizer.chat_template", &*template);
    }
    for (id, shape) in expected_tensors(&config) {
        let values = values(&checkpoint, resolved.get(id).unwrap());
        let name = id.gguf_name().into_bytes();
        let mut ne: Vec<u64> = shape.iter().rev().map(|d| *d as u64).collect();
        if matches!(id, TensorId::ConvTaps(_)) {
            ne.remove(1);
        }
        let plain = ne.len() == 1 || matches!(id, TensorId::ConvTaps(_) | TensorId::Router(_));
        let kind = if plain { F32 } else { kind };
        let data = encode(&values, kind);
        if !id.is_expert() {
            out.tensors.push(T { name, ne, kind, data, offset: None });
        } else if let Some(stack) = out.tensors.iter_mut().find(|t| t.name == name) {
            stack.ne[2] += 1;
            stack.data.extend(data);
        } else {
            ne.push(1);
            out.tensors.push(T { name, ne, kind, data, offset: None });
        }
    }
    out
}

fn values(checkpoint: &Checkpoint, slice: &TensorSlice) -> Vec<f32> {
    let mut bytes = vec![0; slice.bytes() as usize];
    pollster::block_on(checkpoint.read(slice, 0, &mut bytes)).unwrap();
    let halves = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match slice.element_type {
        ElementType::F16 => halves.map(|b| f16::from_bits(b).to_f32()).collect(),
        ElementType::BF16 => halves.map(|b| bf16::from_bits(b).to_f32()).collect(),
        _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
    }
}

fn encode(values: &[f32], kind: u32) -> Vec<u8> {
    match kind {
        F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        other => panic!("type {other}"),
    }
}

fn model_keys(out: &mut Gguf, c: &ModelConfig) {
    let arch = if c.model_type == ModelType::Lfm2 { "lfm2" } else { "lfm2moe" };
    out.set("general.architecture", arch).set("general.type", "model");
    out.set("general.name", "test").set("general.file_type", 0_u32);
    let heads = |attention: bool| if attention { c.n_kv_heads as i32 } else { 0 };
    let operators = c.layers.iter().map(|l| l.operator == OperatorKind::FullAttention);
    let heads: Vec<i32> = operators.map(heads).collect();
    let mut set = |key: &str, value: V| {
        out.set(&format!("{arch}.{key}"), value);
    };
    for (key, value) in [
        ("block_count", c.layers.len()),
        ("context_length", c.max_position_embeddings),
        ("embedding_length", c.hidden_size),
        ("feed_forward_length", c.intermediate_size),
        ("attention.head_count", c.n_heads),
        ("attention.key_length", c.head_dim),
        ("attention.value_length", c.head_dim),
        ("vocab_size", c.vocab_size),
        ("shortconv.l_cache", c.conv_l_cache),
    ] {
        set(key, (value as u32).into());
    }
    set("attention.head_count_kv", heads[..].into());
    set("rope.freq_base", (c.rope_theta as f32).into());
    set("attention.layer_norm_rms_epsilon", c.norm_eps.into());
    if let Some(moe) = &c.moe {
        let dense = c.layers.iter().filter(|l| l.ffn == FfnKind::Dense).count();
        for (key, value) in [
            ("expert_count", moe.num_experts),
            ("expert_used_count", moe.top_k),
            ("expert_feed_forward_length", moe.intermediate_size),
            ("leading_dense_block_count", dense),
            ("expert_gating_func", 2),
        ] {
            set(key, (value as u32).into());
        }
        // llama.cpp's conversion writes neither key; the fixtures differ in them.
        if !moe.norm_topk_prob {
            set("expert_weights_norm", false.into());
        }
        if moe.routed_scaling_factor != 1.0 {
            set("expert_weights_scale", moe.routed_scaling_factor.into());
        }
    }
    let ids = [("bos", c.bos_token_id), ("eos", c.eos_token_ids.first().copied())];
    for (name, id) in ids.into_iter().chain([("padding", c.pad_token_id)]) {
        if let Some(id) = id {
            out.set(&format!("tokenizer.ggml.{name}_token_id"), id);
        }
    }
}

/// The tokenizer's keys in the form of `get_vocab_base` and `SpecialVocab`: rows of the embedding without a token
/// are `[PADn]`, unused.
pub fn tokenizer_keys(out: &mut Gguf, json: &Value, vocab_size: usize) {
    let mut tokens: Vec<String> = (0..vocab_size).map(|i| format!("[PAD{i}]")).collect();
    let mut types = vec![5; vocab_size];
    for (token, id) in json["model"]["vocab"].as_object().unwrap() {
        let id = id.as_u64().unwrap() as usize;
        (tokens[id], types[id]) = (token.clone(), 1);
    }
    for added in json["added_tokens"].as_array().unwrap() {
        let (id, content) = (added["id"].as_u64().unwrap(), added["content"].as_str().unwrap());
        let marked = content.starts_with("<|") && content.ends_with("|>");
        let special = added["special"].as_bool().unwrap() || marked;
        tokens[id as usize] = content.to_owned();
        types[id as usize] = if special { 3 } else { 4 };
    }
    let merges: Vec<String> = json["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|merge| match merge {
            Value::String(text) => text.clone(),
            pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        })
        .collect();
    out.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "lfm2");
    out.set("tokenizer.ggml.tokens", &tokens[..]);
    out.set("tokenizer.ggml.token_type", &types[..]);
    out.set("tokenizer.ggml.merges", &merges[..]);
    out.set("tokenizer.ggml.add_bos_token", true).set("tokenizer.ggml.add_eos_token", false);
}
