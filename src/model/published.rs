//! Sizes of published models, for measurements and advice without their files.

use super::names::{TensorId, expected_tensors};
use super::{ConfigError, ModelConfig, WeightChoice};
use crate::formats::synthetic::{Synthetic, synthetic};
use crate::formats::{Checkpoint, ElementType};

/// Published models: name, number of token ids, and the sizes of config.json. Source: the hub's
/// config files. [`synthetic_model`] adds the fields that all share.
const SHAPES: [(&str, u32, &str); 11] = [
    (
        "lfm2-350m",
        65_536,
        r#"{"model_type": "lfm2", "hidden_size": 1024, "intermediate_size": 6656,
        "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 8,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14]"#,
    ),
    (
        "lfm2-700m",
        65_536,
        r#"{"model_type": "lfm2", "hidden_size": 1536, "intermediate_size": 10240,
        "num_hidden_layers": 16, "num_attention_heads": 24, "num_key_value_heads": 8,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14]"#,
    ),
    (
        "lfm2-1.2b",
        65_536,
        r#"{"model_type": "lfm2", "hidden_size": 2048, "intermediate_size": 12288,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14]"#,
    ),
    (
        "lfm2-2.6b",
        65_536,
        r#"{"model_type": "lfm2", "hidden_size": 2048, "intermediate_size": 10752,
        "block_auto_adjust_ff_dim": false,
        "num_hidden_layers": 30, "num_attention_heads": 32, "num_key_value_heads": 8,
        "full_attn_idxs": [2, 5, 9, 13, 17, 21, 24, 27]"#,
    ),
    (
        "lfm2-8b-a1b",
        65_536,
        r#"{"model_type": "lfm2_moe", "hidden_size": 2048, "intermediate_size": 7168,
        "moe_intermediate_size": 1792, "num_dense_layers": 2, "num_experts": 32,
        "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_attention_heads": 32,
        "num_key_value_heads": 8, "full_attn_idxs": [2, 6, 10, 14, 18, 21]"#,
    ),
    (
        "lfm2-24b-a2b",
        65_536,
        r#"{"model_type": "lfm2_moe", "hidden_size": 2048, "intermediate_size": 11776,
        "moe_intermediate_size": 1536, "num_dense_layers": 2, "num_experts": 64,
        "num_experts_per_tok": 4, "num_hidden_layers": 40, "num_attention_heads": 32,
        "num_key_value_heads": 8, "full_attn_idxs": [2, 6, 10, 14, 18, 22, 26, 30, 34, 38]"#,
    ),
    // LFM2.5 has the same architecture; some models have more token ids. Its 350M and 1.2B have
    // LFM2's sizes. Of the 230M the hub's pages give the number of attention layers, but not their
    // places.
    (
        "lfm2.5-230m",
        65_536,
        r#"{"model_type": "lfm2", "hidden_size": 1024, "intermediate_size": 2560,
        "block_auto_adjust_ff_dim": false,
        "num_hidden_layers": 14, "num_attention_heads": 16, "num_key_value_heads": 8,
        "full_attn_idxs": [2, 4, 6, 8, 10, 12]"#,
    ),
    (
        "lfm2.5-2.6b",
        128_000,
        r#"{"model_type": "lfm2", "hidden_size": 2048, "intermediate_size": 10752,
        "block_auto_adjust_ff_dim": false,
        "num_hidden_layers": 30, "num_attention_heads": 32, "num_key_value_heads": 8,
        "full_attn_idxs": [2, 5, 9, 13, 17, 21, 24, 27]"#,
    ),
    (
        "lfm2.5-8b-a1b",
        128_000,
        r#"{"model_type": "lfm2_moe", "hidden_size": 2048, "intermediate_size": 7168,
        "moe_intermediate_size": 1792, "num_dense_layers": 2, "num_experts": 32,
        "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_attention_heads": 32,
        "num_key_value_heads": 8, "full_attn_idxs": [2, 6, 10, 14, 18, 21]"#,
    ),
    (
        "lfm2.5-24b-a2b",
        128_000,
        r#"{"model_type": "lfm2_moe", "hidden_size": 2048, "intermediate_size": 11776,
        "moe_intermediate_size": 1536, "num_dense_layers": 2, "num_experts": 64,
        "num_experts_per_tok": 4, "num_hidden_layers": 40, "num_attention_heads": 32,
        "num_key_value_heads": 8, "full_attn_idxs": [2, 6, 10, 14, 18, 22, 26, 30, 34, 38]"#,
    ),
    // The small mixture for the comparison with llama.cpp: docs/performance.md.
    (
        "mini",
        65_536,
        r#"{"model_type": "lfm2_moe", "hidden_size": 1024, "intermediate_size": 3584,
        "moe_intermediate_size": 896, "num_dense_layers": 2, "num_experts": 16,
        "num_experts_per_tok": 4, "num_hidden_layers": 8, "num_attention_heads": 16,
        "num_key_value_heads": 4, "full_attn_idxs": [2, 5]"#,
    ),
];

/// Names of the published models.
pub fn shape_names() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|(name, ..)| *name)
}

/// The configuration of a published model and a checkpoint of seeded random weights; `None` for an
/// unknown name. In 4 bits the embedding is Q6_K, as in the published Q4_0 files.
///
/// # Errors
/// A defect of the table.
pub fn synthetic_model(
    name: &str,
    weights: WeightChoice,
) -> Option<Result<(ModelConfig, Checkpoint), ConfigError>> {
    let (name, vocab, sizes) = SHAPES.iter().find(|(known, ..)| *known == name)?;
    let json = format!(
        r#"{sizes}, "vocab_size": {vocab}, "conv_L_cache": 3, "conv_bias": false, "norm_eps": 1e-5,
        "rope_theta": 1000000.0, "max_position_embeddings": 128000, "tie_word_embeddings": true,
        "use_expert_bias": true, "norm_topk_prob": true, "routed_scaling_factor": 1.0,
        "bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0}}"#
    );
    Some(ModelConfig::from_json(name, json.as_bytes()).map(|config| {
        let tensors = expected_tensors(&config).into_iter().map(|(id, shape)| {
            let content = content(id, shape.last().copied().unwrap_or(1), weights);
            (id.hub_name(), shape, content)
        });
        let checkpoint = synthetic(name, tensors);
        (config, checkpoint)
    }))
}

fn content(id: TensorId, cols: usize, weights: WeightChoice) -> Synthetic {
    match id {
        TensorId::OperatorNorm(_)
        | TensorId::FfnNorm(_)
        | TensorId::EmbeddingNorm
        | TensorId::QNorm(_)
        | TensorId::KNorm(_) => Synthetic::Ones,
        TensorId::ConvTaps(_) | TensorId::Router(_) | TensorId::ExpertBias(_) => {
            Synthetic::Weights(ElementType::F32)
        }
        _ => Synthetic::Weights(match weights {
            WeightChoice::F16 => ElementType::F16,
            WeightChoice::Q8 => ElementType::Q8_0,
            WeightChoice::Q4 if id == TensorId::Embedding && cols.is_multiple_of(256) => {
                ElementType::Q6_K
            }
            WeightChoice::Q4 => ElementType::Q4_0,
        }),
    }
}
