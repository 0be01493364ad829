//! Twin of `shaders/route.wgsl`, and of the choice of experts in `matvec.wgsl`.

use super::sigmoid;

/// Options of the choice of experts.
#[derive(Clone, Debug)]
pub struct Router<'a> {
    /// `[experts]`; zeros if the model has none. It affects the choice of experts, not their gates.
    pub expert_bias: &'a [f32],
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

/// Chooses each row's experts by the router's `logits`, `[rows, experts]`.
///
/// Source: transformers `Lfm2MoeSparseMoeBlock.route_tokens_to_experts`.
#[must_use]
pub fn route(router: &Router<'_>, logits: &[f32]) -> Routes {
    let (mut ids, mut scores, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for logits in logits.chunks(router.expert_bias.len()) {
        let start = keys.len();
        for (logit, bias) in logits.iter().zip(router.expert_bias) {
            let score = sigmoid(f64::from(*logit)) as f32;
            scores.push(score);
            keys.push(score + bias);
        }
        let keys = &keys[start..];
        let mut order: Vec<u32> = (0..).take(keys.len()).collect();
        // Stable: among equal keys the lower id stays first.
        order.sort_by(|&a, &b| keys[b as usize].total_cmp(&keys[a as usize]));
        ids.extend(&order[..router.top_k]);
    }
    Routes { ids, scores, keys }
}
