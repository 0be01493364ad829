//! The names and shapes of a model's tensors.
//!
//! Source of names and shapes: transformers 5.23 `models/lfm2_moe/modeling_lfm2_moe.py` and
//! `models/lfm2/modeling_lfm2.py`; the layout is the one that `save_pretrained` writes and that the
//! hub has. GGUF names: llama.cpp `gguf-py/gguf/tensor_mapping.py` and `constants.py`.

use crate::formats::Naming;

use super::config::{FfnKind, LayerConfig, ModelConfig, MoeConfig, OperatorKind};

/// Identifies one tensor of the model: of a layer by the layer's index, of an expert by the expert's too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorId {
    /// `[vocab_size, hidden_size]`.
    Embedding,
    /// `[vocab_size, hidden_size]`, of a model whose head is not its embedding.
    LmHead,
    /// The *final* norm, despite its name: `[hidden_size]`.
    EmbeddingNorm,
    /// The norm before a layer's operator: `[hidden_size]`.
    OperatorNorm(usize),
    /// The norm before a layer's FFN: `[hidden_size]`.
    FfnNorm(usize),
    /// `[3 * hidden_size, hidden_size]`: rows of B, then C, then x.
    ConvInProj(usize),
    /// `[3 * hidden_size]`.
    ConvInProjBias(usize),
    /// `[hidden_size, 1, conv_L_cache]`; the last tap is the current position's.
    ConvTaps(usize),
    /// `[hidden_size]`.
    ConvTapsBias(usize),
    /// `[hidden_size, hidden_size]`.
    ConvOutProj(usize),
    /// `[hidden_size]`.
    ConvOutProjBias(usize),
    /// `[n_heads * head_dim, hidden_size]`.
    Q(usize),
    /// `[n_kv_heads * head_dim, hidden_size]`.
    K(usize),
    /// `[n_kv_heads * head_dim, hidden_size]`.
    V(usize),
    /// `[hidden_size, n_heads * head_dim]`.
    AttentionOut(usize),
    /// `[head_dim]`, shared by all query heads.
    QNorm(usize),
    /// `[head_dim]`, shared by all key heads.
    KNorm(usize),
    /// Gate of a dense FFN: `[intermediate_size, hidden_size]`.
    W1(usize),
    /// Down of a dense FFN: `[hidden_size, intermediate_size]`.
    W2(usize),
    /// Up of a dense FFN: `[intermediate_size, hidden_size]`.
    W3(usize),
    /// `[num_experts, hidden_size]`.
    Router(usize),
    /// `[num_experts]`: added to the scores for the selection only.
    ExpertBias(usize),
    /// Gate of an expert (layer, expert): `[moe_intermediate_size, hidden_size]`.
    ExpertW1(usize, usize),
    /// Down of an expert (layer, expert): `[hidden_size, moe_intermediate_size]`.
    ExpertW2(usize, usize),
    /// Up of an expert (layer, expert): `[moe_intermediate_size, hidden_size]`.
    ExpertW3(usize, usize),
}

impl TensorId {
    /// The tensor's name on the hub, e.g. `model.layers.2.self_attn.q_proj.weight`.
    pub fn hub_name(&self) -> String {
        let (layer, rest) = match *self {
            Self::Embedding => return "model.embed_tokens.weight".to_owned(),
            Self::LmHead => return "lm_head.weight".to_owned(),
            Self::EmbeddingNorm => return "model.embedding_norm.weight".to_owned(),
            Self::OperatorNorm(i) => (i, "operator_norm.weight"),
            Self::FfnNorm(i) => (i, "ffn_norm.weight"),
            Self::ConvInProj(i) => (i, "conv.in_proj.weight"),
            Self::ConvInProjBias(i) => (i, "conv.in_proj.bias"),
            Self::ConvTaps(i) => (i, "conv.conv.weight"),
            Self::ConvTapsBias(i) => (i, "conv.conv.bias"),
            Self::ConvOutProj(i) => (i, "conv.out_proj.weight"),
            Self::ConvOutProjBias(i) => (i, "conv.out_proj.bias"),
            Self::Q(i) => (i, "self_attn.q_proj.weight"),
            Self::K(i) => (i, "self_attn.k_proj.weight"),
            Self::V(i) => (i, "self_attn.v_proj.weight"),
            Self::AttentionOut(i) => (i, "self_attn.out_proj.weight"),
            Self::QNorm(i) => (i, "self_attn.q_layernorm.weight"),
            Self::KNorm(i) => (i, "self_attn.k_layernorm.weight"),
            Self::W1(i) => (i, "feed_forward.w1.weight"),
            Self::W2(i) => (i, "feed_forward.w2.weight"),
            Self::W3(i) => (i, "feed_forward.w3.weight"),
            Self::Router(i) => (i, "feed_forward.gate.weight"),
            Self::ExpertBias(i) => (i, "feed_forward.expert_bias"),
            Self::ExpertW1(i, e) => return expert_name(i, e, "w1"),
            Self::ExpertW2(i, e) => return expert_name(i, e, "w2"),
            Self::ExpertW3(i, e) => return expert_name(i, e, "w3"),
        };
        format!("model.layers.{layer}.{rest}")
    }

