//! Cases of `rms_norm` and `norm_route`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, empty_ids, read_ids, run};
use super::{Fill, KernelCheck, Rng};
use crate::gpu::{Device, GpuError};
use crate::kernels::{NormRoute, Reduce, RmsNorm};
use crate::reference;

/// A case of `rms_norm`.
#[derive(Clone, Debug)]
pub struct NormCase {
    /// Rows of x.
    pub rows: usize,
    /// Columns, a multiple of 4.
    pub hidden_size: usize,
    /// Whether only every third row has logits and is normed.
    pub logit_rows: bool,
    /// Epsilon, added to the mean square.
    pub eps: f32,
    /// Fill of x.
    pub fill: Fill,
    /// Seed of the values.
    pub seed: u64,
}

/// Bounds of a normed row: a relative one by the sum of squares and a few operations, an absolute
/// one by flushing.
fn norm_bound(width: usize, scale: f32, want: f32, eps: f32) -> f64 {
    let relative = (width as f64 / 8.0 + 16.0) * EPSILON;
    let flushed = f64::from(scale.abs()).max(1.0) * TINY / f64::from(eps).sqrt().min(1.0);
    f64::from(want.abs()) * relative + 4.0 * flushed
}

/// Runs `rms_norm` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_norm(
    device: &Device,
    case: &NormCase,
    reduce: Reduce,
) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let x = case.fill.values(&mut rng, case.rows * case.hidden_size);
    let scale = Fill::Normal.values(&mut rng, case.hidden_size);
    let mut pass = Pass::of_rows(case.rows);
    let rows: Vec<usize> = (0..case.rows).step_by(if case.logit_rows { 3 } else { 1 }).collect();
    pass.want_logits(&rows);
    let want = reference::rms_norm(case.eps, &x, &scale, &rows);

    let on_gpu = (device.tensor_of("x", &x).await?, device.tensor_of("scale", &scale).await?);
    let h = Output::empty(device, want.len()).await?;
    let variant = run(device, *device.caps(), &pass.batch, 1, |r| {
        let (x, scale) = (&on_gpu.0, &on_gpu.1);
        let (eps, logit_rows) = (case.eps, case.logit_rows);
        RmsNorm { x, scale, h: &h.tensor, eps, only_logit_rows: logit_rows, reduce }.record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got = h.read(device, &mut c).await?;
    c.floats("h", &got, &want, |i| {
        norm_bound(case.hidden_size, scale[i % case.hidden_size], want[i], case.eps)
    });
    c.nmse("h", &got, &want, 1e-7);
    Ok(c.finish("rms_norm", variant, case.to_string()))
}

/// A case of `norm_route`.
#[derive(Clone, Debug)]
pub struct RouteCase {
    /// Rows.
    pub rows: usize,
    /// Columns, a multiple of 4.
    pub hidden_size: usize,
    /// Experts.
    pub experts: usize,
    /// Experts a row goes to.
    pub top_k: usize,
    /// Whether the gates are divided by their sum.
    pub norm_topk_prob: bool,
    /// Factor on the gates.
    pub routed_scaling_factor: f32,
    /// Fill of x.
    pub fill: Fill,
    /// Selection bias of the experts.
    pub bias: Bias,
    /// Number of ties: so often an expert gets the router row and bias of another.
    pub twins: usize,
    /// Whether every expert's score is about 1e-6, so that the epsilon in the gates' sum matters; x
    /// is then 1 everywhere.
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

/// Runs `norm_route` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_route(
    device: &Device,
    case: &RouteCase,
    reduce: Reduce,
) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let (width, experts, top_k) = (case.hidden_size, case.experts, case.top_k);
    let mut x = case.fill.values(&mut rng, case.rows * width);
    let scale = Fill::Normal.values(&mut rng, width);
    let mut weight = Fill::Normal.values(&mut rng, experts * width);
    let spread = 2.0 / (width as f32).sqrt();
    weight.iter_mut().for_each(|w| *w *= spread);
    if case.unlikely {
        x.fill(1.0);
        // h is nearly scale, so h . scale / |scale|^2 is nearly 1.
        let square: f32 = scale.iter().map(|s| s * s).sum();
        for expert in weight.chunks_mut(width) {
            let logit = -14.0 + 0.5 * rng.normal();
            for (w, s) in expert.iter_mut().zip(&scale) {
                *w = logit * s / square;
            }
        }
    }
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
        weight.copy_within(from * width..(from + 1) * width, to * width);
        bias[to] = bias[from];
    }
    let router = reference::Router {
        scale: &scale,
        router: &weight,
        expert_bias: &bias,
        eps: 1e-5,
        top_k,
        norm_topk_prob: case.norm_topk_prob,
        routed_scaling_factor: case.routed_scaling_factor,
    };
    let want = reference::norm_route(&router, &x);

    let on_gpu = [
        device.tensor_of("x", &x).await?,
        device.tensor_of("scale", &scale).await?,
        device.tensor_of("router", &weight).await?,
        device.tensor_of("expert_bias", &bias).await?,
    ];
    let h = Output::empty(device, want.h.len()).await?;
    let gates = Output::empty(device, want.ids.len()).await?;
    let ids = empty_ids(device, want.ids.len()).await?;
    let [x, scale_on_gpu, router_on_gpu, expert_bias] = &on_gpu;
    let variant = run(device, *device.caps(), &Pass::of_rows(case.rows).batch, 1, |r| {
        NormRoute {
            x,
            scale: scale_on_gpu,
            router: router_on_gpu,
            expert_bias,
            h: &h.tensor,
            ids: &ids,
            gates: &gates.tensor,
            eps: router.eps,
            top_k: top_k as u32,
            norm_topk_prob: case.norm_topk_prob,
            routed_scaling_factor: case.routed_scaling_factor,
            reduce,
        }
        .record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got_h = h.read(device, &mut c).await?;
    let got_gates = gates.read(device, &mut c).await?;
    let got_ids = read_ids(device, &ids, want.ids.len(), &mut c).await?;
    c.floats("h", &got_h, &want.h, |i| norm_bound(width, scale[i % width], want.h[i], router.eps));
    c.nmse("h", &got_h, &want.h, 1e-7);
    for row in 0..case.rows {
        let h = &want.h[row * width..][..width];
        let ids = &got_ids[row * top_k..][..top_k];
        let scores = &want.scores[row * experts..][..experts];
        // A logit's error comes from h's bound and from the sum. A sigmoid s has the slope s (1 -
        // s), and its exp an error of ulps of its argument.
        let error = |expert: usize| {
            let w = &weight[expert * width..][..width];
            let size: f64 = w.iter().zip(h).map(|(w, h)| f64::from((w * h).abs())).sum();
            let s = f64::from(scores[expert]);
            let ulps = 12.0 + 2.0 * s.max(TINY).ln().abs();
            s * ((1.1 - s) * size * (width as f64 / 4.0 + 40.0) + ulps) * EPSILON + TINY
        };
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
            let same =
                weight[a * width..][..width] == weight[b * width..][..width] && bias[a] == bias[b];
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
    Ok(c.finish("norm_route", variant, case.to_string()))
}
