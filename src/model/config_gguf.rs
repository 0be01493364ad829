//! The configuration in a GGUF file's metadata, in the format of llama.cpp's conversion.
//!
//! Source: llama.cpp `conversion/lfm2.py`, `conversion/base.py`, `src/llama-model.cpp` (keys that
//! are read for `lfm2` and `lfm2moe`), `gguf-py/gguf/constants.py`. Keys that llama.cpp requires
//! are required here, and also a key whose default there is not LFM2's (`rope.freq_base`).

use super::config::{
    Check, ConfigError, FfnKind, LayerConfig, ModelConfig, ModelType, MoeConfig, OperatorKind,
};
use super::names::TensorId;
use crate::formats::gguf::Counts;
use crate::formats::{Checkpoint, KeyError, Metadata, quoted};

/// The name of each size in config.json, and its key without the architecture.
const KEYS: [(&str, &str); 15] = [
    ("vocab_size", "vocab_size"),
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("conv_L_cache", "shortconv.l_cache"),
    ("norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("max_position_embeddings", "context_length"),
    ("moe_intermediate_size", "expert_feed_forward_length"),
    ("num_experts", "expert_count"),
    ("num_experts_per_tok", "expert_used_count"),
    ("routed_scaling_factor", "expert_weights_scale"),
];

/// Keys of other models, and the values with which LFM2's forward pass is still the right one.
const OTHER_MATH: [(&str, f64); 16] = [
    ("attention.sliding_window", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.scale", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("final_logit_softcapping", 0.0),
    ("router_logit_softcapping", 0.0),
    ("logit_scale", 1.0),
    ("embedding_scale", 1.0),
    ("residual_scale", 1.0),
    ("expert_shared_count", 0.0),
    ("expert_shared_feed_forward_length", 0.0),
    ("expert_group_count", 1.0),
    ("expert_group_used_count", 1.0),
    ("rope.scaling.factor", 1.0),
    ("pooling_type", 0.0),
];

/// The only gating function that LFM2 has (`LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID`).
const SIGMOID: usize = 2;

fn architecture(model_type: ModelType) -> &'static str {
    match model_type {
        ModelType::Lfm2 => "lfm2",
        ModelType::Lfm2Moe => "lfm2moe",
    }
}

/// The key of a field of config.json.
fn key_of(model_type: ModelType, field: &str) -> String {
    let key = KEYS.iter().find(|(name, _)| *name == field).map_or(field, |(_, key)| key);
    format!("{}.{key}", architecture(model_type))
}

impl ModelConfig {
    /// Reads the configuration of a GGUF model, of the architectures `lfm2` and `lfm2moe`. If the
    /// metadata and a tensor's shape disagree about a size, the tensor is right.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), naming the metadata's key.
    pub fn from_gguf(metadata: &Metadata, checkpoint: &Checkpoint) -> Result<Self, ConfigError> {
        let config = read(metadata, checkpoint)?;
        let key = |field: &str| key_of(config.model_type, field);
        config.check(&Check { file: metadata.file(), key: &key })?;
        Ok(config)
    }
}

/// Reads the keys; [`ModelConfig::check`] checks ranges and relations.
fn read(m: &Metadata, checkpoint: &Checkpoint) -> Result<ModelConfig, ConfigError> {
    let model_type = model_type(m)?;
    let r = Reader { metadata: m, checkpoint, model_type };
    r.refuse_other_math()?;
    let layers = r.layers()?;
    let first = |kind: OperatorKind| layers.iter().position(|layer| layer.operator == kind);
    let attention = first(OperatorKind::FullAttention).unwrap_or(usize::MAX);
    let conv = first(OperatorKind::ShortConv).unwrap_or(usize::MAX);
    let moe_layer = layers.iter().position(|layer| layer.ffn == FfnKind::Moe);
    // One tensor of a kind gives a size; `validate` compares the tensors of all layers with it.
    let hidden_size = r.size("hidden_size", TensorId::Embedding, Side::Cols)?;
    let n_heads = r.count("num_attention_heads")?;
    let vocab_size = r.vocab_size()?;
    let has = |id: TensorId| checkpoint.find(&id.gguf_name()).is_some();
    // If any layer has one, all must.
    let any = |id: fn(usize) -> TensorId| (0..layers.len()).any(|i| has(id(i)));
    Ok(ModelConfig {
        model_type,
        vocab_size,
        hidden_size,
        intermediate_size: r.size("intermediate_size", TensorId::W1(0), Side::Rows)?,
        moe: match moe_layer {
            Some(layer) => Some(r.moe(layer, any(TensorId::ExpertBias))?),
            None => None,
        },
        n_heads,
        n_kv_heads: r.n_kv_heads()?,
        head_dim: r.head_dim(hidden_size, n_heads, attention)?,
        conv_l_cache: r.size("conv_L_cache", TensorId::ConvTaps(conv), Side::Cols)?,
        conv_bias: any(TensorId::ConvInProjBias) || any(TensorId::ConvTapsBias),
        norm_eps: r.single("norm_eps")?,
        rope_theta: r.number("rope_theta")?,
        max_position_embeddings: r.count("max_position_embeddings")?,
        tie_word_embeddings: !has(TensorId::LmHead),
        bos_token_id: m.token("tokenizer.ggml.bos_token_id", vocab_size)?,
        eos_token_ids: m.token("tokenizer.ggml.eos_token_id", vocab_size)?.into_iter().collect(),
        pad_token_id: m.token("tokenizer.ggml.padding_token_id", vocab_size)?,
        layers,
    })
}

fn model_type(m: &Metadata) -> Result<ModelType, KeyError> {
    const KEY: &str = "general.architecture";
    const TYPE: &str = "general.type";
    if let Some(kind) = m.string(TYPE)?
        && kind != "model"
    {
        return Err(m.mismatch(TYPE, "\"model\" (an adapter, projector or vocabulary is none)"));
    }
    match m.string(KEY)? {
        Some("lfm2") => Ok(ModelType::Lfm2),
        Some("lfm2moe") => Ok(ModelType::Lfm2Moe),
        Some("clip") => Err(
            m.mismatch(KEY, "lfm2 or lfm2moe (this is the projector of a vision or audio model)")
        ),
        Some("lfm3") => {
            Err(m.mismatch(KEY, "lfm2 or lfm2moe (LFM3 is another architecture and not supported)"))
        }
        Some(_) => Err(m.mismatch(KEY, "lfm2 or lfm2moe")),
        None => Err(m.error(KEY, "is missing")),
    }
}

/// A dimension of a matrix.
#[derive(Clone, Copy)]
enum Side {
    Rows,
    Cols,
    /// The experts of a stacked tensor.
    Experts,
}

struct Reader<'a> {
    metadata: &'a Metadata,
    checkpoint: &'a Checkpoint,
    model_type: ModelType,
}