    /// The tensor's name in a GGUF file, e.g. `blk.2.attn_q.weight`; an expert's is that of the
    /// tensor in which all experts are stacked.
    pub fn gguf_name(&self) -> String {
        let (layer, rest) = match *self {
            Self::Embedding => return "token_embd.weight".to_owned(),
            Self::LmHead => return "output.weight".to_owned(),
            Self::EmbeddingNorm => return "token_embd_norm.weight".to_owned(),
            Self::OperatorNorm(i) => (i, "attn_norm.weight"),
            Self::FfnNorm(i) => (i, "ffn_norm.weight"),
            Self::ConvInProj(i) => (i, "shortconv.in_proj.weight"),
            Self::ConvInProjBias(i) => (i, "shortconv.in_proj.bias"),
            Self::ConvTaps(i) => (i, "shortconv.conv.weight"),
            Self::ConvTapsBias(i) => (i, "shortconv.conv.bias"),
            Self::ConvOutProj(i) => (i, "shortconv.out_proj.weight"),
            Self::ConvOutProjBias(i) => (i, "shortconv.out_proj.bias"),
            Self::Q(i) => (i, "attn_q.weight"),
            Self::K(i) => (i, "attn_k.weight"),
            Self::V(i) => (i, "attn_v.weight"),
            Self::AttentionOut(i) => (i, "attn_output.weight"),
            Self::QNorm(i) => (i, "attn_q_norm.weight"),
            Self::KNorm(i) => (i, "attn_k_norm.weight"),
            Self::W1(i) => (i, "ffn_gate.weight"),
            Self::W2(i) => (i, "ffn_down.weight"),
            Self::W3(i) => (i, "ffn_up.weight"),
            Self::Router(i) => (i, "ffn_gate_inp.weight"),
            Self::ExpertBias(i) => (i, "exp_probs_b.bias"),
            Self::ExpertW1(i, _) => (i, "ffn_gate_exps.weight"),
            Self::ExpertW2(i, _) => (i, "ffn_down_exps.weight"),
            Self::ExpertW3(i, _) => (i, "ffn_up_exps.weight"),
        };
        format!("blk.{layer}.{rest}")
    }

    /// The tensor's other name in GGUF files of some writers: ollama's conversion gives the final
    /// norm its name in all other models. llama.cpp reads the first name alone.
    pub(super) fn other_gguf_name(&self) -> Option<&'static str> {
        matches!(self, Self::EmbeddingNorm).then_some("output_norm.weight")
    }

    /// The tensor's name in a checkpoint of either kind.
    pub fn name(&self, naming: Naming) -> String {
        match naming {
            Naming::Hub => self.hub_name(),
            Naming::Gguf => self.gguf_name(),
        }
    }

    /// Whether the tensor keeps the format of its type on the GPU; norms, routers, taps and biases
    /// are f32.
    pub fn is_matrix(&self) -> bool {
        !matches!(
            self,
            Self::EmbeddingNorm
                | Self::OperatorNorm(_)
                | Self::FfnNorm(_)
                | Self::ConvInProjBias(_)
                | Self::ConvTaps(_)
                | Self::ConvTapsBias(_)
                | Self::ConvOutProjBias(_)
                | Self::QNorm(_)
                | Self::KNorm(_)
                | Self::Router(_)
                | Self::ExpertBias(_)
        )
    }

    /// Whether this is one of an expert's three matrices.
    pub fn is_expert(&self) -> bool {
        matches!(self, Self::ExpertW1(..) | Self::ExpertW2(..) | Self::ExpertW3(..))
    }

    /// The tensor that stacks this matrix of an expert with those of the others, if it has no
    /// tensor of its own. A GGUF file stacks all of one kind: `[num_experts, rows, cols]`. In the
    /// fused layout that transformers 5 holds in memory (and some tools write),
    /// `experts.gate_up_proj` is `[num_experts, 2 * rows, cols]` with w1's rows first, and
    /// `experts.down_proj` is `[num_experts, rows, cols]`.
    pub(super) fn stacked(&self, naming: Naming) -> Option<Stacked> {
        let (layer, expert, name, per_expert, position) = match *self {
            Self::ExpertW1(i, e) => (i, e, "gate_up_proj", 2, 0),
            Self::ExpertW3(i, e) => (i, e, "gate_up_proj", 2, 1),
            Self::ExpertW2(i, e) => (i, e, "down_proj", 1, 0),
            _ => return None,
        };
        Some(match naming {
            Naming::Gguf => Stacked { name: self.gguf_name(), expert, per_expert: 1, position: 0 },
            Naming::Hub => {
                let name = format!("model.layers.{layer}.feed_forward.experts.{name}");
                Stacked { name, expert, per_expert, position }
            }
        })
    }
}

