//! The weights on the GPU, under the names of the forward pass.

use crate::gpu::Tensor;
use crate::kernels::{Format, Matrix};

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[vocab_size, hidden_size]`.
    pub embedding: Matrix,
    /// `[vocab_size, hidden_size]`, of a model whose head is not its embedding.
    pub lm_head: Option<Matrix>,
    /// The final norm, despite its name: `[hidden_size]`.
    pub embedding_norm: Tensor<f32>,
    /// The layers in order.
    pub layers: Vec<Layer>,
}

impl Weights {
    /// The matrix that computes logits.
    #[must_use]
    pub fn head(&self) -> &Matrix {
        self.lm_head.as_ref().unwrap_or(&self.embedding)
    }

    /// Whether some weights are quantised in blocks.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.matrices().iter().flat_map(|m| &m.parts).any(|p| p.format.is_quantised())
    }

    /// All matrices except routers.
    #[must_use]
    pub fn matrices(&self) -> Vec<&Matrix> {
        let mut all = vec![&self.embedding];
        all.extend(self.lm_head.as_ref());
        for layer in &self.layers {
            match &layer.operator {
                Operator::ShortConv(conv) => all.extend([&conv.in_proj, &conv.out_proj]),
                Operator::Attention(a) => all.extend([&a.qkv, &a.out_proj]),
            }
            match &layer.ffn {
                Ffn::Dense { w13, w2 } | Ffn::Moe { w13, w2, .. } => all.extend([w13, w2]),
            }
        }
        all
    }

    /// The format with the most bytes.
    #[must_use]
    pub fn format(&self) -> Format {
        let all = self.matrices();
        let bytes = |format: Format| -> u64 {
            let parts = all.iter().flat_map(|m| &m.parts).filter(|p| p.format == format);
            parts.map(|p| p.data.bytes()).sum()
        };
        Format::ALL.into_iter().max_by_key(|f| bytes(*f)).unwrap_or(Format::F32)
    }
}

/// One layer: `x += operator(norm(x))`, `x += ffn(norm(x))`.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[hidden_size]`.
    pub operator_norm: Tensor<f32>,
    /// The operator.
    pub operator: Operator,
    /// `[hidden_size]`.
    pub ffn_norm: Tensor<f32>,
    /// The FFN.
    pub ffn: Ffn,
}

/// The operator of a layer, which mixes positions.
#[derive(Clone, Debug)]
pub enum Operator {
    /// The gated short convolution.
    ShortConv(ShortConvWeights),
    /// Grouped-query attention.
    Attention(AttentionWeights),
}

/// Weights of a gated short convolution.
#[derive(Clone, Debug)]
pub struct ShortConvWeights {
    /// Index among the model's convolutions, and of its ring in the state.
    pub index: usize,
    /// `[3 hidden_size, hidden_size]`: rows of B, C, x.
    pub in_proj: Matrix,
    /// `[3 hidden_size]`.
    pub in_proj_bias: Option<Tensor<f32>>,
    /// `[hidden_size, conv_L_cache]`.
    pub taps: Tensor<f32>,
    /// `[hidden_size]`.
    pub taps_bias: Option<Tensor<f32>>,
    /// `[hidden_size, hidden_size]`.
    pub out_proj: Matrix,
    /// `[hidden_size]`.
    pub out_proj_bias: Option<Tensor<f32>>,
}

/// Weights of an attention.
#[derive(Clone, Debug)]
pub struct AttentionWeights {
    /// Index among the model's attention layers, and of its keys and values in the state.
    pub index: usize,
    /// `[(n_heads + 2 n_kv_heads) head_dim, hidden_size]`: q, k, v stacked.
    pub qkv: Matrix,
    /// `[2, head_dim]`: `q_layernorm`, `k_layernorm`.
    pub qk_norms: Tensor<f32>,
    /// `[hidden_size, n_heads head_dim]`.
    pub out_proj: Matrix,
}

/// The FFN of a layer.
#[derive(Clone, Debug)]
pub enum Ffn {
    /// One SwiGLU.
    Dense {
        /// `[2 intermediate_size, hidden_size]`: alternating rows of w1 (gate) and w3 (up).
        w13: Matrix,
        /// `[hidden_size, intermediate_size]`.
        w2: Matrix,
    },
    /// A router and its experts.
    Moe {
        /// `[num_experts, hidden_size]`, always f32.
        router: Matrix,
        /// `[num_experts]`, always f32; zeros if the model has none.
        expert_bias: Tensor<f32>,
        /// `[num_experts, 2 moe_intermediate_size, hidden_size]`: alternating rows of w1 and w3.
        w13: Matrix,
        /// `[num_experts, hidden_size, moe_intermediate_size]`.
        w2: Matrix,
    },
}
