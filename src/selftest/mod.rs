//! Compares every kernel with its CPU twin on a device. `lfm2 selftest` runs these checks, and the
//! property tests run them on many more shapes.
//!
//! Each kernel has a case struct (sizes, fill of its inputs, a seed) and a function that runs one
//! variant on the GPU and the twin on the CPU, and compares each element within a bound that
//! follows from the arithmetic. Then whole models run, once for each [`ModelChoice`].

mod attention;
mod cases;
mod check;
mod compare;
mod conv;
mod data;
mod embed;
mod forward;
mod heads;
mod in_proj_conv;
mod linear;
mod linear_bounds;
mod logprobs;
mod lora;
mod model;
mod models;
mod moe;
mod norm;
mod route;
mod routing;
mod sample;
mod stored;
mod words;

pub use attention::{AttentionCase, check_attention};
pub use check::KernelCheck;
pub use compare::worst;
pub use conv::{ConvCase, check_conv};
pub use data::{Fill, Rng, Span, WeightsImport};
pub use embed::{EmbedCase, check_embed};
pub use heads::{HeadsCase, check_heads};
pub use in_proj_conv::{InProjConvCase, check_in_proj_conv};
pub use linear::{LinearCase, LinearKernel, Rows, check_linear, products};
pub use model::{ModelChoice, check_model};
pub use moe::{GroupCase, check_combine, check_group};
pub use norm::{NormCase, check_norm};
pub use route::{Bias, RouteCase, check_route};
pub use routing::Routing;
pub use sample::{Broken, SampleCase, check_sample, draws};

use crate::gpu::{Device, GpuError, Variant};
use crate::kernels::KERNELS;
use cases::Check;

/// Extent of a self-test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// One small case a kernel, in the variants that the engine chooses on this device.
    Quick,
    /// Every variant that the device can run, on a handful of shapes each.
    Full,
}

/// Progress of a self-test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The present stage.
    pub stage: Stage,
    /// Finished steps of the stage.
    pub done: usize,
    /// Steps of the stage in all.
    pub total: usize,
}

/// The stages of a self-test in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Kernels are compiled.
    Compiling,
    /// Kernels are compared with their twins.
    Kernels,
    /// Whole models are compared with their reference.
    Models,
}

/// Callback for progress, called from any thread.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// Runs the kernels against their twins on `device`, then whole models.
///
/// A kernel that the driver does not compile, or that computes wrongly, is a check that has not
/// [passed](KernelCheck::passed), not an error: an engine that does not use the kernel may still
/// start.
///
/// # Errors
/// The device is lost or out of memory.
pub async fn check(
    device: &Device,
    thoroughness: Thoroughness,
    on_progress: OnProgress<'_>,
) -> Result<Vec<KernelCheck>, crate::Error> {
    let mut all = check_kernels(device, thoroughness, on_progress).await?;
    let choices = ModelChoice::available(device.caps());
    for (done, choice) in choices.iter().enumerate() {
        on_progress(Progress { stage: Stage::Models, done, total: choices.len() });
        all.push(match check_model(device, *choice, choice.model()).await {
            Err(crate::Error::Gpu(GpuError::Pipeline { kernel, reason })) => {
                KernelCheck::refused("(whole model)", &kernel, &reason)
            }
            other => other?,
        });
    }
    Ok(all)
}

/// Runs the kernels against their twins on `device`, natively on all cores: each core compiles and
/// compares while the device runs another's kernels.
///
/// # Errors
/// As [`check`].
pub async fn check_kernels(
    device: &Device,
    thoroughness: Thoroughness,
    on_progress: OnProgress<'_>,
) -> Result<Vec<KernelCheck>, GpuError> {
    match thoroughness {
        Thoroughness::Quick => run_all(device, &cases::quick(device.caps()), on_progress).await,
        Thoroughness::Full => {
            let all: Vec<Check> =
                shards(device).into_iter().flat_map(|shard| shard.checks(device)).collect();
            let variants = KERNELS.iter().flat_map(|kernel| (kernel.variants)(device.caps()));
            let variants: Vec<Variant> = variants.collect();
            let compiled =
                |done, total| on_progress(Progress { stage: Stage::Compiling, done, total });
            match device.compile(&variants, &compiled).await {
                // The kernel's own checks report it.
                Ok(()) | Err(GpuError::Pipeline { .. }) => {}
                Err(other) => return Err(other),
            }
            run_all(device, &all, on_progress).await
        }
    }
}

/// A share of [`Thoroughness::Full`]. No pipeline is in two shards, so that processes can share the work.
#[derive(Clone, Copy, Debug)]
pub enum Shard {
    /// Kernels that read a model's matrices, with these weights.
    WithWeights(WeightsImport),
    /// All others.
    WithoutWeights,
}

