//! Reads config.json in every spelling that published LFM2 models use.
//!
//! Source: transformers 5.23 `models/lfm2/configuration_lfm2.py`, `modeling_lfm2.py` (Lfm2MLP),
//! `models/lfm2_moe/configuration_lfm2_moe.py`, and the files of the published models. A field is
//! required here if the class has a default that the published models do not share (layers, sizes,
//! eos, rope_theta): a wrong default would give wrong answers.

use super::config::{
    Check, ConfigError, FfnKind, LayerConfig, ModelConfig, ModelType, MoeConfig, OperatorKind,
};
use super::fields::{Fields, show};
use serde_json::Value;

/// Fields that are read, besides those of `IMPLIED`.
const KNOWN: [&str; 42] = [
    "model_type",
    "architectures",
    "vocab_size",
    "hidden_size",
    "block_dim",
    "conv_dim",
    "conv_dim_out",
    "intermediate_size",
    "block_ff_dim",
    "block_auto_adjust_ff_dim",
    "block_ffn_dim_multiplier",
    "block_multiple_of",
    "num_hidden_layers",
    "layer_types",
    "full_attn_idxs",
    "num_dense_layers",
    "moe_intermediate_size",
    "num_experts",
    "num_experts_per_tok",
    "use_expert_bias",
    "norm_topk_prob",
    "routed_scaling_factor",
    "num_attention_heads",
    "num_heads",
    "num_key_value_heads",
    "head_dim",
    "conv_L_cache",
    "conv_bias",
    "norm_eps",
    "block_norm_eps",
    "rope_theta",
    "theta",
    "rope_parameters",
    "rope_scaling",
    "max_position_embeddings",
    "tie_word_embeddings",
    "tie_embedding",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "quantization_config",
    "quantization",
];

/// The value of an optional field of other models with which LFM2's forward pass is still the right
/// one. Other values would change the result and are not implemented.
enum Implied {
    /// Absent, null, false, 0 or "".
    Unset,
    True,
    One,
    Silu,
}

const IMPLIED: [(&str, Implied); 32] = [
    ("sliding_window", Implied::Unset),
    ("use_sliding_window", Implied::Unset),
    ("attention_bias", Implied::Unset),
    ("qkv_bias", Implied::Unset),
    ("mlp_bias", Implied::Unset),
    ("use_bidirectional_attention", Implied::Unset),
    ("is_encoder_decoder", Implied::Unset),
    ("add_cross_attention", Implied::Unset),
    ("attn_logit_softcapping", Implied::Unset),
    ("final_logit_softcapping", Implied::Unset),
    ("logits_soft_cap", Implied::Unset),
    ("n_shared_experts", Implied::Unset),
    ("num_shared_experts", Implied::Unset),
    ("shared_expert_intermediate_size", Implied::Unset),
    ("text_config", Implied::Unset),
    ("vision_config", Implied::Unset),
    ("audio_config", Implied::Unset),
    ("encoder", Implied::Unset),
    ("is_causal", Implied::True),
    ("use_pos_enc", Implied::True),
    ("block_use_swiglu", Implied::True),
    ("use_qk_norm", Implied::True),
    ("n_group", Implied::One),
    ("topk_group", Implied::One),
    ("partial_rotary_factor", Implied::One),
    ("embedding_multiplier", Implied::One),
    ("residual_multiplier", Implied::One),
    ("logits_scaling", Implied::One),
    ("logit_scale", Implied::One),
    ("hidden_act", Implied::Silu),
    ("hidden_activation", Implied::Silu),
    ("attention_multiplier", Implied::Unset),
];

impl Implied {
    fn accepts(&self, value: &Value) -> bool {
        let is = |number: f64| value.as_f64() == Some(number);
        match self {
            Self::Unset => value == &Value::Bool(false) || is(0.0) || value == "",
            Self::True => value == &Value::Bool(true),
            Self::One => is(1.0),
            Self::Silu => value == "silu" || value == "swish",
        }
    }

    fn need(&self) -> &'static str {
        match self {
            Self::Unset => "it unset",
            Self::True => "true",
            Self::One => "1",
            Self::Silu => "\"silu\"",
        }
    }
}