fn expert_name(layer: usize, expert: usize, matrix: &str) -> String {
    format!("model.layers.{layer}.feed_forward.experts.{expert}.{matrix}.weight")
}

/// Place of an expert's matrix in a tensor of all experts.
pub(super) struct Stacked {
    /// That tensor's name.
    pub(super) name: String,
    /// The expert: index along the first dimension.
    pub(super) expert: usize,
    /// Matrices that follow one another along the rows of one expert.
    pub(super) per_expert: usize,
    /// Index of this matrix among them.
    pub(super) position: usize,
}

/// The tensors that a configuration requires, in the order of the forward pass, with their shapes
/// on the hub.
pub fn expected_tensors(config: &ModelConfig) -> Vec<(TensorId, Vec<usize>)> {
    let hidden = config.hidden_size;
    let mut tensors = vec![(TensorId::Embedding, vec![config.vocab_size, hidden])];
    for (i, layer) in config.layers.iter().enumerate() {
        tensors.push((TensorId::OperatorNorm(i), vec![hidden]));
        operator_tensors(config, *layer, i, &mut tensors);
        tensors.push((TensorId::FfnNorm(i), vec![hidden]));
        match (layer.ffn, &config.moe) {
            (FfnKind::Moe, Some(moe)) => moe_tensors(hidden, moe, i, &mut tensors),
            _ => {
                let width = config.intermediate_size;
                tensors.push((TensorId::W1(i), vec![width, hidden]));
                tensors.push((TensorId::W3(i), vec![width, hidden]));
                tensors.push((TensorId::W2(i), vec![hidden, width]));
            }
        }
    }
    tensors.push((TensorId::EmbeddingNorm, vec![hidden]));
    if !config.tie_word_embeddings {
        tensors.push((TensorId::LmHead, vec![config.vocab_size, hidden]));
    }
    tensors
}

fn operator_tensors(
    config: &ModelConfig,
    layer: LayerConfig,
    i: usize,
    tensors: &mut Vec<(TensorId, Vec<usize>)>,
) {
    let hidden = config.hidden_size;
    match layer.operator {
        OperatorKind::ShortConv => {
            tensors.push((TensorId::ConvInProj(i), vec![3 * hidden, hidden]));
            tensors.push((TensorId::ConvTaps(i), vec![hidden, 1, config.conv_l_cache]));
            tensors.push((TensorId::ConvOutProj(i), vec![hidden, hidden]));
            if config.conv_bias {
                tensors.push((TensorId::ConvInProjBias(i), vec![3 * hidden]));
                tensors.push((TensorId::ConvTapsBias(i), vec![hidden]));
                tensors.push((TensorId::ConvOutProjBias(i), vec![hidden]));
            }
        }
        OperatorKind::FullAttention => {
            let (q, kv, head) = (config.q_size(), config.kv_size(), config.head_dim);
            tensors.push((TensorId::Q(i), vec![q, hidden]));
            tensors.push((TensorId::K(i), vec![kv, hidden]));
            tensors.push((TensorId::V(i), vec![kv, hidden]));
            tensors.push((TensorId::QNorm(i), vec![head]));
            tensors.push((TensorId::KNorm(i), vec![head]));
            tensors.push((TensorId::AttentionOut(i), vec![hidden, q]));
        }
    }
}

fn moe_tensors(
    hidden: usize,
    moe: &MoeConfig,
    i: usize,
    tensors: &mut Vec<(TensorId, Vec<usize>)>,
) {
    let (experts, width) = (moe.num_experts, moe.intermediate_size);
    tensors.push((TensorId::Router(i), vec![experts, hidden]));
    if moe.use_expert_bias {
        tensors.push((TensorId::ExpertBias(i), vec![experts]));
    }
    for e in 0..experts {
        tensors.push((TensorId::ExpertW1(i, e), vec![width, hidden]));
        tensors.push((TensorId::ExpertW3(i, e), vec![width, hidden]));
        tensors.push((TensorId::ExpertW2(i, e), vec![hidden, width]));
    }
}
