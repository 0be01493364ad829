//! Every kernel compared with its CPU twin: the fixed cases of `lfm2 selftest`, which cover every
//! variant, and random and adversarial shapes.
//!
//! A property test runs for a few seconds on any host, and at least its minimum of cases.
//! `LFM2_TESTS=all` (`tools/test.sh --all`) runs all cases, `PROPTEST_CASES=1000` sets their number, and
//! `PROPTEST_RNG_SEED=2` gives others.

mod attention;
mod conv;
mod cooperative;
mod embed;
mod heads;
mod linear;
mod long_rows;
mod moe;
mod norms;
mod sample;
mod verdict;

use std::cell::Cell;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use lfm2_wgpu::gpu::{Device, GpuError};
use lfm2_wgpu::kernels::{Format, KERNELS};
use lfm2_wgpu::selftest::{
    KernelCheck, Rng, Shard, Span, Thoroughness, check_kernels, check_shard, shards,
};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::gpu::{devices, run_all};
use verdict::{failures, ran, variants};

type Checks = Result<Vec<KernelCheck>, GpuError>;

/// A property test starts no further case after this time, since some hosts run the software driver eight
/// times slower than others.
const TIME: Duration = Duration::from_secs(5);

/// Runs `check` on both devices with cases of `strategy`: as many as [`TIME`] allows within the range
/// `cases`. Fails with the smallest failing case. The cases are the same in every run, unless the
/// environment changes them.
fn property<C: Debug>(
    cases: RangeInclusive<u32>,
    strategy: impl Strategy<Value = C>,
    check: impl AsyncFn(&Device, &C) -> Checks,
) {
    let from_environment = Config::default();
    let set = |name: &str| std::env::var_os(name).is_some();
    let config = Config {
        cases: if set("PROPTEST_CASES") { from_environment.cases } else { *cases.end() },
        rng_seed: if set("PROPTEST_RNG_SEED") {
            from_environment.rng_seed
        } else {
            RngSeed::Fixed(1)
        },
        max_shrink_iters: 200,
        failure_persistence: None,
        ..from_environment
    };
    let bounded = !run_all() && !set("PROPTEST_CASES");
    let (began, started, ran) = (Instant::now(), Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config).run(&strategy, |case| {
        if bounded && started.get() >= *cases.start() && began.elapsed() > TIME {
            return Ok(());
        }
        started.set(started.get() + 1);
        for (name, device) in devices() {
            let checks = pollster::block_on(check(device, &case))
                .map_err(|e| TestCaseError::fail(format!("{name}: {e}")))?;
            let failed = failures(name, &checks);
            if !failed.is_empty() {
                return Err(TestCaseError::fail(failed.join("\n")));
            }
            ran.set(ran.get() + checks.len());
        }
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    println!("{} cases, {} kernel runs", started.get(), ran.get());
}

/// Runs `check` on both devices.
fn on_both(check: impl AsyncFn(&Device) -> Checks) {
    for (name, device) in devices() {
        let checks = pollster::block_on(check(device)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let failed = failures(name, &checks);
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        println!("{} kernel cases", checks.len());
    }
}

/// Sequences with these positions and numbers of rows, in slots in random order with gaps.
fn spans(sequences: &[(u32, u32)], seed: u64) -> Vec<Span> {
    let slots = Rng::new(seed).order(sequences.len() + 2);
    sequences
        .iter()
        .zip(slots)
        .map(|(&(position, rows), slot)| Span { slot: slot as u32, position, rows })
        .collect()
}

/// The weight format of which CI runs every variant.
const SELFTEST_FORMAT: Format = Format::Q4;
/// Of each other format CI runs one check in so many: kernels differ by format only in how they unpack weights, and
/// compiling all variants takes ten minutes. Prime, because the checks go through lists of even lengths.
const SELFTEST_SHARE: usize = 7;

fn selftest_passes_and_runs_every_variant(
    (name, device): &(&str, Device),
    shards: impl IntoIterator<Item = Shard>,
) {
    let mut checks = Vec::new();
    for (first, shard) in shards.into_iter().enumerate() {
        let taken = |check: usize| match shard {
            Shard::WithWeights(weights) if weights.format != SELFTEST_FORMAT => {
                run_all() || check % SELFTEST_SHARE == first % SELFTEST_SHARE
            }
            _ => true,
        };
        let ran = pollster::block_on(check_shard(device, shard, taken));
        checks.extend(ran.unwrap_or_else(|e| panic!("{name}: {e}")));
    }
    let failed = failures(name, &checks);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let expected = |variant: &&String| {
        run_all()
            || !variant.contains(" weights=")
            || [" weights=q4 ", " weights=q4_pairs "]
                .iter()
                .any(|q4| format!("{variant} ").contains(q4))
    };
    let (variants, ran) = (variants(device), ran(&checks));
    let missing: Vec<_> =
        variants.iter().filter(expected).filter(|v| !ran.contains(v.as_str())).collect();
    assert!(missing.is_empty(), "{name}: no case runs {missing:#?}");
    println!("{} kernel cases", checks.len());
}

/// Each device has a test of its own, so that two processes share the work. They run the shards in opposite
/// orders, so that the driver's cache has the pipelines that the other has compiled.
#[test]
fn selftest_runs_every_variant_at_the_adapters_limits() {
    let device = &devices()[0];
    selftest_passes_and_runs_every_variant(device, shards(&device.1));
}

#[test]
fn selftest_runs_every_variant_at_default_limits() {
    let device = &devices()[1];
    selftest_passes_and_runs_every_variant(device, shards(&device.1).into_iter().rev());
}

#[test]
fn quick_selftest_runs_every_kernel() {
    on_both(async |device| {
        let checks = check_kernels(device, Thoroughness::Quick, &|_| {}).await?;
        // Some kernels need features that the device lacks.
        for kernel in KERNELS.iter().filter(|k| !(k.variants)(device.caps()).is_empty()) {
            let name = format!("{} ", kernel.name);
            assert!(
                checks.iter().any(|c| c.variant.split(" + ").any(|v| v.starts_with(&name))),
                "{} is not in the quick selftest",
                kernel.name
            );
        }
        Ok(checks)
    });
}
