//! Twin of `shaders/qk_norm_rope_append.wgsl`.

use super::{Sequence, decode_kv_q8, encode_kv_q8, inverse_rms, round_f16, rows};

/// Rounding of stored keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// None.
    Exact,
    /// To f16.
    F16,
    /// To 8-bit integers in blocks of 32.
    Q8,
}

/// Norm and RoPE of heads before attention.
#[derive(Clone, Copy, Debug)]
pub struct QkNormRope<'a> {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Added to the mean square.
    pub eps: f32,
    /// `[2, head_dim]`: `q_layernorm`, `k_layernorm`.
    pub norms: &'a [f32],
    /// `[context, head_dim]`: cosines, then sines, of `head_dim / 2` angles.
    pub rope: &'a [f32],
    /// Rounding of stored keys and values.
    pub stored: Stored,
}

impl QkNormRope<'_> {
    /// Norm, then RoPE in halves: `(a, b) -> (a cos - b sin, b cos + a sin)`.
    fn rotated(&self, head: &[f32], norm: usize, position: usize) -> Vec<f32> {
        let half = self.head_dim / 2;
        let factor = inverse_rms(head, self.eps);
        let normed: Vec<f64> = head
            .iter()
            .zip(&self.norms[norm * self.head_dim..])
            .map(|(&u, &n)| f64::from(n) * f64::from(u) * factor)
            .collect();
        let angles = &self.rope[position * self.head_dim..][..self.head_dim];
        (0..self.head_dim)
            .map(|i| {
                let (cos, sin) = (f64::from(angles[i % half]), f64::from(angles[half + i % half]));
                let (a, b) = (normed[i % half], normed[half + i % half]);
                (if i < half { a * cos - b * sin } else { b * cos + a * sin }) as f32
            })
            .collect()
    }

    fn store(&self, head: Vec<f32>) -> Vec<f32> {
        match self.stored {
            Stored::Exact => head,
            Stored::F16 => head.into_iter().map(round_f16).collect(),
            Stored::Q8 => decode_kv_q8(&encode_kv_q8(&head, self.head_dim), self.head_dim),
        }
    }
}

/// Applies norm and RoPE to q and k, appends k and v to the pools (`[pool rows, n_kv_heads, head_dim]`),
/// and returns q, `[rows, n_heads, head_dim]`.
///
/// `qkv` is `[rows, n_heads + 2 n_kv_heads, head_dim]`. Source: transformers `Lfm2MoeAttention`
/// (norm before RoPE) and `apply_rotary_pos_emb`.
#[must_use]
pub fn qk_norm_rope_append(
    p: &QkNormRope<'_>,
    sequences: &[Sequence],
    qkv: &[f32],
    keys: &mut [f32],
    values: &mut [f32],
) -> Vec<f32> {
    let (n_heads, n_kv_heads, head_dim) = (p.n_heads, p.n_kv_heads, p.head_dim);
    let heads = n_heads + 2 * n_kv_heads;
    let mut q = Vec::new();
    for (row, sequence, position) in rows(sequences) {
        let pool = sequence.pool_row(position) * n_kv_heads;
        for head in 0..heads {
            let u = &qkv[(row * heads + head) * head_dim..][..head_dim];
            if head < n_heads {
                q.extend(p.rotated(u, 0, position));
                continue;
            }
            let (store, kv_head, u) = if head < n_heads + n_kv_heads {
                (&mut *keys, head - n_heads, p.rotated(u, 1, position))
            } else {
                (&mut *values, head - n_heads - n_kv_heads, u.to_vec())
            };
            for (to, v) in store[(pool + kv_head) * head_dim..].iter_mut().zip(p.store(u)) {
                *to = v;
            }
        }
    }
    q
}
