//! Twin of `shaders/norm_route.wgsl`.

use super::{dot, rms_norm, sigmoid};

/// The router of a mixture-of-experts layer.
#[derive(Clone, Debug)]
pub struct Router<'a> {
    /// `[hidden_size]`: `ffn_norm`.
    pub scale: &'a [f32],
    /// `[experts, hidden_size]`.
    pub router: &'a [f32],
    /// `[experts]`; zeros if the model has none. It affects the choice of experts, not their gates.
    pub expert_bias: &'a [f32],
    /// Added to the mean square.
    pub eps: f32,
    /// Experts of a row.
    pub top_k: usize,
    /// Divide the gates by their sum + 1e-6.
    pub norm_topk_prob: bool,
    /// Factor of the gates.
    pub routed_scaling_factor: f32,
}

/// The experts of rows.
#[derive(Clone, Debug)]
pub struct Routes {
    /// `[rows, hidden_size]`: the normed rows.
    pub h: Vec<f32>,
    /// `[rows, top_k]`: experts in descending order of key; equal ones by id.
    pub ids: Vec<u32>,
    /// `[rows, experts]`: sigmoid of the router's logits.
    pub scores: Vec<f32>,
    /// `[rows, experts]`: score + bias, by which experts are chosen.
    pub keys: Vec<f32>,
}

impl Router<'_> {
    /// The gates of `ids` from a row's `scores`. The ids may also be others than the router's, equally good
    /// within rounding.
    #[must_use]
    pub fn gates(&self, scores: &[f32], ids: &[u32]) -> Vec<f32> {
        let chosen: Vec<f64> = ids.iter().map(|&id| f64::from(scores[id as usize])).collect();
        let norm = if self.norm_topk_prob { chosen.iter().sum::<f64>() + 1e-6 } else { 1.0 };
        let factor = f64::from(self.routed_scaling_factor);
        chosen.iter().map(|s| (s / norm * factor) as f32).collect()
    }
}

/// Norms `x` (`[rows, hidden_size]`) and chooses each row's experts.
///
/// Source: transformers `Lfm2MoeSparseMoeBlock.route_tokens_to_experts`.
#[must_use]
pub fn norm_route(router: &Router<'_>, x: &[f32]) -> Routes {
    let width = router.scale.len();
    let rows: Vec<usize> = (0..x.len() / width).collect();
    let h = rms_norm(router.eps, x, router.scale, &rows);
    let (mut ids, mut scores, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for h in h.chunks(width) {
        let start = keys.len();
        for (w, &bias) in router.router.chunks(width).zip(router.expert_bias) {
            let score = sigmoid(dot(w, h)) as f32;
            scores.push(score);
            keys.push(score + bias);
        }
        let keys = &keys[start..];
        let mut order: Vec<u32> = (0..).take(keys.len()).collect();
        // Stable: among equal keys the lower id stays first.
        order.sort_by(|&a, &b| keys[b as usize].total_cmp(&keys[a as usize]));
        ids.extend(&order[..router.top_k]);
    }
    Routes { h, ids, scores, keys }
}
