//! Whole models in every quantised type, compared with the same models dequantised to f32.

use std::collections::HashMap;
use std::sync::Arc;

use lfm2_wgpu::engine::{Engine, ModelText, OpenedModel};
use lfm2_wgpu::formats::blocks::dequantize;
use lfm2_wgpu::formats::synthetic::{Synthetic, synthetic};
use lfm2_wgpu::formats::{BytesSource, Checkpoint, ElementType, ModelFiles, TensorSlice};
use lfm2_wgpu::gpu::{Device, DeviceOptions, LimitsChoice};
use lfm2_wgpu::kernels::{Activations, KvFormat};
use lfm2_wgpu::model::{
    GenerationConfig, ModelConfig, ModelPart, Recipe, WeightChoice, expected_tensors, make_weights,
    validate,
};
use lfm2_wgpu::selftest::worst;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::gpu::devices;

const CONFIG: &str = r#"{"model_type": "lfm2_moe", "hidden_size": 256, "intermediate_size": 512,
"moe_intermediate_size": 256, "num_dense_layers": 1, "num_experts": 5, "num_experts_per_tok": 2,
"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
"layer_types": ["conv", "full_attention", "conv", "conv"], "vocab_size": 330, "conv_L_cache": 3,
"conv_bias": false, "norm_eps": 1e-5, "rope_theta": 1000000.0, "max_position_embeddings": 4096,
"tie_word_embeddings": true, "use_expert_bias": true, "norm_topk_prob": true,
"routed_scaling_factor": 1.0}"#;

/// The model with quantised matrices. The `types` are assigned to them in turn, so that q, k and v, and
/// gate and up, may differ.
pub fn model(types: &[ElementType]) -> (ModelConfig, Checkpoint) {
    model_of(types, false)
}

fn model_of(types: &[ElementType], experts_differ: bool) -> (ModelConfig, Checkpoint) {
    let config = ModelConfig::from_json("config.json", CONFIG.as_bytes()).unwrap();
    let mut next = types.iter().cycle();
    let mut of_slot = HashMap::new();
    let tensors = expected_tensors(&config).into_iter().map(|(id, shape)| {
        let name = id.hub_name();
        let norm = name.contains("norm");
        // Experts of one layer have one type, as in a stacked tensor.
        let group = match experts_differ {
            true => name.clone(),
            false => {
                name.split("experts.").next().unwrap_or_default().to_owned()
                    + name.rsplit('.').nth(1).unwrap_or_default()
            }
        };
        let element_type = if id.is_matrix() {
            *of_slot.entry(group).or_insert_with(|| *next.next().unwrap())
        } else {
            ElementType::F32
        };
        let content = if norm { Synthetic::Ones } else { Synthetic::Weights(element_type) };
        (name, shape, content)
    });
    let checkpoint = synthetic("random", tensors.collect::<Vec<_>>());
    (config, checkpoint)
}

pub fn opened(config: ModelConfig, checkpoint: Checkpoint) -> OpenedModel {
    let files = ModelFiles::embedded("random", &[]);
    pollster::block_on(async {
        let text = ModelText::open(&files, config.vocab_size).await.unwrap();
        let tensors = validate(&config, &checkpoint).await.unwrap();
        let generation = GenerationConfig::default();
        OpenedModel::new(config, generation, checkpoint, tensors, text, &[])
    })
}

/// The same values in an f32 safetensors file.
fn dequantised(checkpoint: &Checkpoint) -> Arc<ModelFiles> {
    let mut all = Vec::new();
    for (index, tensor) in checkpoint.tensors().iter().enumerate() {
        let cols = tensor.shape.last().copied().unwrap_or(1);
        let rows = tensor.shape.iter().product::<usize>() / cols;
        let element_type = tensor.element_type;
        let slice = TensorSlice { tensor: index, offset: 0, rows, cols, element_type };
        let mut bytes = vec![0; usize::try_from(slice.bytes()).unwrap()];
        pollster::block_on(checkpoint.read(&slice, 0, &mut bytes)).unwrap();
        if element_type != ElementType::F32 {
            bytes = bytemuck::cast_slice(&dequantize(element_type, &bytes)).to_vec();
        }
        all.push((tensor.name.clone(), tensor.shape.clone(), bytes));
    }
    let views = all.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let file = serialize(views, None).unwrap();
    let source = |name: &str, bytes: Vec<u8>| {
        let source = BytesSource::shared(name, bytes.into());
        (name.to_owned(), Arc::new(source) as Arc<dyn lfm2_wgpu::formats::ByteSource>)
    };
    let files = [source("config.json", CONFIG.into()), source("model.safetensors", file)];
    Arc::new(ModelFiles::from_sources("dequantised", files))
}

fn logits(device: &Device, model: OpenedModel, activations: Activations, chunk: usize) -> Vec<f32> {
    let ids: Vec<u32> = (0..45).map(|i| (i * 37 + 11) % 330).collect();
    pollster::block_on(async {
        let engine = Engine::builder()
            .model(model)
            .gpu(device.clone())
            .context_length(64)
            .kv_format(KvFormat::F32)
            .activations(activations)
            .build()
            .await
            .unwrap();
        engine.sequence().unwrap().logits(&ids, chunk).await.unwrap()
    })
}