impl ModelConfig {
    /// Reads `config.json` of a Hugging Face checkpoint, of model types `lfm2` and `lfm2_moe`, in
    /// the spellings of every version of transformers. `file` is its name in errors.
    ///
    /// Unknown fields are ignored, except those that would change the model's result in a way that
    /// is not implemented.
    ///
    /// # Errors
    /// [`ConfigError`] for a field that is missing, of a wrong type, out of range, in
    /// contradiction to another, or not supported.
    pub fn from_json(file: &str, bytes: &[u8]) -> Result<Self, ConfigError> {
        let config = read(file, bytes)?;
        config.check(&Check { file, key: &str::to_owned })?;
        Ok(config)
    }
}

/// Reads the fields; [`ModelConfig::check`] checks ranges and relations.
fn read(file: &str, bytes: &[u8]) -> Result<ModelConfig, ConfigError> {
    let fields = Fields::parse(file, bytes, |name| {
        KNOWN.contains(&name) || IMPLIED.iter().any(|(implied, _)| *implied == name)
    })?;
    let f = &fields;
    let model_type = model_type(f)?;
    refuse_other_math(f)?;
    let hidden_size = count(f, &["hidden_size", "block_dim", "conv_dim", "conv_dim_out"])?;
    let n_heads = count(f, &["num_attention_heads", "num_heads"])?;
    let layers = layers(f, model_type)?;
    let vocab_size = count(f, &["vocab_size"])?;
    if vocab_size == 0 {
        return Err(f.mismatch("vocab_size", "at least 1"));
    }
    let has_moe = layers.iter().any(|layer| layer.ffn == FfnKind::Moe);
    Ok(ModelConfig {
        model_type,
        vocab_size,
        hidden_size,
        intermediate_size: intermediate_size(f, model_type)?,
        layers,
        moe: if has_moe { Some(moe(f)?) } else { None },
        n_heads,
        n_kv_heads: count(f, &["num_key_value_heads"])?,
        head_dim: head_dim(f, hidden_size, n_heads)?,
        conv_l_cache: count(f, &["conv_L_cache"])?,
        conv_bias: f.flag("conv_bias")?.unwrap_or(false),
        norm_eps: single(f, &["norm_eps", "block_norm_eps"])?,
        rope_theta: rope_theta(f)?,
        max_position_embeddings: count(f, &["max_position_embeddings"])?,
        tie_word_embeddings: f
            .spelled(&["tie_word_embeddings", "tie_embedding"], Fields::flag)?
            .is_none_or(|(_, tied)| tied),
        bos_token_id: f.token("bos_token_id", vocab_size)?,
        eos_token_ids: f.tokens("eos_token_id", vocab_size)?,
        pad_token_id: f.token("pad_token_id", vocab_size)?,
    })
}

/// A required count in any of its spellings.
fn count(f: &Fields, spellings: &[&str]) -> Result<usize, ConfigError> {
    match f.spelled(spellings, Fields::count)? {
        Some((_, value)) => Ok(value),
        None => Err(f.missing(spellings.first().unwrap_or(&"?"))),
    }
}

/// A required number in any of its spellings, as f32.
#[allow(
    clippy::cast_possible_truncation,
    reason = "values are rounded to f32; one out of its range becomes 0 or infinite, which is refused"
)]
fn single(f: &Fields, spellings: &[&str]) -> Result<f32, ConfigError> {
    match f.spelled(spellings, Fields::number)? {
        Some((_, value)) => Ok(value as f32),
        None => Err(f.missing(spellings.first().unwrap_or(&"?"))),
    }
}

fn model_type(f: &Fields) -> Result<ModelType, ConfigError> {
    let (model_type, classes) = match f.string("model_type")? {
        Some("lfm2") => (ModelType::Lfm2, ["Lfm2ForCausalLM", "Lfm2Model"]),
        Some("lfm2_moe") => (ModelType::Lfm2Moe, ["Lfm2MoeForCausalLM", "Lfm2MoeModel"]),
        Some("lfm2_vl" | "lfm2-vl" | "lfm2_audio" | "lfm_audio") => {
            return Err(f.mismatch(
                "model_type",
                "lfm2 or lfm2_moe (vision and audio models are not supported)",
            ));
        }
        Some("lfm3" | "lfm3_vl") => {
            return Err(f.mismatch(
                "model_type",
                "lfm2 or lfm2_moe (LFM3 is another architecture and not supported)",
            ));
        }
        Some(_) => return Err(f.mismatch("model_type", "lfm2 or lfm2_moe")),
        None => return Err(f.missing("model_type")),
    };
    for class in f.strings("architectures")?.unwrap_or_default() {
        if !classes.contains(&class) {
            let got = show(&Value::from(class));
            let name = model_type.name();
            return Err(f.error(
                "architectures",
                format!(
                    "got {got}, need {} for model_type {name} (a bidirectional, classifying or other variant is not supported)",
                    classes[0]
                ),
            ));
        }
    }
    Ok(model_type)
}

