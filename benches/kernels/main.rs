//! Every kernel at the shapes of LFM2-8B-A1B, on the adapter that the engine would choose.
//!
//!     cargo bench --bench kernels                     all kernels
//!     cargo bench --bench kernels -- matvec           those with matvec in their names
//!     cargo bench --bench kernels -- 'matvec/.*Q4 '   by regular expression
//!     LFM2_ADAPTER=NAME cargo bench --bench kernels   on another adapter
//!
//! A time is the kernel's own, between two timestamps on the GPU; on an adapter without timestamps it
//! is the time of a submission. `elem/s` counts multiplications and additions a second. Bytes a second
//! count each byte that the kernel has to move once, regardless of caches and tiles. The experts'
//! matrices exceed most caches. Other matrices have the sizes of a model and may fit one, which raises
//! their bytes a second.

mod cases;
mod lora;
mod products;
mod setup;

use std::process::exit;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use lfm2_wgpu::gpu::{AdapterChoice, Device, DeviceOptions, GpuError, Plan, StepShape};

use cases::Case;
use setup::Setup;

fn main() {
    let adapter = std::env::var("LFM2_ADAPTER").map_or(AdapterChoice::Best, AdapterChoice::Named);
    let options = DeviceOptions { adapter, ..Default::default() };
    let device =
        pollster::block_on(Device::request(&options)).unwrap_or_else(|e| fail("adapter", &e));
    let setup = Setup::new(device).unwrap_or_else(|e| fail("lfm2-8b-a1b", &e));
    let adapter = setup.device.adapter();
    // stdout may be a list of names for a program.
    eprintln!("{} ({}), {}", adapter.name, adapter.backend, adapter.driver);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    for case in cases::all(&setup) {
        bench(&mut criterion, &setup, &case);
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, setup: &Setup, case: &Case) {
    let mut group = criterion.benchmark_group(case.kernel);
    // Flat: the same number of runs in each sample, as some kernels take seconds on a CPU driver.
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(match case.operations {
        0 => Throughput::BytesDecimal(case.bytes as u64),
        n => Throughput::ElementsAndBytes { elements: n as u64, bytes: case.bytes as u64 },
    });
    // The filter decides first: a case that it rejects is never made.
    let mut made = None;
    group.bench_function(&case.name, |b| {
        let (plan, shape) =
            made.get_or_insert_with(|| (case.make)(setup).unwrap_or_else(|e| fail(&case.name, &e)));
        b.iter_custom(|runs| {
            (0..runs)
                .map(|_| pollster::block_on(run(&setup.device, case.kernel, plan, shape)))
                .sum::<Result<Duration, GpuError>>()
                .unwrap_or_else(|e| fail(&case.name, &e))
        });
    });
    group.finish();
}

/// Runs a plan. Returns the time of its dispatches of `kernel`.
async fn run(
    device: &Device,
    kernel: &str,
    plan: &Plan,
    shape: &StepShape,
) -> Result<Duration, GpuError> {
    if let Some(profile) = device.profile(plan, shape, |_| false).await? {
        let own = profile.kernels.iter().filter(|t| t.kernel.split(' ').next() == Some(kernel));
        return Ok(Duration::from_secs_f64(own.map(|t| t.seconds).sum()));
    }
    let started = Instant::now();
    let mut encoder = device.encoder();
    encoder.replay_all(plan, shape);
    device.wait_for(&encoder.submit()).await?;
    Ok(started.elapsed())
}

fn fail(what: &str, error: &dyn std::fmt::Display) -> ! {
    eprintln!("{what}: {error}");
    exit(1)
}
