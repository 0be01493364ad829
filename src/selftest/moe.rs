//! Cases of `moe_group` and `moe_combine`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, UNTOUCHED_ID, run};
use super::routing::{Routing, groups_words};
use super::{Fill, KernelCheck, Rng};
use crate::gpu::{Device, GpuError};
use crate::kernels::{MoeCombine, MoeGroup};
use crate::reference;

/// A case of `moe_group` or `moe_combine`.
#[derive(Clone, Debug)]
pub struct GroupCase {
    /// Rows of the pass.
    pub rows: usize,
    /// Rows that the tensors have room for, at least `rows`.
    pub most_rows: usize,
    /// Experts.
    pub experts: usize,
    /// Experts a row goes to.
    pub top_k: usize,
    /// Most items of a tile.
    pub tile: u32,
    /// Choice of experts.
    pub routing: Routing,
    /// Columns of `moe_combine`, a multiple of 4.
    pub hidden_size: usize,
    /// Fill of its values.
    pub fill: Fill,
    /// Seed of the values.
    pub seed: u64,
}

/// Runs `moe_group` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_group(device: &Device, case: &GroupCase) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let (experts, top_k) = (case.experts as u32, case.top_k as u32);
    let ids = case.routing.ids(&mut rng, case.rows * case.top_k, case.experts);
    let (want, items_at) = groups_words(&ids, case.most_rows, experts, top_k, case.tile);
    let ids = device.tensor_of("ids", &ids).await?;
    let groups = device.tensor_of("groups", &vec![UNTOUCHED_ID; want.len() + 8]).await?;
    let variant = run(device, *device.caps(), &Pass::of_rows(case.rows).batch, 1, |r| {
        let (ids, groups, tile) = (&ids, &groups, case.tile);
        MoeGroup { ids, groups, items_at, experts, top_k, tile }.record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got = device.read(&groups).await?;
    let mut want = want;
    want.resize(got.len(), UNTOUCHED_ID);
    // Words 1 to 3 are unused.
    want[1..4].copy_from_slice(&got[1..4]);
    c.exact("groups", &got, &want);
    Ok(c.finish("moe_group", variant, case.to_string()))
}

/// Runs `moe_combine` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_combine(device: &Device, case: &GroupCase) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let (rows, top_k, width) = (case.rows, case.top_k, case.hidden_size);
    let y = case.fill.values(&mut rng, rows * top_k * width);
    let x = case.fill.values(&mut rng, rows * width);
    let gates: Vec<f32> = (0..rows * top_k).map(|_| rng.unit().abs()).collect();
    let want = reference::moe_combine(top_k, &y, &gates, &x);
    let absolute = |v: &[f32]| v.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let magnitudes = reference::moe_combine(top_k, &absolute(&y), &gates, &absolute(&x));

    let y_on_gpu = device.tensor_of("y", &y).await?;
    let gates_on_gpu = device.tensor_of("gates", &gates).await?;
    let out = Output::with(device, &x).await?;
    let variant = run(device, *device.caps(), &Pass::of_rows(rows).batch, 1, |r| {
        MoeCombine {
            y: &y_on_gpu,
            gates: &gates_on_gpu,
            x: &out.tensor,
            hidden_size: width as u32,
            top_k: top_k as u32,
        }
        .record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got = out.read(device, &mut c).await?;
    c.floats("x", &got, &want, |i| {
        f64::from(magnitudes[i]) * (top_k + 3) as f64 * EPSILON + (top_k + 2) as f64 * TINY
    });
    if case.fill == Fill::Normal {
        c.nmse("x", &got, &want, 1e-7);
    }
    Ok(c.finish("moe_combine", variant, case.to_string()))
}
