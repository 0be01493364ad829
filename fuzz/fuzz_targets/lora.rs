//! LoRA adapters: any files, or PEFT's and llama.cpp's files of the fixtures with damage.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use lfm2_fuzz::description::{Change, Name, Number, changed, pick, pick_mut};
use lfm2_fuzz::{files, held, one_line};
use lfm2_wgpu::formats::ModelFiles;
use lfm2_wgpu::model::lora::{LoraAdapter, MAX_RANK, adapted_shape};
use lfm2_wgpu::model::ModelConfig;
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
struct Description {
    base: u8,
    gguf: bool,
    changes: Vec<Change>,
    damage: Vec<Damage>,
    bytes: Vec<(u16, u8)>,
    length: Option<Number>,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Name(u8, Name),
    /// Another module, factor or number in the name.
    Part(u8, u8, u8),
    /// Another shape, with the bytes that it needs.
    Shape(u8, Vec<u8>),
    /// Another length of a dimension, with the bytes that it needs.
    Dim(u8, bool, u8),
    Dtype(u8, u8),
    Remove(u8),
    Copy(u8, Name),
    Value(u8, u16, f32),
}

/// Parts of names, any of which may become another.
const PARTS: [&str; 18] = [
    "lora_A", "lora_B", "lora_A.default", "lora_magnitude_vector", "weight", "bias", "experts",
    "experts.base_layer", "experts.3.w1", "gate", "q_proj", "in_proj", "w2", "layers.0", "layers.1",
    "layers.2", "layers.18446744073709551616", "base_model.model.",
];

#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    data: Vec<u8>,
}

struct Base {
    config: ModelConfig,
    json: Value,
    tensors: Vec<Tensor>,
    gguf: Vec<u8>,
}

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let read = |name: &str| -> Option<Base> {
        let file = |file: &str| std::fs::read(fixtures.join("lora").join(name).join(file)).ok();
        let about: Value = serde_json::from_slice(&file("logits.json")?).ok()?;
        let config = fixtures.join(about["base"].as_str()?).join("config.json");
        let config = ModelConfig::from_json("config.json", &std::fs::read(config).ok()?).ok()?;
        let weights = file("adapter_model.safetensors")?;
        let len = usize::try_from(u64::from_le_bytes(weights.first_chunk().copied()?)).ok()?;
        let header: Value = serde_json::from_slice(weights.get(8..8 + len)?).ok()?;
        let entries = header.as_object()?.iter().filter(|(name, _)| *name != "__metadata__");
        let tensors = entries.map(|(name, entry)| {
            let number = |value: &Value| value.as_u64().unwrap_or(0) as usize;
            let [from, to] = [0, 1].map(|i| 8 + len + number(&entry["data_offsets"][i]));
            Tensor {
                name: name.clone(),
                dtype: if entry["dtype"] == "BF16" { "BF16" } else { "F32" },
                shape: entry["shape"].as_array().into_iter().flatten().map(number).collect(),
                data: weights.get(from..to).unwrap_or_default().to_vec(),
            }
        });
        let json = serde_json::from_slice(&file("adapter_config.json")?).ok()?;
        let gguf = file("adapter.gguf").unwrap_or_default();
        Some(Base { config, json, tensors: tensors.collect(), gguf })
    };
    let names = ["attention", "experts-stacked", "patterns", "experts-by-module", "router", "rslora", "all-linear"];
    names.into_iter().filter_map(read).collect()
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A first byte of 0 marks a description; otherwise the input is files.
    if let Some((0, rest)) = data.split_first() {
        let Ok(d) = Description::arbitrary_take_rest(Unstructured::new(rest)) else { return };
        let Some(base) = pick(&BASES, d.base) else { return };
        let all = d.write(base);
        let all: Vec<(&str, &[u8])> = all.iter().map(|(a, b)| (*a, &b[..])).collect();
        let table = files::table(&all);
        held(|| check(&table, &base.config, &all));
    } else {
        let all = files::split(data, "x.gguf");
        let table = files::table(&all);
        for base in BASES.iter().take(1).chain(BASES.last()) {
            held(|| check(&table, &base.config, &all));
        }
    }
});

