//! Small adapters in all layouts, made in memory.

mod fixtures;
mod gguf;
mod layouts;
mod refused;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;

use half::{bf16, f16};
use pollster::block_on;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

use super::*;
use crate::formats::{ByteSource, BytesSource, ModelFiles};
use crate::model::ModelConfig;

const HIDDEN: usize = 16;
const WIDTH: usize = 12;
const EXPERTS: usize = 4;

/// Layers: convolution with a dense FFN, attention and convolution with experts.
fn moe() -> ModelConfig {
    let json = json!({
        "model_type": "lfm2_moe", "vocab_size": 32, "hidden_size": HIDDEN, "intermediate_size": 24,
        "num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"],
        "num_dense_layers": 1, "num_experts": EXPERTS, "num_experts_per_tok": 2,
        "moe_intermediate_size": WIDTH, "num_attention_heads": 2, "num_key_value_heads": 1,
        "conv_L_cache": 3, "norm_eps": 1e-5, "rope_theta": 1e6, "max_position_embeddings": 128,
        "eos_token_id": 2,
    });
    ModelConfig::from_json("config.json", &serde_json::to_vec(&json).unwrap()).unwrap()
}

fn dense() -> ModelConfig {
    let json = json!({
        "model_type": "lfm2", "vocab_size": 32, "hidden_size": HIDDEN, "intermediate_size": 24,
        "block_auto_adjust_ff_dim": false, "num_hidden_layers": 2,
        "layer_types": ["conv", "full_attention"], "num_attention_heads": 2, "num_key_value_heads": 1,
        "conv_L_cache": 3, "norm_eps": 1e-5, "rope_theta": 1e6, "max_position_embeddings": 128,
        "eos_token_id": 2,
    });
    ModelConfig::from_json("config.json", &serde_json::to_vec(&json).unwrap()).unwrap()
}

/// Values that are exact in f16 and bf16: multiples of 1/16 between -1 and 1.
fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7 + seed * 13 + i / 5) % 33) as f32 / 16.0 - 1.0).collect()
}

/// An adapter in PEFT's files.
#[derive(Clone)]
struct Peft {
    config: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    dtype: Dtype,
}

impl Peft {
    /// Rank 2, alpha 6: a scale of 3.
    fn new() -> Self {
        let config = json!({
            "peft_type": "LORA", "r": 2, "lora_alpha": 6, "use_rslora": false, "bias": "none",
            "fan_in_fan_out": false, "use_dora": false, "rank_pattern": {}, "alpha_pattern": {},
            "modules_to_save": null, "target_modules": null, "target_parameters": null,
            "init_lora_weights": true, "task_type": "CAUSAL_LM", "peft_version": "0.21.2",
        });
        Self { config, tensors: BTreeMap::new(), dtype: Dtype::F32 }
    }

    fn set(mut self, field: &str, value: Value) -> Self {
        self.config[field] = value;
        self
    }

    fn tensor(mut self, name: &str, shape: &[usize]) -> Self {
        let n = shape.iter().product();
        let data = values(n, name.len());
        self.tensors.insert(name.to_owned(), (shape.to_vec(), data));
        self
    }

    /// Factors `[rank, cols]` and `[rows, rank]` of a module, and the module as a target.
    fn pair(self, module: &str, rows: usize, cols: usize, rank: usize) -> Self {
        let a = format!("base_model.model.model.{module}.lora_A.weight");
        let b = format!("base_model.model.model.{module}.lora_B.weight");
        self.tensor(&a, &[rank, cols]).tensor(&b, &[rows, rank])
    }

    /// Factors of all experts' `gate_up_proj` or `down_proj` in a wrapper.
    fn stack(self, wrapper: &str, gate_up: bool, rank: usize) -> Self {
        let (rows, cols) = if gate_up { (2 * WIDTH, HIDDEN) } else { (HIDDEN, WIDTH) };
        let a = format!("base_model.model.model.{wrapper}.lora_A.weight");
        let b = format!("base_model.model.model.{wrapper}.lora_B.weight");
        self.tensor(&a, &[rank * EXPERTS, cols]).tensor(&b, &[rows, rank * EXPERTS])
    }

    fn data(&self, name: &str) -> &[f32] {
        &self.tensors[&format!("base_model.model.model.{name}.weight")].1
    }

    fn weights(&self) -> Vec<u8> {
        let encode = |values: &[f32]| -> Vec<u8> {
            match self.dtype {
                Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
                Dtype::BF16 => {
                    values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()
                }
                Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                _ => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
            }
        };
        let bytes: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| (name, shape.clone(), encode(values)))
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(self.dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn files(&self) -> ModelFiles {
        let json = serde_json::to_vec(&self.config).unwrap();
        table(&[("adapter_config.json", json), ("adapter_model.safetensors", self.weights())])
    }

    fn read(&self, config: &ModelConfig) -> Result<LoraAdapter, LoraError> {
        block_on(LoraAdapter::read(&self.files(), config))
    }

    fn ok(&self, config: &ModelConfig) -> LoraAdapter {
        self.read(config).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn table(files: &[(&str, Vec<u8>)]) -> ModelFiles {
    let source = |(name, bytes): &(&str, Vec<u8>)| {
        let source = BytesSource::shared(format!("dir/{name}"), bytes.as_slice().into());
        ((*name).to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
    };
    ModelFiles::from_sources("dir", files.iter().map(source))
}

#[test]
fn the_adapted_matrices_are_those_that_the_model_has() {
    for config in [moe(), dense()] {
        let shapes: HashMap<_, _> = crate::model::expected_tensors(&config).into_iter().collect();
        let whole = |id: &TensorId| {
            matches!(id, TensorId::Embedding | TensorId::LmHead)
                || !(id.is_matrix() || matches!(id, TensorId::Router(_)))
        };
        let mut adapted = 0;
        for layer in 0..4 {
            let experts = (0..EXPERTS + 1).flat_map(|e| places::of_expert(layer, e));
            for id in places::of_layer(layer).into_iter().chain(experts) {
                let shape = adapted_shape(&config, id);
                assert_eq!(
                    shape.as_ref().map(|s| &s[..]),
                    shapes.get(&id).map(|s| &s[..]),
                    "{id:?}"
                );
                adapted += usize::from(shape.is_some());
            }
        }
        assert_eq!(adapted, shapes.keys().filter(|id| !whole(id)).count());
        assert!(
            shapes.keys().filter(|id| whole(id)).all(|id| adapted_shape(&config, *id).is_none())
        );
    }
}
