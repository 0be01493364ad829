//! Twin of `shaders/attention.wgsl` with `attention_combine.wgsl`, and of `flash_attention.wgsl`, which
//! compute the same.

use super::{Sequence, dot, rows};

/// Shapes of attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionHeads {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; query head h uses `h / (n_heads / n_kv_heads)`.
    pub n_kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Factor of the scores: `1 / sqrt(head_dim)`.
    pub scale: f32,
}

/// `o[r, head, :] = sum_t softmax_t(scale * q . k_t) v_t` over the positions t up to the row's own.
///
/// `q` is `[rows, n_heads, head_dim]`, keys and values `[pool rows, n_kv_heads, head_dim]` as
/// stored. Source: transformers `eager_attention_forward`, causal.
#[must_use]
pub fn attention(
    heads: &AttentionHeads,
    sequences: &[Sequence],
    q: &[f32],
    keys: &[f32],
    values: &[f32],
) -> Vec<f32> {
    let &AttentionHeads { n_heads, n_kv_heads, head_dim, scale } = heads;
    let mut o = Vec::with_capacity(q.len());
    for (row, sequence, position) in rows(sequences) {
        for head in 0..n_heads {
            let q = &q[(row * n_heads + head) * head_dim..][..head_dim];
            let kv_head = head / (n_heads / n_kv_heads);
            let at = |t: usize| (sequence.pool_row(t) * n_kv_heads + kv_head) * head_dim;
            let scores: Vec<f64> = (0..=position)
                .map(|t| f64::from(scale) * dot(q, &keys[at(t)..][..head_dim]))
                .collect();
            let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mut sum = 0.0;
            let mut joined = vec![0.0; head_dim];
            for (t, s) in scores.iter().enumerate() {
                let p = (s - high).exp();
                sum += p;
                for (j, &v) in joined.iter_mut().zip(&values[at(t)..][..head_dim]) {
                    *j += p * f64::from(v);
                }
            }
            o.extend(joined.iter().map(|j| (j / sum) as f32));
        }
    }
    o
}
