//! Cases of `rms_norm`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, run};
use super::{Fill, KernelCheck, Rng};
use crate::gpu::{Device, GpuError};
use crate::kernels::{Reduce, RmsNorm};
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