/// Refuses fields that would change the result and are not implemented.
fn refuse_other_math(f: &Fields) -> Result<(), ConfigError> {
    for (field, implied) in IMPLIED {
        if f.get(field).is_some_and(|value| !implied.accepts(value)) {
            let need = implied.need();
            return Err(f.mismatch(field, format_args!("{need} (anything else is not supported)")));
        }
    }
    for field in ["quantization_config", "quantization"] {
        if f.get(field).is_some() {
            return Err(f.error(
                field,
                "the weights are quantised in a way that is not supported, need F32, F16 or BF16 weights",
            ));
        }
    }
    if f.get("rope_scaling").is_some() {
        return Err(f.mismatch("rope_scaling", "null (scaled rotary embeddings are not supported)"));
    }
    Ok(())
}

fn layers(f: &Fields, model_type: ModelType) -> Result<Vec<LayerConfig>, ConfigError> {
    let n_layers = count(f, &["num_hidden_layers"])?;
    if !(1..=1024).contains(&n_layers) {
        return Err(f.mismatch("num_hidden_layers", "1 to 1024"));
    }
    let listed = match f.strings("layer_types")? {
        Some(names) => Some(layer_types(f, &names, n_layers)?),
        None => None,
    };
    let indexed = match f.counts("full_attn_idxs")? {
        Some(indices) => Some(full_attn_idxs(f, &indices, n_layers)?),
        None => None,
    };
    let operators = match (listed, indexed) {
        (Some(listed), Some(indexed)) if listed != indexed => {
            return Err(f.error("full_attn_idxs", "names other layers than layer_types"));
        }
        (Some(operators), _) | (None, Some(operators)) => operators,
        (None, None) => return Err(f.missing("layer_types")),
    };
    let n_dense = match model_type {
        ModelType::Lfm2 => n_layers,
        ModelType::Lfm2Moe => count(f, &["num_dense_layers"])?,
    };
    if n_dense > n_layers {
        return Err(
            f.mismatch("num_dense_layers", format_args!("at most num_hidden_layers {n_layers}"))
        );
    }
    Ok(operators
        .into_iter()
        .enumerate()
        .map(|(i, operator)| LayerConfig {
            operator,
            ffn: if i < n_dense { FfnKind::Dense } else { FfnKind::Moe },
        })
        .collect())
}

fn layer_types(
    f: &Fields,
    names: &[&str],
    n_layers: usize,
) -> Result<Vec<OperatorKind>, ConfigError> {
    if names.len() != n_layers {
        let got = names.len();
        return Err(
            f.error("layer_types", format!("got {got} layers, need num_hidden_layers {n_layers}"))
        );
    }
    let mut operators = Vec::with_capacity(n_layers);
    for (i, name) in names.iter().enumerate() {
        operators.push(match *name {
            "conv" => OperatorKind::ShortConv,
            "full_attention" => OperatorKind::FullAttention,
            _ => {
                let got = show(&Value::from(*name));
                return Err(f.error(
                    "layer_types",
                    format!("layer {i}: got {got}, need \"conv\" or \"full_attention\""),
                ));
            }
        });
    }
    Ok(operators)
}

fn full_attn_idxs(
    f: &Fields,
    indices: &[usize],
    n_layers: usize,
) -> Result<Vec<OperatorKind>, ConfigError> {
    let mut operators = vec![OperatorKind::ShortConv; n_layers];
    for &index in indices {
        match operators.get_mut(index) {
            Some(operator @ OperatorKind::ShortConv) => *operator = OperatorKind::FullAttention,
            Some(_) => {
                return Err(f.error("full_attn_idxs", format!("layer {index} is listed twice")));
            }
            None => {
                return Err(f.error(
                    "full_attn_idxs",
                    format!("got layer {index}, need less than num_hidden_layers {n_layers}"),
                ));
            }
        }
    }
    Ok(operators)
}