/// The largest difference as a fraction of the largest logit.
fn difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.0 && largest.is_finite());
    worst(got.iter().zip(want).map(|(g, w)| f64::from((g - w).abs() / largest))) as f32
}

fn check(types: &[ElementType], float_bound: f32) {
    for (name, device) in devices() {
        let (config, checkpoint) = model(types);
        let files = dequantised(&checkpoint);
        let reference = pollster::block_on(OpenedModel::open(&files)).unwrap();
        let want = logits(device, reference, Activations::Float, 45);
        let mut checkpoint = Some(checkpoint);
        for (activations, chunk, bound) in [
            (Activations::Float, 45, float_bound),
            (Activations::Float, 7, float_bound),
            (Activations::Float, 1, float_bound),
        ] {
            let source = checkpoint.take().unwrap_or_else(|| model(types).1);
            let got = logits(device, opened(config.clone(), source), activations, chunk);
            let d = difference(&got, &want);
            assert!(d <= bound, "{name}: {types:?} {activations:?}, chunks of {chunk}: {d}");
        }
        // Rounding to 8 bits has a standard deviation of 1 / (127 sqrt 12) of a block's largest value,
        // which is about three deviations of its values: an error of 0.7 % in each product, and of 2.6 %
        // after 14 products. A near tie in a router may flip, which changes a row by more. The bound is
        // four times 2.6 %.
        let got = logits(device, opened(config, model(types).1), Activations::Int8, 1);
        let square = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let apart: Vec<f32> = got.iter().zip(&want).map(|(g, w)| g - w).collect();
        let relative = (square(&apart) / square(&want)).sqrt();
        assert!(relative > 0.0 && relative <= 0.104, "{name}: {types:?} int8: {relative}");
    }
}

#[test]
fn every_type_gives_the_logits_of_its_values() {
    for element_type in [
        ElementType::Q4_0,
        ElementType::Q5_0,
        ElementType::Q8_0,
        ElementType::Q4_K,
        ElementType::Q5_K,
        ElementType::Q6_K,
    ] {
        check(&[element_type], 1e-4);
    }
}

/// These types become f16.
#[test]
fn types_with_a_minimum_give_nearly_the_same_logits() {
    check(&[ElementType::Q4_1], 5e-3);
    check(&[ElementType::Q5_1], 5e-3);
}

/// Some tensors have more bits than their neighbours, as in Q4_K_M.
#[test]
fn mixtures_of_types_give_the_logits_of_their_values() {
    check(&[ElementType::Q4_K, ElementType::Q6_K, ElementType::Q8_0], 1e-4);
    check(&[ElementType::Q4_0, ElementType::Q6_K, ElementType::F32, ElementType::Q5_0], 1e-4);
}

/// The plan of the weights equals their allocation, also if matrices with rows of several types become
/// f32, odd widths are padded, or a model without expert biases gets zeros.
#[test]
fn the_plan_of_weights_is_what_loading_allocates() {
    use ElementType::{BF16, F16, F32, Q4_0, Q4_1, Q4_K, Q6_K, Q8_0};
    let fixtures = ["odd-ffn", "no-expert-bias", "untied", "fused", "conv-bias", "dense"];
    let mut models: Vec<_> = fixtures
        .iter()
        .map(|name| {
            let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
            let files = Arc::new(ModelFiles::path(path).unwrap());
            let model = pollster::block_on(OpenedModel::open(&files)).unwrap();
            ((*name).to_owned(), model)
        })
        .collect();
    let mixtures = [&[Q4_K, Q6_K][..], &[Q4_0, F32, Q8_0], &[F16, BF16, Q4_1], &[F32, F16]];
    for (types, experts_differ) in mixtures.into_iter().flat_map(|t| [(t, false), (t, true)]) {
        let (config, checkpoint) = model_of(types, experts_differ);
        models.push((format!("{types:?}, {experts_differ}"), opened(config, checkpoint)));
    }
    // A device of its own, whose counters no other test changes.
    let options = DeviceOptions { limits: LimitsChoice::Default, ..Default::default() };
    let device = pollster::block_on(Device::request(&options)).unwrap();
    let recipes = [
        None,
        Some(Recipe::new(WeightChoice::Q4)),
        Some(Recipe::new(WeightChoice::F16).keeping([(ModelPart::Attention, WeightChoice::Q8)])),
    ];
    for (name, model) in &models {
        for recipe in &recipes {
            let (config, tensors, recipe) = (&model.config, &model.tensors, recipe.as_ref());
            let planned = tensors.gpu_bytes(recipe, device.caps().max_part());
            let before = device.counters().allocated_bytes;
            let made = make_weights(&device, config, &model.checkpoint, tensors, recipe);
            let made = pollster::block_on(made);
            let allocated = device.counters().allocated_bytes - before;
            assert!(made.is_ok() && allocated > 100_000, "{name}: {:?}", made.err());
            assert_eq!(planned, allocated, "{name}: {recipe:?}");
        }
    }
}
