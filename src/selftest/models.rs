//! The tiny models of the whole-model checks.

use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorView};

use super::Rng;
use crate::formats::{ByteSource, BytesSource, ModelFiles};
use crate::model::{ModelConfig, expected_tensors};

/// A file of the model with results of transformers.
pub(super) fn golden_bytes(name: &str) -> &'static [u8] {
    match name {
        "config.json" => include_bytes!("../../assets/selftest/config.json"),
        "model.safetensors" => include_bytes!("../../assets/selftest/model.safetensors"),
        _ => include_bytes!("../../assets/selftest/golden.safetensors"),
    }
}

/// The model with results of transformers.
pub(super) fn golden_model() -> ModelFiles {
    let file = |name| (name, golden_bytes(name));
    ModelFiles::embedded("selftest", &[file("config.json"), file("model.safetensors")])
}

const BLOCKS_CONFIG: &str = r#"{"model_type": "lfm2_moe", "hidden_size": 64,
"intermediate_size": 96, "moe_intermediate_size": 32, "num_dense_layers": 1, "num_experts": 4,
"num_experts_per_tok": 2, "num_hidden_layers": 3, "num_attention_heads": 2,
"num_key_value_heads": 1, "layer_types": ["conv", "full_attention", "conv"], "vocab_size": 96,
"conv_L_cache": 3, "conv_bias": false, "norm_eps": 1e-5, "rope_theta": 1000000.0,
"max_position_embeddings": 4096, "tie_word_embeddings": true, "use_expert_bias": true,
"norm_topk_prob": true, "routed_scaling_factor": 1.0}"#;

/// Seed of the random f32 weights. With it no router is near a tie in the prompt.
const BLOCKS_SEED: u64 = 1;

/// A model whose rows are whole blocks of 32.
pub(super) fn blocks_model() -> ModelFiles {
    let mut rng = Rng::new(BLOCKS_SEED);
    let config = ModelConfig::from_json("config.json", BLOCKS_CONFIG.as_bytes());
    let expected = config.as_ref().map(expected_tensors).unwrap_or_default();
    let tensors: Vec<_> = expected
        .into_iter()
        .map(|(id, shape)| {
            let name = id.hub_name();
            let n: usize = shape.iter().product();
            // With this deviation a product of inputs of variance 1 has variance 1 again.
            let deviation = 1.0 / (*shape.last().unwrap_or(&1) as f32).sqrt();
            let value = |rng: &mut Rng| match (name.contains("norm"), name.contains("bias")) {
                (true, _) => 1.0 + 0.1 * rng.normal(),
                (_, true) => 0.1 * rng.normal(),
                _ => deviation * rng.normal(),
            };
            let values: Vec<f32> = (0..n).map(|_| value(&mut rng)).collect();
            (name, shape, values)
        })
        .collect();
    let views = tensors.iter().filter_map(|(name, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values)).ok()?;
        Some((name.as_str(), view))
    });
    // This cannot fail for tensors that were just made; opening an empty file would fail.
    let weights = safetensors::tensor::serialize(views, None).unwrap_or_default();
    let file = |name: &str, bytes: Vec<u8>| {
        let source = BytesSource::shared(format!("selftest/{name}"), bytes.into());
        (name.to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
    };
    let files = [file("config.json", BLOCKS_CONFIG.into()), file("model.safetensors", weights)];
    ModelFiles::from_sources("selftest", files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Checkpoint;
    use crate::model::{Recipe, WeightChoice, validate};

    #[test]
    fn the_model_in_blocks_is_a_model() {
        let files = Arc::new(blocks_model());
        let checkpoint = pollster::block_on(Checkpoint::open(files)).unwrap();
        let config = ModelConfig::from_json("config.json", BLOCKS_CONFIG.as_bytes()).unwrap();
        let tensors = pollster::block_on(validate(&config, &checkpoint)).unwrap();
        let recipe = Recipe::new(WeightChoice::Q8);
        assert!(tensors.is_quantised(Some(&recipe)));
    }
}
