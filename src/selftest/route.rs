//! Cases of `route`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, empty_ids, read_ids, run};
use super::{Fill, KernelCheck, Rng};
use crate::gpu::{Device, GpuError};
use crate::kernels::{ExpertChoice, Route};
use crate::reference;

/// A case of `route`.
#[derive(Clone, Debug)]
pub struct RouteCase {
    /// Rows.
    pub rows: usize,
    /// Experts.
    pub experts: usize,
    /// Experts a row goes to.
    pub top_k: usize,
    /// Whether the gates are divided by their sum.
    pub norm_topk_prob: bool,
    /// Factor on the gates.
    pub routed_scaling_factor: f32,
    /// Selection bias of the experts.
    pub bias: Bias,
    /// Number of ties: so often an expert gets the logits and bias of another.
    pub twins: usize,
    /// Whether every expert's score is about 1e-6, so that the epsilon in the gates' sum matters.
    pub unlikely: bool,
    /// Seed of the values.
    pub seed: u64,
}

/// Biases of the experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// None.
    Zero,
    /// Comparable to the scores.
    Normal,
    /// One expert is always chosen, another never.
    Overwhelming,
}

/// Error of the sigmoid: its exp has an error of ulps of its argument.
pub(super) fn score_error(score: f32) -> f64 {
    let s = f64::from(score);
    s * (12.0 + 2.0 * s.max(TINY).ln().abs()) * EPSILON + TINY
}

/// Runs `route` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_route(device: &Device, case: &RouteCase) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let (experts, top_k) = (case.experts, case.top_k);
    let mut logits = Fill::Normal.values(&mut rng, case.rows * experts);
    let (scale, shift) = if case.unlikely { (0.5, -14.0) } else { (2.0, 0.0) };
    logits.iter_mut().for_each(|l| *l = *l * scale + shift);
    let mut bias = match case.bias {
        Bias::Zero => vec![0.0; experts],
        Bias::Normal | Bias::Overwhelming => Fill::Normal.values(&mut rng, experts),
    };
    if case.bias == Bias::Overwhelming {
        bias[rng.below(experts)] = 1e4;
        bias[rng.below(experts)] = -1e4;
    }
    for _ in 0..case.twins {
        let (from, to) = (rng.below(experts), rng.below(experts));
        logits.chunks_mut(experts).for_each(|row| row[to] = row[from]);
        bias[to] = bias[from];
    }
    let router = reference::Router {
        expert_bias: &bias,
        top_k,
        norm_topk_prob: case.norm_topk_prob,
        routed_scaling_factor: case.routed_scaling_factor,
    };
    let want = reference::route(&router, &logits);

    let logits_on_gpu = device.tensor_of("logits", &logits).await?;
    let expert_bias = device.tensor_of("expert_bias", &bias).await?;
    let gates = Output::empty(device, want.ids.len()).await?;
    let ids = empty_ids(device, want.ids.len()).await?;
    let choice = ExpertChoice {
        logits: &logits_on_gpu,
        expert_bias: &expert_bias,
        top_k: top_k as u32,
        norm_topk_prob: case.norm_topk_prob,
        routed_scaling_factor: case.routed_scaling_factor,
    };
    let variant = run(device, *device.caps(), &Pass::of_rows(case.rows).batch, 1, |r| {
        Route { choice, ids: &ids, gates: &gates.tensor }.record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got_gates = gates.read(device, &mut c).await?;
    let got_ids = read_ids(device, &ids, want.ids.len(), &mut c).await?;
    for row in 0..case.rows {
        let ids = &got_ids[row * top_k..][..top_k];
        let scores = &want.scores[row * experts..][..experts];
        let error = |expert: usize| score_error(scores[expert]);
        let known = ids.iter().all(|id| (*id as usize) < experts);
        let distinct = (1..top_k).all(|j| !ids[..j].contains(&ids[j]));
        if !known || !distinct {
            c.fail(format!("row {row}: ids are {ids:?}"));
            continue;
        }
        for (j, (&got, &wanted)) in ids.iter().zip(&want.ids[row * top_k..][..top_k]).enumerate() {
            let (a, b) = (got as usize, wanted as usize);
            let key = |e: usize| want.keys[row * experts + e];
            let margin = f64::from((key(a) - key(b)).abs());
            let slack = error(a) + error(b) + f64::from(key(a).abs()) * 2.0 * EPSILON;
            let logit = |e: usize| logits[row * experts + e];
            let same = logit(a) == logit(b) && bias[a] == bias[b];
            if a != b && (same || margin > slack) {
                c.fail(format!(
                    "row {row}: choice {j} is expert {a} (key {}), should be {b} (key {})",
                    key(a),
                    key(b)
                ));
            }
        }
        let gates = router.gates(scores, ids);
        let total: f64 = ids.iter().map(|id| f64::from(scores[*id as usize])).sum::<f64>() + 1e-6;
        let norm = if case.norm_topk_prob { total } else { 1.0 };
        let errors: f64 = ids.iter().map(|id| error(*id as usize)).sum();
        for (j, (&want, &got)) in gates.iter().zip(&got_gates[row * top_k..][..top_k]).enumerate() {
            let factor = f64::from(case.routed_scaling_factor.abs());
            let own = error(ids[j] as usize) * factor / norm;
            let shared = if case.norm_topk_prob { errors / norm } else { 0.0 };
            let bound = own + f64::from(want.abs()) * (shared + 16.0 * EPSILON) + TINY;
            c.number("gates", row * top_k + j, got, f64::from(want), bound);
        }
    }
    Ok(c.finish("route", variant, case.to_string()))
}
