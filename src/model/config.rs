//! The checked configuration of a model, which the rest of the crate relies on.

use std::fmt;

use crate::formats::KeyError;
use crate::kernels::{Heads, KvFormat};
use crate::state::StateDims;

/// Longest config.json or generation_config.json that is read, in bytes. A real one has 3 kB; the
/// limit bounds the memory of the parsed value (up to 40 times the text).
pub const MAX_CONFIG_BYTES: u64 = 512 << 10;

/// Reason for refusing a configuration file, in one line: file, field, problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{problem}", FieldName(.field.as_deref()))]
pub struct ConfigError {
    /// The file's name for the user.
    pub file: String,
    /// The field; `None` if the file as a whole is invalid.
    pub field: Option<String>,
    /// The problem, as "got X, need Y" if there is a value.
    pub problem: String,
}

impl From<KeyError> for ConfigError {
    fn from(error: KeyError) -> Self {
        Self { file: error.file, field: Some(error.key), problem: error.problem }
    }
}

struct FieldName<'a>(Option<&'a str>);

impl fmt::Display for FieldName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |field| write!(f, "{field}: "))
    }
}

/// The family of an LFM2 model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelType {
    /// `lfm2`: every FFN is dense.
    Lfm2,
    /// `lfm2_moe`: a mixture of experts from layer `num_dense_layers` on.
    Lfm2Moe,
}

impl ModelType {
    /// The name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lfm2 => "lfm2",
            Self::Lfm2Moe => "lfm2_moe",
        }
    }
}

/// The operator of a layer, which mixes positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorKind {
    /// The gated short causal convolution.
    ShortConv,
    /// Grouped-query attention over the whole context.
    FullAttention,
}

/// The FFN of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FfnKind {
    /// One SwiGLU of `intermediate_size`.
    Dense,
    /// A router and `num_experts` SwiGLUs of `moe.intermediate_size`.
    Moe,
}

/// One layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// Its operator.
    pub operator: OperatorKind,
    /// Its FFN.
    pub ffn: FfnKind,
}

/// The mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MoeConfig {
    /// Width of one expert (`moe_intermediate_size`).
    pub intermediate_size: usize,
    /// Experts of a layer.
    pub num_experts: usize,
    /// Experts that a token uses (`num_experts_per_tok`), 1 to `num_experts` and at most 64.
    pub top_k: usize,
    /// Whether `expert_bias` is added to the scores when experts are selected.
    pub use_expert_bias: bool,
    /// Whether the selected experts' weights are divided by (their sum + 1e-6).
    pub norm_topk_prob: bool,
    /// Factor on the weights, applied last.
    pub routed_scaling_factor: f32,
}

/// A model's configuration. Every value is checked: sizes are not 0 and within the limits of the
/// kernels, and they agree with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub model_type: ModelType,
    /// Rows of the embedding. Some may have no token.
    pub vocab_size: usize,
    /// Width of the residual stream, a multiple of 4.
    pub hidden_size: usize,
    /// Width of a dense FFN as its tensors have it (after `block_auto_adjust_ff_dim`).
    pub intermediate_size: usize,
    /// The layers, first to last.
    pub layers: Vec<LayerConfig>,
    /// The mixture of experts; present if and only if a layer has one.
    pub moe: Option<MoeConfig>,
    /// Query heads, a multiple of `n_kv_heads`.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head: a multiple of 4, at most 256.
    pub head_dim: usize,
    /// Taps of the short convolution (`conv_L_cache`), 1 to 16.
    pub conv_l_cache: usize,
    /// Whether the convolution and its two projections have a bias.
    pub conv_bias: bool,
    /// Epsilon of every RMSNorm.
    pub norm_eps: f32,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// Longest context that the model supports, in tokens.
    pub max_position_embeddings: usize,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// First token of a text.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text. May be empty: generation_config.json may name them instead.
    pub eos_token_ids: Vec<u32>,
    /// Padding.
    pub pad_token_id: Option<u32>,
}

impl ModelConfig {
    /// Layers with this operator.
    pub fn count(&self, operator: OperatorKind) -> usize {
        self.layers.iter().filter(|l| l.operator == operator).count()
    }

