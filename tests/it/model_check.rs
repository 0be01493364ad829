//! The self-test's whole models: each choice passes, and an error planted in each is found.

use std::sync::Arc;

use lfm2_wgpu::formats::{ByteSource, BytesSource, ModelFiles};
use lfm2_wgpu::gpu::Device;
use lfm2_wgpu::selftest::{KernelCheck, ModelChoice, check_model};
use pollster::block_on;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::gpu::{devices, with_matrix_units};

/// A choice's model, one tensor of which `plant` changes.
fn planted(choice: ModelChoice, name: &str, plant: impl Fn(usize, f32) -> f32) -> ModelFiles {
    let files = choice.model();
    let read = |name: &str| block_on(files.read_small(name, 64 << 20)).unwrap().unwrap();
    let bytes = read("model.safetensors");
    let model = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = Vec::new();
    for (tensor, view) in model.iter() {
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
            Dtype::BF16 => {
                let halves: Vec<u16> = bytemuck::pod_collect_to_vec(view.data());
                halves.iter().map(|h| f32::from_bits(u32::from(*h) << 16)).collect()
            }
            other => panic!("{tensor}: {other:?}"),
        };
        let values: Vec<f32> = match tensor == name {
            true => values.into_iter().enumerate().map(|(i, v)| plant(i, v)).collect(),
            false => values,
        };
        all.push((tensor.to_owned(), view.shape().to_vec(), values));
    }
    assert!(all.iter().any(|(tensor, ..)| tensor == name), "{name} is not in the model");
    let views = all.iter().map(|(name, shape, values)| {
        let bytes = bytemuck::cast_slice(values);
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let file = |name: &str, bytes: Vec<u8>| {
        let source = BytesSource::shared(name, bytes.into());
        (name.to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
    };
    let weights = serialize(views, None).unwrap();
    let files = [file("config.json", read("config.json")), file("model.safetensors", weights)];
    ModelFiles::from_sources("planted", files)
}

fn run(device: &Device, choice: ModelChoice, files: ModelFiles) -> KernelCheck {
    block_on(check_model(device, choice, files)).unwrap()
}

/// Plants the errors of a wrong kernel: a wrong scale, and a part of a weight that is lost. `scale`
/// is the least error of one product among many that the choice's bound detects.
fn finds_errors(device: &Device, choice: ModelChoice, scale: f32) {
    let right = run(device, choice, choice.model());
    println!("{choice:?}: {:e} of {:e}, {}", right.max_error, right.tolerance, right.case);
    assert!(right.passed, "{}", right.failure);
    assert!(right.max_error > 0.0, "{choice:?} computed nothing");
    let untouched = run(device, choice, planted(choice, "model.embed_tokens.weight", |_, v| v));
    assert!(untouched.passed, "{}", untouched.failure);
    for name in [
        "model.layers.0.conv.in_proj.weight",
        "model.layers.1.self_attn.out_proj.weight",
        "model.layers.0.feed_forward.w2.weight",
    ] {
        let wrong = run(device, choice, planted(choice, name, |_, v| v * (1.0 + scale)));
        assert!(!wrong.passed, "{choice:?}: {name} scaled by {scale} passes: {wrong:?}");
        let wrong =
            run(device, choice, planted(choice, name, |i, v| if i % 4 == 3 { 0.0 } else { v }));
        assert!(!wrong.passed, "{choice:?}: a quarter of {name} is lost and passes: {wrong:?}");
    }
    let nan = |i: usize, v: f32| if i == 5 { f32::NAN } else { v };
    let wrong = run(device, choice, planted(choice, "model.layers.1.ffn_norm.weight", nan));
    assert!(!wrong.passed && wrong.failure.contains("NaN"), "{choice:?}: {wrong:?}");
}

#[test]
fn the_exact_choice_passes_and_planted_errors_do_not() {
    finds_errors(&devices()[0].1, ModelChoice::Exact, 0.02);
    let (_, core) = &devices()[1];
    let right = run(core, ModelChoice::Exact, ModelChoice::Exact.model());
    assert!(right.passed, "{}", right.failure);
}

#[test]
fn int8_activations_pass_and_planted_errors_do_not() {
    finds_errors(&devices()[0].1, ModelChoice::Int8, 1.0);
    let (_, core) = &devices()[1];
    let right = run(core, ModelChoice::Int8, ModelChoice::Int8.model());
    assert!(right.passed, "{}", right.failure);
}

#[test]
fn cooperative_matrices_pass_and_planted_errors_do_not() {
    let Some(device) = with_matrix_units() else { return };
    finds_errors(device, ModelChoice::MatrixUnits, 0.1);
}