/// The width of the dense FFN's tensors: the MoE class takes the field as it is, the dense class
/// may adjust it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "int() of a small positive float, as the reference has it; both factors are range-checked"
)]
fn intermediate_size(f: &Fields, model_type: ModelType) -> Result<usize, ConfigError> {
    let spellings = ["intermediate_size", "block_ff_dim"];
    if model_type == ModelType::Lfm2Moe {
        return count(f, &spellings);
    }
    let configured = count(f, &spellings)?;
    if !f.flag("block_auto_adjust_ff_dim")?.unwrap_or(true) {
        return Ok(configured);
    }
    if !(1..=1 << 20).contains(&configured) {
        return Err(
            f.error("intermediate_size", format!("got {configured}, need 1 to {}", 1 << 20))
        );
    }
    let adjusted = 2 * configured / 3;
    // As in Lfm2MLP, an explicit null turns the rounding off too; an absent field means 1.0.
    if f.is_null("block_ffn_dim_multiplier") {
        return Ok(adjusted);
    }
    let multiplier = f.number("block_ffn_dim_multiplier")?.unwrap_or(1.0);
    if !(multiplier > 0.0 && multiplier <= 64.0) {
        return Err(f.mismatch("block_ffn_dim_multiplier", "a number above 0, at most 64"));
    }
    let multiple = f.count("block_multiple_of")?.unwrap_or(256);
    if !(1..=1 << 16).contains(&multiple) {
        return Err(f.mismatch("block_multiple_of", "1 to 65536"));
    }
    let scaled = (multiplier * adjusted as f64) as usize;
    Ok(scaled.div_ceil(multiple) * multiple)
}

fn moe(f: &Fields) -> Result<MoeConfig, ConfigError> {
    Ok(MoeConfig {
        intermediate_size: count(f, &["moe_intermediate_size"])?,
        num_experts: count(f, &["num_experts"])?,
        top_k: count(f, &["num_experts_per_tok"])?,
        use_expert_bias: f.flag("use_expert_bias")?.unwrap_or(true),
        norm_topk_prob: f.flag("norm_topk_prob")?.unwrap_or(true),
        routed_scaling_factor: match f.get("routed_scaling_factor") {
            Some(_) => single(f, &["routed_scaling_factor"])?,
            None => 1.0,
        },
    })
}

fn head_dim(f: &Fields, hidden_size: usize, n_heads: usize) -> Result<usize, ConfigError> {
    if let Some(head_dim) = f.count("head_dim")? {
        return Ok(head_dim);
    }
    match hidden_size.checked_rem(n_heads) {
        Some(0) => Ok(hidden_size / n_heads),
        _ => Err(f.error(
            "num_attention_heads",
            format!("got {n_heads}, need a divisor of hidden_size {hidden_size}"),
        )),
    }
}

fn rope_theta(f: &Fields) -> Result<f64, ConfigError> {
    match f.get("rope_parameters") {
        None => {}
        Some(Value::Object(parameters)) => {
            for (name, value) in parameters.iter().filter(|(_, value)| !value.is_null()) {
                let accepted = match name.as_str() {
                    "rope_theta" => true,
                    "rope_type" | "type" => value == "default",
                    "partial_rotary_factor" => value.as_f64() == Some(1.0),
                    _ => false,
                };
                if !accepted {
                    let (field, got) = (format!("rope_parameters.{name}"), show(value));
                    let field: String =
                        field.chars().filter(|c| !c.is_control()).take(100).collect();
                    return Err(f.error(
                        &field,
                        format!("got {got}, need rope_theta and rope_type \"default\" only (other rotary embeddings are not supported)"),
                    ));
                }
            }
        }
        Some(_) => return Err(f.mismatch("rope_parameters", "an object")),
    }
    let spellings = ["rope_theta", "rope_parameters.rope_theta", "theta"];
    match f.spelled(&spellings, Fields::number)? {
        Some((_, theta)) => Ok(theta),
        None => Err(f.missing("rope_theta")),
    }
}