    /// Width of a layer's queries: `n_heads * head_dim`.
    pub fn q_size(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of a layer's keys, and of its values: `n_kv_heads * head_dim`.
    pub fn kv_size(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// The model's numbers that the state of sequences depends on.
    pub fn state_dims(&self) -> StateDims {
        StateDims {
            attentions: self.count(OperatorKind::FullAttention),
            convolutions: self.count(OperatorKind::ShortConv),
            hidden_size: self.hidden_size,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            conv_l_cache: self.conv_l_cache,
            rope_theta: self.rope_theta,
        }
    }

    /// Shapes of attention with keys and values in format `kv`.
    #[must_use]
    pub fn heads(&self, kv: KvFormat) -> Heads {
        Heads {
            n_heads: self.n_heads as u32,
            n_kv_heads: self.n_kv_heads as u32,
            head_dim: self.head_dim as u32,
            kv,
        }
    }

    /// Checks every value, and that the values agree.
    pub(super) fn check(&self, check: &Check<'_>) -> Result<(), ConfigError> {
        check.range("vocab_size", self.vocab_size, 1, 1 << 22)?;
        check.width("hidden_size", self.hidden_size, 1 << 16)?;
        check.range("intermediate_size", self.intermediate_size, 1, 1 << 18)?;
        check.range("num_hidden_layers", self.layers.len(), 1, 1024)?;
        check.range("num_attention_heads", self.n_heads, 1, 1024)?;
        check.range("num_key_value_heads", self.n_kv_heads, 1, self.n_heads)?;
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let (got, need) = (self.n_kv_heads, self.n_heads);
            let heads = (check.key)("num_attention_heads");
            return check.fail(
                "num_key_value_heads",
                format!("got {got}, need a divisor of {heads} {need}"),
            );
        }
        check.width("head_dim", self.head_dim, 256)?;
        check.range("conv_L_cache", self.conv_l_cache, 1, 16)?;
        if !(self.norm_eps >= f32::MIN_POSITIVE && self.norm_eps < 1.0) {
            let got = self.norm_eps;
            return check
                .fail("norm_eps", format!("got {got:e}, need a number above 0 and below 1"));
        }
        if !(1.0..=1e12).contains(&self.rope_theta) {
            let got = self.rope_theta;
            return check.fail("rope_theta", format!("got {got}, need 1 to 1e12"));
        }
        // The rotary embedding is computed from positions in f32, which are exact up to 2^24.
        check.range("max_position_embeddings", self.max_position_embeddings, 1, 1 << 24)?;
        if let Some(moe) = &self.moe {
            self.check_moe(check, moe)?;
        }
        self.check_matrices(check)
    }

    fn check_moe(&self, check: &Check<'_>, moe: &MoeConfig) -> Result<(), ConfigError> {
        check.range("moe_intermediate_size", moe.intermediate_size, 1, 1 << 16)?;
        check.range("num_experts", moe.num_experts, 1, 1024)?;
        // 64 experts of each row of the longest chunk fit one dimension of a grid.
        check.range("num_experts_per_tok", moe.top_k, 1, moe.num_experts.min(64))?;
        // Bounds the table of tensors, which has three for each expert.
        let experts = moe.num_experts.saturating_mul(self.layers.len());
        if experts > 1 << 16 {
            return check
                .fail("num_experts", format!("got {experts} in all layers, need at most 65536"));
        }
        let factor = moe.routed_scaling_factor;
        if !(factor > 0.0 && factor <= 1e4) {
            return check.fail(
                "routed_scaling_factor",
                format!("got {factor}, need a number above 0, at most 1e4"),
            );
        }
        Ok(())
    }

    /// Shaders count a matrix's elements, and those of a layer's stacked experts, in u32.
    fn check_matrices(&self, check: &Check<'_>) -> Result<(), ConfigError> {
        let hidden = self.hidden_size;
        let mut matrices = vec![
            ("vocab_size", [1, self.vocab_size, hidden]),
            ("hidden_size", [3, hidden, hidden]),
            ("num_attention_heads", [self.n_heads, self.head_dim, hidden]),
            ("intermediate_size", [2, self.intermediate_size, hidden]),
        ];
        if let Some(moe) = &self.moe {
            let width = 2 * moe.intermediate_size;
            matrices.push(("moe_intermediate_size", [moe.num_experts, width, hidden]));
        }
        for (field, [a, b, c]) in matrices {
            let elements = a.checked_mul(b).and_then(|n| n.checked_mul(c));
            if elements.is_none_or(|n| u32::try_from(n).is_err()) {
                return check.fail(
                    field,
                    format!(
                        "got a matrix of {a} x {b} x {c} elements, need at most {} ({} is {hidden})",
                        u32::MAX,
                        (check.key)("hidden_size")
                    ),
                );
            }
        }
        Ok(())
    }
}

/// The file that is checked, and its spelling of the fields of config.json.
pub(super) struct Check<'a> {
    pub file: &'a str,
    pub key: &'a dyn Fn(&str) -> String,
}

impl Check<'_> {
    fn fail(&self, field: &str, problem: String) -> Result<(), ConfigError> {
        Err(ConfigError { file: self.file.to_owned(), field: Some((self.key)(field)), problem })
    }

    fn range(&self, field: &str, got: usize, min: usize, max: usize) -> Result<(), ConfigError> {
        if (min..=max).contains(&got) {
            return Ok(());
        }
        self.fail(field, format!("got {got}, need {min} to {max}"))
    }

    /// Checks a width that is the number of columns of matrices.
    fn width(&self, field: &str, got: usize, max: usize) -> Result<(), ConfigError> {
        self.range(field, got, 1, max)?;
        if got.is_multiple_of(4) {
            return Ok(());
        }
        self.fail(
            field,
            format!("got {got}, need a multiple of 4 (the kernels read four values at a time)"),
        )
    }
}
