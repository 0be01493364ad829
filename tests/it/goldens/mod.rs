//! The whole model compared with goldens computed by transformers in f32 (tests/fixtures/README.md):
//! hidden states after each layer, the router's choices, logits and greedy tokens. Prompts run in one
//! pass, token by token and in odd chunks, on a device at the adapter's limits and one at WebGPU's
//! defaults.

mod checks;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checks::{Golden, check, engine, shared};
use lfm2_wgpu::Engine;
use lfm2_wgpu::gpu::{Device, DeviceOptions, LimitsChoice};
use lfm2_wgpu::kernels::{Choices, KvFormat, Multiply, Reduce};
use pollster::block_on;

use crate::gpu::{run_all, with_matrix_units};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn golden(dir: &Path) -> Golden {
    Golden::of(&dir.display().to_string(), |file| std::fs::read(dir.join(file)).ok())
}

fn device(limits: LimitsChoice) -> Device {
    let options = DeviceOptions { limits, ..Default::default() };
    block_on(Device::request(&options)).expect("a Vulkan driver: tools/setup.sh installs one")
}

fn load(dir: &Path, device: &Device, choices: Option<Choices>) -> Engine {
    let builder = Engine::builder().path(dir).unwrap();
    block_on(engine(builder, device, choices)).unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
}

fn compare(engine: &Engine, golden: &Golden, chunks: &[usize]) {
    block_on(check(engine, golden, chunks)).unwrap_or_else(|e| panic!("{e}"));
}

/// Larger checkpoints, made by `tools/reference.py generate-random --out DIR`. `LFM2_EXTRA_GOLDENS` is
/// their parent folder. Not in CI.
#[test]
#[ignore = "needs LFM2_EXTRA_GOLDENS"]
fn extra_goldens() {
    let parent = PathBuf::from(std::env::var("LFM2_EXTRA_GOLDENS").unwrap());
    let device = device(LimitsChoice::Adapter);
    for entry in std::fs::read_dir(parent).unwrap() {
        let dir = entry.unwrap().path();
        compare(&load(&dir, &device, None), &golden(&dir), &[512, 33]);
        println!("{}: ok", dir.display());
    }
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| fixtures().join(n).join("golden.json").exists())
        .collect();
    names.sort();
    assert!(names.len() >= 20, "{names:?}");
    names
}

/// Every third golden from `first` on, or all with [`run_all`]: each model compiles its own pipelines, of
/// the same code.
fn some_names(first: usize) -> Vec<String> {
    let step = if run_all() { 1 } else { 3 };
    names().into_iter().skip(if run_all() { 0 } else { first }).step_by(step).collect()
}

fn check_all(
    names: Vec<String>,
    limits: LimitsChoice,
    choices: impl Fn(&Device) -> Option<Choices>,
) {
    let device = device(limits);
    for name in names {
        let dir = fixtures().join(name);
        let golden = golden(&dir);
        compare(&load(&dir, &device, choices(&device)), &golden, golden.chunks());
    }
}

#[test]
fn goldens_at_the_adapters_limits() {
    check_all(names(), LimitsChoice::Adapter, |_| None);
}

#[test]
fn goldens_at_default_limits() {
    check_all(names(), LimitsChoice::Default, |_| None);
}

/// The choice of GPUs; software adapters choose `serial`.
#[test]
fn goldens_with_lanes_that_share_a_row() {
    check_all(some_names(0), LimitsChoice::Adapter, |device| {
        Some(shared(device, Reduce::shared_rows(device.caps()), Multiply::Lanes))
    });
    check_all(some_names(1), LimitsChoice::Default, |device| {
        Some(shared(device, Reduce::Tree, Multiply::Lanes))
    });
}

/// All goldens, the small ones first. Without [`run_all`] no further one starts after a minute, since a
/// software driver is slow at matrices.
#[test]
fn goldens_with_cooperative_matrices() {
    let Some(device) = with_matrix_units() else { return };
    let mut names = names();
    names.sort_by_key(|name| name.starts_with("tiny") || name == "long");
    let (began, total, mut ran) = (Instant::now(), names.len(), 0);
    for name in names {
        if ran >= 6 && !run_all() && began.elapsed() > Duration::from_secs(60) {
            break;
        }
        let choices = shared(device, Reduce::shared_rows(device.caps()), Multiply::MatrixUnits);
        let dir = fixtures().join(name);
        let golden = golden(&dir);
        compare(&load(&dir, device, Some(choices)), &golden, &[512, 33]);
        ran += 1;
    }
    println!("{ran} of {total} goldens");
}

/// The same models as GGUF files: these have other names, another order of tensors, stacked experts and
/// squeezed taps. bf16 fixtures are written in bf16, so that the weights are the same.
#[test]
fn goldens_of_gguf_files() {
    use crate::formats::gguf_writer::{BF16, F32, convert};
    let device = device(LimitsChoice::Adapter);
    let dir = tempfile::tempdir().unwrap();
    for name in names() {
        let kind = if name == "tiny-b" { BF16 } else { F32 };
        let path = dir.path().join(format!("{name}.gguf"));
        let fixture = fixtures().join(name);
        std::fs::write(&path, convert(&fixture, kind).bytes()).unwrap();
        compare(&load(&path, &device, None), &golden(&fixture), &[512]);
    }
}

/// Bindings of this device are so small that weights are split into parts, as those of LFM2-8B-A1B in bf16
/// are at WebGPU's default limits. It is also a device of a host application.
#[test]
fn goldens_with_matrices_in_parts() {
    use lfm2_wgpu::wgpu;
    let small = 80 << 10;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let (device, queue) = block_on(async {
        let adapter = instance.request_adapter(&Default::default()).await.unwrap();
        let required_limits =
            wgpu::Limits { max_storage_buffer_binding_size: small, ..wgpu::Limits::defaults() };
        let desc = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        adapter.request_device(&desc).await.unwrap()
    });
    let device = Device::from_wgpu(device, queue);
    assert_eq!(device.caps().max_part(), small);
    for name in ["tiny-a", "mha-head-32", "conv-bias", "untied"] {
        let dir = fixtures().join(name);
        let builder = Engine::builder().directory(&dir).unwrap();
        let engine = block_on(
            builder
                .gpu(device.clone())
                .context_length(64)
                .chunk(24)
                .kv_format(KvFormat::F32)
                .build(),
        )
        .unwrap_or_else(|e| panic!("{name}: {e}"));
        compare(&engine, &golden(&dir), &[24, 1]);
    }
}