impl Shard {
    fn checks(self, device: &Device) -> Vec<Check> {
        match self {
            Self::WithWeights(weights) => cases::with_weights(device.caps(), weights),
            Self::WithoutWeights => cases::without_weights(device.caps()),
        }
    }
}

/// All shards on this device.
pub fn shards(device: &Device) -> Vec<Shard> {
    let weights = WeightsImport::available(device.caps()).into_iter().map(Shard::WithWeights);
    weights.chain([Shard::WithoutWeights]).collect()
}

/// Runs the checks of a shard whose index is `taken`.
///
/// # Errors
/// As [`check_kernels`].
pub async fn check_shard(
    device: &Device,
    shard: Shard,
    taken: impl Fn(usize) -> bool,
) -> Result<Vec<KernelCheck>, GpuError> {
    let checks = shard.checks(device).into_iter().enumerate();
    let checks: Vec<Check> = checks.filter(|(i, _)| taken(*i)).map(|(_, check)| check).collect();
    run_all(device, &checks, &|_| {}).await
}

async fn run_one(device: &Device, check: &Check) -> Result<KernelCheck, GpuError> {
    match check.run(device).await {
        Err(GpuError::Pipeline { kernel: variant, reason }) => {
            let stem = variant.split(' ').next().unwrap_or_default();
            let kernel = KERNELS.iter().map(|kernel| kernel.name).find(|name| *name == stem);
            Ok(KernelCheck::refused(kernel.unwrap_or("(unknown)"), &variant, &reason))
        }
        other => other,
    }
}

/// Runs checks and returns their results in the same order.
#[cfg(not(target_arch = "wasm32"))]
async fn run_all(
    device: &Device,
    checks: &[Check],
    on_progress: OnProgress<'_>,
) -> Result<Vec<KernelCheck>, GpuError> {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        let mut results = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(check) = checks.get(i) else { return Ok(results) };
            match pollster::block_on(run_one(device, check)) {
                Ok(result) => results.push((i, result)),
                Err(e) => {
                    // The other threads begin no further checks.
                    next.store(checks.len(), Ordering::Relaxed);
                    return Err(e);
                }
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            on_progress(Progress { stage: Stage::Kernels, done, total: checks.len() });
        }
    };
    let mut all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| GpuError::Pipeline {
                kernel: "(unknown)".to_owned(),
                reason: "a check panicked".to_owned(),
            })??);
        }
        Ok::<_, GpuError>(all)
    })?;
    all.sort_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

/// The same without threads.
#[cfg(target_arch = "wasm32")]
async fn run_all(
    device: &Device,
    checks: &[Check],
    on_progress: OnProgress<'_>,
) -> Result<Vec<KernelCheck>, GpuError> {
    let mut all = Vec::new();
    for (i, check) in checks.iter().enumerate() {
        all.push(run_one(device, check).await?);
        on_progress(Progress { stage: Stage::Kernels, done: i + 1, total: checks.len() });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Caps, DeviceOptions, LimitsChoice};
    use crate::kernels::Reduce;

    /// A device without subgroups refuses their kernels: those checks fail, the others pass.
    #[test]
    fn a_refused_kernel_is_a_failed_check() {
        let options = DeviceOptions { limits: LimitsChoice::Default, ..Default::default() };
        let device = pollster::block_on(Device::request(&options)).unwrap();
        let case = NormCase {
            rows: 2,
            hidden_size: 64,
            logit_rows: false,
            eps: 1e-5,
            fill: Fill::Normal,
            seed: 1,
        };
        let checks =
            [Reduce::Tree, Reduce::Subgroup].map(|reduce| Check::Norm(case.clone(), reduce));
        let results = pollster::block_on(run_all(&device, &checks, &|_| {})).unwrap();
        assert!(results[0].passed, "{:?}", results[0]);
        assert!(!results[1].passed && results[1].kernel == "rms_norm", "{:?}", results[1]);
        assert!(results[1].failure.contains("refused"), "{:?}", results[1]);
    }

    /// On a GPU with all capabilities, 16 cores compile all variants of the self-test in less than
    /// a minute, at half a second each.
    #[test]
    fn the_whole_selftest_compiles_no_more_than_a_minutes_worth() {
        let gpu = Caps::everything();
        let variants: usize = KERNELS.iter().map(|kernel| (kernel.variants)(&gpu).len()).sum();
        let checks: usize = WeightsImport::available(&gpu)
            .into_iter()
            .map(|weights| cases::with_weights(&gpu, weights).len())
            .sum::<usize>()
            + cases::without_weights(&gpu).len();
        println!("{variants} variants, {checks} checks, {} quick", cases::quick(&gpu).len());
        assert!((500..2000).contains(&variants), "{variants} variants");
        assert!(variants < checks && checks < 5000, "{checks} checks");
    }
}