impl Reader<'_> {
    fn key(&self, field: &str) -> String {
        key_of(self.model_type, field)
    }

    fn missing(&self, key: &str) -> KeyError {
        self.metadata.error(key, "is missing")
    }

    /// A required count: one number, or an array with the same number for each layer.
    fn count(&self, field: &str) -> Result<usize, KeyError> {
        let key = self.key(field);
        match self.metadata.counts(&key)? {
            Some(Counts::One(count)) => Ok(count),
            Some(Counts::Each(counts)) => match counts.split_first() {
                Some((first, rest)) if rest.iter().all(|count| count == first) => Ok(*first),
                _ => Err(self.metadata.mismatch(&key, "the same number for every layer")),
            },
            None => Err(self.missing(&key)),
        }
    }

    /// A required count that a tensor's shape also gives: the tensor is right. (Some files say
    /// `feed_forward_length` 12288 although the matrices have 8192 rows.)
    fn size(&self, field: &str, id: TensorId, side: Side) -> Result<usize, KeyError> {
        let told = self.count(field)?;
        let Some(actual) = self.dimension(id, side) else {
            return Ok(told);
        };
        if told != actual {
            log::warn!(
                "{}: {} is {told}, but {} has {actual}: the tensor is right",
                self.metadata.file(),
                self.key(field),
                id.gguf_name()
            );
        }
        Ok(actual)
    }

    fn dimension(&self, id: TensorId, side: Side) -> Option<usize> {
        let tensor = self.checkpoint.tensor(self.checkpoint.find(&id.gguf_name())?)?;
        match (side, &tensor.shape[..]) {
            (Side::Cols, [.., cols]) => Some(*cols),
            (Side::Rows, [.., rows, _]) => Some(*rows),
            (Side::Experts, [experts, _, _]) => Some(*experts),
            _ => None,
        }
    }

    /// The rows of the embedding; the key is not in every file.
    fn vocab_size(&self) -> Result<usize, KeyError> {
        let key = self.key("vocab_size");
        let told = self.metadata.count(&key)?;
        if told == Some(0) {
            return Err(self.metadata.mismatch(&key, "at least 1"));
        }
        match (self.dimension(TensorId::Embedding, Side::Rows), told) {
            (Some(_), Some(_)) => self.size("vocab_size", TensorId::Embedding, Side::Rows),
            (Some(rows), None) => Ok(rows),
            (None, Some(told)) => Ok(told),
            (None, None) => Err(self.missing(&key)),
        }
    }

    fn number(&self, field: &str) -> Result<f64, KeyError> {
        let key = self.key(field);
        self.metadata.number(&key)?.ok_or_else(|| self.missing(&key))
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "values are rounded to f32; one out of its range becomes 0 or infinite, which is refused"
    )]
    fn single(&self, field: &str) -> Result<f32, KeyError> {
        Ok(self.number(field)? as f32)
    }

    fn refuse_other_math(&self) -> Result<(), KeyError> {
        let m = self.metadata;
        for (name, need) in OTHER_MATH {
            let key = self.key(name);
            if m.number(&key)?.is_some_and(|value| value != need) {
                return Err(m.mismatch(&key, format_args!("{need} (others are not supported)")));
            }
        }
        let causal = self.key("attention.causal");
        if m.flag(&causal)? == Some(false) {
            return Err(m.mismatch(&causal, "true (an encoder is not supported)"));
        }
        let scaling = self.key("rope.scaling.type");
        if m.string(&scaling)?.is_some_and(|name| name != "none") {
            let need = "\"none\" (scaled rotary embeddings are not supported)";
            return Err(m.mismatch(&scaling, need));
        }
        Ok(())
    }

    /// A layer without heads for keys and values is a convolution.
    fn layers(&self) -> Result<Vec<LayerConfig>, KeyError> {
        let m = self.metadata;
        let n_layers = self.count("num_hidden_layers")?;
        let blocks = self.key("num_hidden_layers");
        if !(1..=1024).contains(&n_layers) {
            return Err(m.mismatch(&blocks, "1 to 1024"));
        }
        if let Some(beyond) = self.layer_beyond(n_layers) {
            let name = quoted(beyond);
            return Err(m.mismatch(&blocks, format_args!("more, the file has a tensor {name}")));
        }
        let key = self.key("num_key_value_heads");
        let heads = match m.counts(&key)? {
            Some(Counts::One(count)) => vec![count; n_layers],
            Some(Counts::Each(counts)) if counts.len() == n_layers => counts,
            Some(Counts::Each(_)) => {
                return Err(m.mismatch(&key, format_args!("{n_layers} numbers, as {blocks} says")));
            }
            None => return Err(self.missing(&key)),
        };
        let n_dense = match self.model_type {
            ModelType::Lfm2 => n_layers,
            ModelType::Lfm2Moe => {
                let key = self.key("leading_dense_block_count");
                let n_dense = m.count(&key)?.ok_or_else(|| self.missing(&key))?;
                if n_dense > n_layers {
                    return Err(m.mismatch(&key, format_args!("at most {blocks} {n_layers}")));
                }
                n_dense
            }
        };
        let layer = |(i, heads): (usize, usize)| LayerConfig {
            operator: match heads {
                0 => OperatorKind::ShortConv,
                _ => OperatorKind::FullAttention,
            },
            ffn: if i < n_dense { FfnKind::Dense } else { FfnKind::Moe },
        };
        Ok(heads.into_iter().enumerate().map(layer).collect())
    }

    /// A tensor that a layer should not have.
    fn layer_beyond(&self, n_layers: usize) -> Option<&str> {
        let names = self.checkpoint.tensors().iter().map(|tensor| tensor.name.as_str());
        names.into_iter().find(|name| {
            let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
            layer.and_then(|(layer, _)| layer.parse::<usize>().ok()).is_some_and(|i| i >= n_layers)
        })
    }

    /// The common number of heads of all attention layers; at least 1 if there are none.
    fn n_kv_heads(&self) -> Result<usize, KeyError> {
        let key = self.key("num_key_value_heads");
        let heads = match self.metadata.counts(&key)? {
            Some(Counts::One(count)) => vec![count],
            Some(Counts::Each(counts)) => counts,
            None => return Err(self.missing(&key)),
        };
        let mut there = heads.into_iter().filter(|heads| *heads > 0);
        let first = there.next().unwrap_or(1);
        match there.find(|heads| *heads != first) {
            Some(other) => Err(self.metadata.error(
                &key,
                format!("got {first} and {other}, need 0 or the same number for every layer"),
            )),
            None => Ok(first),
        }
    }

    /// A head's width: by its norm's shape, or by the keys.
    fn head_dim(&self, hidden: usize, heads: usize, layer: usize) -> Result<usize, KeyError> {
        let m = self.metadata;
        let key = self.key("head_dim");
        let told = m.count(&key)?;
        let head_dim = match (self.dimension(TensorId::QNorm(layer), Side::Cols), told) {
            (Some(actual), _) => actual,
            (None, Some(told)) => told,
            (None, None) => match hidden.checked_rem(heads) {
                Some(0) => hidden / heads,
                _ => {
                    let (key, width) = (self.key("num_attention_heads"), self.key("hidden_size"));
                    return Err(m.mismatch(&key, format_args!("a divisor of {width} {hidden}")));
                }
            },
        };
        // The rotary embedding covers a whole head, and values are as wide as keys.
        for name in ["attention.value_length", "rope.dimension_count"] {
            let key = self.key(name);
            if m.count(&key)?.is_some_and(|value| value != head_dim) {
                let need =
                    format_args!("{head_dim}, the width of a head (others are not supported)");
                return Err(m.mismatch(&key, need));
            }
        }
        Ok(head_dim)
    }

    fn moe(&self, layer: usize, use_expert_bias: bool) -> Result<MoeConfig, KeyError> {
        let m = self.metadata;
        let gating = self.key("expert_gating_func");
        if m.count(&gating)?.is_some_and(|function| function != SIGMOID) {
            return Err(m.mismatch(&gating, format_args!("{SIGMOID} (sigmoid)")));
        }
        let norm = self.key("expert_weights_norm");
        let w1 = TensorId::ExpertW1(layer, 0);
        Ok(MoeConfig {
            intermediate_size: self.size("moe_intermediate_size", w1, Side::Rows)?,
            num_experts: self.size("num_experts", w1, Side::Experts)?,
            top_k: self.count("num_experts_per_tok")?,
            use_expert_bias,
            norm_topk_prob: m.flag(&norm)?.unwrap_or(true),
            routed_scaling_factor: match m.get(&self.key("routed_scaling_factor")) {
                Some(_) => self.single("routed_scaling_factor")?,
                None => 1.0,
            },
        })
    }
}