impl Description {
    fn write(&self, base: &Base) -> Vec<(&'static str, Vec<u8>)> {
        if self.gguf && !base.gguf.is_empty() {
            return vec![("x.gguf", self.damaged(base.gguf.clone()))];
        }
        let mut tensors = base.tensors.clone();
        for damage in self.damage.iter().take(16) {
            damage.apply(&mut tensors);
        }
        let (mut header, mut bytes) = (serde_json::Map::new(), Vec::new());
        for tensor in tensors {
            let begin = bytes.len();
            bytes.extend(tensor.data);
            let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, bytes.len()]});
            header.insert(tensor.name, entry);
        }
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let weights = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes].concat();
        let json = changed(&base.json, &self.changes).into_bytes();
        vec![("adapter_config.json", json), ("adapter_model.safetensors", self.damaged(weights))]
    }

    fn damaged(&self, mut file: Vec<u8>) -> Vec<u8> {
        for (at, byte) in self.bytes.iter().take(8) {
            let n = file.len().max(1);
            if let Some(there) = file.get_mut(usize::from(*at) % n) {
                *there = *byte;
            }
        }
        if let Some(length) = self.length {
            let length = usize::try_from(length.of(file.len() as u64)).unwrap_or(0);
            file.resize(length.min(1 << 17), 0);
        }
        file
    }
}

impl Damage {
    fn apply(&self, tensors: &mut Vec<Tensor>) {
        match self {
            Self::Name(which, name) => {
                if let Some(tensor) = pick_mut(tensors, *which) {
                    tensor.name = name.text();
                }
            }
            Self::Part(which, from, to) => {
                let (Some(from), Some(to)) = (pick(&PARTS, *from), pick(&PARTS, *to)) else { return };
                if let Some(tensor) = pick_mut(tensors, *which) {
                    tensor.name = tensor.name.replace(from, to);
                }
            }
            Self::Shape(which, shape) => {
                if let Some(tensor) = pick_mut(tensors, *which) {
                    tensor.shape = shape.iter().take(4).map(|d| usize::from(d % 24)).collect();
                    tensor.fill();
                }
            }
            Self::Dim(which, last, dim) => {
                if let Some(tensor) = pick_mut(tensors, *which) {
                    let dims = &mut tensor.shape;
                    let there = if *last { dims.last_mut() } else { dims.first_mut() };
                    if let Some(there) = there {
                        *there = usize::from(*dim);
                    }
                    tensor.fill();
                }
            }
            Self::Dtype(which, dtype) => {
                if let Some(tensor) = pick_mut(tensors, *which) {
                    tensor.dtype = ["F32", "F16", "BF16", "F64", "U8", "I64"][usize::from(dtype % 6)];
                    tensor.fill();
                }
            }
            Self::Remove(which) => {
                let at = usize::from(*which) % tensors.len().max(1);
                if at < tensors.len() {
                    tensors.remove(at);
                }
            }
            Self::Copy(which, name) => {
                if let Some(tensor) = pick(tensors, *which).cloned() {
                    tensors.push(Tensor { name: name.text(), ..tensor });
                }
            }
            Self::Value(which, at, value) => {
                if let Some(tensor) = pick_mut(tensors, *which) {
                    let n = (tensor.data.len() / 4).max(1);
                    let at = 4 * (usize::from(*at) % n);
                    if let Some(there) = tensor.data.get_mut(at..at + 4) {
                        there.copy_from_slice(&value.to_le_bytes());
                    }
                }
            }
        }
    }
}

impl Tensor {
    /// Gives it the length of its shape.
    fn fill(&mut self) {
        let size = match self.dtype {
            "F64" | "I64" => 8,
            "F32" => 4,
            "U8" => 1,
            _ => 2,
        };
        let n = self.shape.iter().product::<usize>().min(1 << 16);
        self.data.resize(n * size, 0);
    }
}

/// Reads an adapter and checks the properties of accepted ones.
fn check(table: &ModelFiles, config: &ModelConfig, all: &[(&str, &[u8])]) {
    let adapter = match pollster::block_on(LoraAdapter::read(table, config)) {
        Ok(adapter) => adapter,
        Err(error) => return one_line(&error),
    };
    assert!(!adapter.factors.is_empty(), "an adapter without factors");
    for (id, factors) in &adapter.factors {
        let Some([rows, cols]) = adapted_shape(config, *id) else { panic!("{id:?} is not adapted") };
        assert!((1..=MAX_RANK).contains(&factors.rank), "{id:?}: rank {}", factors.rank);
        assert!(factors.scale.is_finite() && factors.scale != 0.0, "{id:?}: {}", factors.scale);
        assert_eq!(factors.a.len(), factors.rank * cols, "{id:?}: A");
        assert_eq!(factors.b.len(), rows * factors.rank, "{id:?}: B");
        assert!(factors.a.iter().chain(&*factors.b).all(|value| value.is_finite()), "{id:?}");
    }
    // f32 from at least 4.5 bits an element.
    let bytes: usize = all.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(adapter.bytes() <= 8 * bytes as u64, "{} bytes of {bytes}", adapter.bytes());
    let again = pollster::block_on(LoraAdapter::read(table, config));
    assert_eq!(again.map(|again| again.fingerprint()).ok(), Some(adapter.fingerprint()));
}
