//! LoRA adapters: their logits equal those of merged weights, sequences of a batch have their own, and nothing of them
//! remains when they are removed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use half::{bf16, f16};
use lfm2_wgpu::engine::{Completed, GenerateRequest, LoraChoice, OpenedModel};
use lfm2_wgpu::formats::{BytesSource, ModelFiles};
use lfm2_wgpu::gpu::{Caps, Device, DeviceOptions};
use lfm2_wgpu::kernels::{Choices, KvFormat, Multiply, Reduce};
use lfm2_wgpu::model::lora::{LoraAdapter, LoraFactors};
use lfm2_wgpu::model::{ModelConfig, TensorId, expected_tensors};
use lfm2_wgpu::selftest::Rng;
use lfm2_wgpu::{Engine, Error, GenerateOptions, SamplingOptions};
use pollster::block_on;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::gpu::devices;

fn fixture(name: &str, file: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(root.join(name).join(file)).unwrap()
}

fn adaptable(id: TensorId) -> bool {
    matches!(id, TensorId::Router(_))
        || (id.is_matrix() && !matches!(id, TensorId::Embedding | TensorId::LmHead))
}

/// Factors of all matrices that `wanted` chooses, large enough to change every logit. Experts share A between gate and
/// up with an even seed, as adapters of stacked parameters do.
fn adapter(config: &ModelConfig, seed: u64, wanted: impl Fn(TensorId) -> bool) -> LoraAdapter {
    let mut rng = Rng::new(seed);
    let mut factors = HashMap::new();
    let mut shared: Option<Arc<[f32]>> = None;
    for (id, shape) in expected_tensors(config) {
        if !adaptable(id) || !wanted(id) {
            continue;
        }
        let rank = match id {
            TensorId::ExpertW1(..) | TensorId::ExpertW3(..) => 3,
            _ => 1 + rng.below(6),
        };
        let [rows, cols] = shape[..] else { panic!("{shape:?}") };
        let mut values = |n: usize, by: f32| (0..n).map(|_| by * rng.normal()).collect::<Vec<_>>();
        let by = 0.3 / (cols as f32).sqrt();
        let own: Arc<[f32]> = values(rank * cols, by).into();
        let a = match id {
            TensorId::ExpertW3(..) if seed.is_multiple_of(2) => shared.take().unwrap_or(own),
            _ => own,
        };
        shared = Some(a.clone());
        let b = values(rows * rank, 0.3).into();
        factors.insert(id, LoraFactors { rank, scale: 0.7, a, b });
    }
    assert!(!factors.is_empty());
    LoraAdapter { factors }
}

/// The files of a fixture in f32. Its weights have those of an adapter added.
fn in_f32(name: &str, config: &ModelConfig, added: Option<(&LoraAdapter, f32)>) -> ModelFiles {
    let bytes = fixture(name, "model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for (key, view) in tensors.tensors() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => bytemuck::pod_collect_to_vec(data),
            Dtype::BF16 => {
                let halves: Vec<u16> = bytemuck::pod_collect_to_vec(data);
                halves.into_iter().map(|v| bf16::from_bits(v).to_f32()).collect()
            }
            Dtype::F16 => {
                let halves: Vec<u16> = bytemuck::pod_collect_to_vec(data);
                halves.into_iter().map(|v| f16::from_bits(v).to_f32()).collect()
            }
            other => panic!("{other:?}"),
        };
        all.push((key, view.shape().to_vec(), values));
    }
    for (id, _) in expected_tensors(config) {
        let Some((adapter, scale)) = added else { break };
        let Some(f) = adapter.factors.get(&id) else { continue };
        let (_, shape, values) = all.iter_mut().find(|(key, ..)| *key == id.hub_name()).unwrap();
        let cols = shape[1];
        for (i, row) in values.chunks_mut(cols).enumerate() {
            for (k, value) in row.iter_mut().enumerate() {
                let of = |r: usize| f64::from(f.b[i * f.rank + r]) * f64::from(f.a[r * cols + k]);
                let sum: f64 = (0..f.rank).map(of).sum();
                *value += (f64::from(scale * f.scale) * sum) as f32;
            }
        }
    }
    let views = all.iter().map(|(key, shape, values)| {
        let bytes = bytemuck::cast_slice(values);
        (key.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    files(name, serialize(views, None).unwrap())
}

fn files(name: &str, weights: Vec<u8>) -> ModelFiles {
    let sources = [
        ("config.json", fixture(name, "config.json")),
        ("generation_config.json", fixture(name, "generation_config.json")),
        ("model.safetensors", weights),
    ];
    let source = |(file, bytes): (&str, Vec<u8>)| {
        (file.to_owned(), Arc::new(BytesSource::shared(file, bytes.into())) as Arc<_>)
    };
    ModelFiles::from_sources(name, sources.map(source))
}

fn build(files: ModelFiles, device: &Device, choices: Choices, sequences: u32) -> Engine {
    let builder = Engine::builder().files(files).gpu(device.clone()).context_length(256);
    let builder = builder.kv_format(KvFormat::F32).choices(choices).sequences(sequences);
    block_on(builder.build()).unwrap()
}

fn plain(name: &str, device: &Device, choices: Choices, sequences: u32) -> Engine {
    build(in_f32(name, &config(name), None), device, choices, sequences)
}

fn config(name: &str) -> ModelConfig {
    let files = Arc::new(files(name, fixture(name, "model.safetensors")));
    block_on(OpenedModel::open(&files)).unwrap().config
}

fn prompt(config: &ModelConfig, seed: u64, n: usize) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.below(config.vocab_size) as u32).collect()
}

fn logits(engine: &Engine, tokens: &[u32], chunk: usize, lora: Option<&LoraChoice>) -> Vec<f32> {
    let mut sequence = engine.sequence().unwrap();
    sequence.set_lora(lora).unwrap();
    block_on(sequence.logits(tokens, chunk)).unwrap()
}

fn choice(name: &str) -> LoraChoice {
    LoraChoice { name: name.to_owned(), scale: None }
}

/// Largest difference as a fraction of the largest value.
fn difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let error = |(g, w): (&f32, &f32)| (g - w).abs() / largest;
    got.iter().zip(want).map(error).fold(0.0, f32::max)
}

/// The choices whose kernels add adapters: lanes that own rows and lanes that share them.
fn all_choices(caps: &Caps) -> Vec<Choices> {
    let own = Choices { multiply: Multiply::Lanes, ..Choices::by_capability(caps) };
    let mut all = vec![own];
    for reduce in [Reduce::Serial, Reduce::Tree, Reduce::shared_rows(caps)] {
        if reduce != own.reduce {
            // Passes of more than four rows take matmul.
            all.push(Choices { reduce, matvec_rows: 4, ..own });
        }
    }
    all
}

/// In one pass, in chunks and token by token, with every way of summation, on devices with WebGPU's default limits too,
/// where some decode kernels have too few bindings for adapters.
#[test]
fn logits_with_adapters_are_those_of_merged_weights() {
    // The goldens of PEFT have other models.
    let names = ["odd-sizes", "conv-bias", "tiny-a", "dense"];
    for name in &names[..if crate::gpu::run_all() { 4 } else { 2 }] {
        for (place, device) in devices() {
            for choices in all_choices(device.caps()) {
                let engine = plain(name, device, choices, 2);
                let config = engine.config().clone();
                let tokens = prompt(&config, 1, 70);
                let without = logits(&engine, &tokens, 512, None);
                let some = adapter(&config, 2, |_| true);
                let of_experts = |id: TensorId| id.is_expert() || matches!(id, TensorId::K(_));
                let experts = match config.moe {
                    Some(_) => adapter(&config, 3, of_experts),
                    None => adapter(&config, 3, |id| matches!(id, TensorId::W3(_))),
                };
                let scale = 1.5;
                block_on(engine.load_lora("all", some.clone(), scale)).unwrap();
                block_on(engine.load_lora("few", experts.clone(), 1.0)).unwrap();
                for (lora, adapter, scale) in [("all", &some, scale), ("few", &experts, 1.0)] {
                    let files = in_f32(name, &config, Some((adapter, scale)));
                    let reference = build(files, device, choices, 1);
                    let want = logits(&reference, &tokens, 512, None);
                    assert!(difference(&without, &want) > 0.01, "{name}: {lora} changes little");
                    for chunk in [512, 1, 3] {
                        let got = logits(&engine, &tokens, chunk, Some(&choice(lora)));
                        let error = difference(&got, &want);
                        let case = format!("{name} at {place}, {choices:?}, {lora}, chunk {chunk}");
                        assert!(error < 1e-4, "{case}: {error:e}");
                    }
                }
                // A sequence without an adapter has the model's own bits, also when adapters are there and gone.
                assert_eq!(logits(&engine, &tokens, 512, None), without);
                engine.unload_lora("few").unwrap();
                engine.unload_lora("all").unwrap();
                assert_eq!(logits(&engine, &tokens, 512, None), without);
                assert!(engine.loras().is_empty());
            }
        }
    }
}

fn request(prompt: Vec<u32>, lora: Option<LoraChoice>, seed: u64) -> GenerateRequest {
    let sampling = SamplingOptions { temperature: 1.0, seed: Some(seed), ..Default::default() };
    let options = GenerateOptions {
        sampling: Some(sampling),
        max_tokens: Some(12),
        ignore_end: true,
        lora,
        ..GenerateOptions::default()
    };
    GenerateRequest { prompt, options, ..GenerateRequest::default() }
}

fn tokens(answers: Vec<Result<Completed, Error>>) -> Vec<Vec<u32>> {
    answers.into_iter().map(|answer| answer.unwrap().tokens).collect()
}

/// 64 requests over 8 adapters and none, many of them with the same beginning: each text is its text alone.
#[test]
fn requests_with_several_adapters_get_their_texts_alone() {
    let (_, device) = &devices()[0];
    let choices = Choices::by_capability(device.caps());
    let engine = plain("tiny-a", device, choices, 8);
    let config = engine.config().clone();
    for i in 0..8 {
        let adapter = adapter(&config, i, |id| i % 3 != 0 || !id.is_expert());
        block_on(engine.load_lora(&format!("lora-{i}"), adapter, 1.0)).unwrap();
    }
    let requests = || -> Vec<GenerateRequest> {
        let one = |i: u64| {
            let lora = (i % 9 < 8).then(|| choice(&format!("lora-{}", i % 9)));
            let scale = i.is_multiple_of(4).then_some(0.5);
            let lora = lora.map(|lora| LoraChoice { scale, ..lora });
            let mut text = prompt(&config, 5 + i % 2, 66);
            text.extend(prompt(&config, i, 5));
            request(text, lora, i)
        };
        (0..64).map(one).collect()
    };
    let together = tokens(block_on(engine.generate_batch(requests())));
    let mut differ = 0;
    for (index, (request, together)) in requests().into_iter().zip(&together).enumerate() {
        engine.clear_cache();
        let alone = tokens(block_on(engine.generate_batch([request.clone()])));
        assert_eq!(&alone[0], together, "request {index}");
        let base = GenerateOptions { lora: None, ..request.options.clone() };
        let base = GenerateRequest { options: base, ..request };
        differ += usize::from(tokens(block_on(engine.generate_batch([base])))[0] != *together);
    }
    assert!(differ > 40, "only {differ} texts differ from those of the model alone");
    assert!(engine.cache_counts().hit_tokens > 0);
}

/// An adapter's state is not that of the model or of another scale, though the tokens are the same.
#[test]
fn the_prefix_cache_knows_adapters_apart() {
    let (_, device) = &devices()[0];
    let choices = Choices::by_capability(device.caps());
    let engine = plain("tiny-a", device, choices, 4);
    let config = engine.config().clone();
    block_on(engine.load_lora("a", adapter(&config, 1, |_| true), 1.0)).unwrap();
    let text = prompt(&config, 9, 130);
    let cached = |lora: Option<LoraChoice>| {
        let answer = block_on(engine.generate(request(text.clone(), lora, 1)).unwrap().complete());
        answer.unwrap().timings.cache_n
    };
    let half = LoraChoice { scale: Some(0.5), ..choice("a") };
    for lora in [None, Some(choice("a")), Some(half)] {
        assert_eq!(cached(lora.clone()), 0, "{lora:?}");
        assert!(cached(lora.clone()) >= 128, "{lora:?}");
    }
    // A saved state is that of its adapter.
    cached(Some(choice("a")));
    let mut file = Vec::new();
    let mut write = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok(())
    };
    let saved = block_on(engine.save(&text, Some(&choice("a")), "x", &mut write)).unwrap();
    assert!(saved >= 128);
    engine.clear_cache();
    let file = BytesSource::shared("x", file.into());
    assert_eq!(block_on(engine.restore(&file)).unwrap(), saved);
    assert_eq!(cached(None), 0);
    assert!(cached(Some(choice("a"))) >= 128);
    // Another adapter of the same name is another one.
    engine.unload_lora("a").unwrap();
    let refused = block_on(engine.restore(&file)).unwrap_err().to_string();
    assert!(refused.contains("that is not loaded"), "{refused}");
    block_on(engine.load_lora("a", adapter(&config, 4, |_| true), 1.0)).unwrap();
    assert_eq!(cached(Some(choice("a"))), 0);
}

#[test]
fn errors_name_the_adapter_and_change_nothing() {
    let (_, device) = &devices()[0];
    let choices = Choices::by_capability(device.caps());
    let engine = plain("tiny-a", device, choices, 1);
    let config = engine.config().clone();
    let load = |name: &str, scale| {
        block_on(engine.load_lora(name, adapter(&config, 1, |_| true), scale))
            .map_err(|e| e.to_string())
    };
    load("a", 1.0).unwrap();
    assert!(load("a", 1.0).unwrap_err().contains("a: is loaded already"));
    assert!(load(" ", 1.0).unwrap_err().contains("empty name"));
    assert!(load("b", f32::NAN).unwrap_err().contains("finite"));
    let unknown = engine.generate(request(vec![1], Some(choice("x")), 1)).map(|_| ()).unwrap_err();
    assert_eq!(unknown.to_string(), "LoRA adapter x: is not loaded; these are: a");
    assert!(engine.unload_lora("x").is_err());
    let names: Vec<_> = engine.loras().into_iter().map(|lora| lora.name).collect();
    assert_eq!(names, ["a"]);
}

/// Adapters come and go while answers run, and no memory on the GPU is lost.
#[test]
fn loading_and_removing_while_others_run_keeps_memory_flat() {
    // A device of its own, whose memory other tests do not change.
    let device = &block_on(Device::request(&DeviceOptions::default())).unwrap();
    let allocated = || device.counters().allocated_bytes;
    let choices = Choices::by_capability(device.caps());
    let engine = plain("tiny-a", device, choices, 4);
    let config = engine.config().clone();
    let rounds = if crate::gpu::run_all() { 1000 } else { 60 };
    block_on(engine.load_lora("stays", adapter(&config, 1, |_| true), 1.0)).unwrap();
    let stays = || request(prompt(&config, 3, 20), Some(choice("stays")), 7);
    let want = tokens(block_on(engine.generate_batch([stays()])));
    // Logits take plans that are recorded when they are first needed, also while the adapters move.
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (engine, done, text) = (engine.clone(), done.clone(), prompt(&config, 3, 20));
        std::thread::spawn(move || {
            let want = logits(&engine, &text, 512, Some(&choice("stays")));
            while !done.load(Ordering::Relaxed) {
                assert!(logits(&engine, &text, 512, Some(&choice("stays"))) == want);
                std::thread::sleep(Duration::from_millis(3));
            }
        })
    };
    let mut memory = Vec::new();
    for round in 0..rounds {
        let name = format!("{round}");
        let mut running = engine.generate(stays()).unwrap();
        let adapter = adapter(&config, round % 5, |id| round % 2 == 0 || !id.is_expert());
        block_on(engine.load_lora(&name, adapter, 1.0)).unwrap();
        let mut own = engine.generate(request(vec![1, 2, 3], Some(choice(&name)), 1)).unwrap();
        // Its answer goes on without its name.
        engine.unload_lora(&name).unwrap();
        assert_eq!(block_on(own.complete()).unwrap().tokens.len(), 12);
        assert_eq!(block_on(running.complete()).unwrap().tokens, want[0], "round {round}");
        memory.push(allocated());
    }
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    // While an adapter is loaded, a reader may hold the passes before it, so the least memory counts. The largest
    // adapter takes a tenth of it, so half of the rounds would show one that is not freed.
    let (early, late) = memory.split_at(memory.len() / 2);
    let (early, late) = (early.iter().min().unwrap(), late.iter().min().unwrap());
    assert!(*late <= early + early / 20, "{memory:?}");
    engine.unload_lora("stays").unwrap();
    // The last answers' adapters go when the engine has nothing more to do.
    let began = Instant::now();
    while allocated() >= memory[0] && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(allocated() < memory[0]);
}

/// Adapters that PEFT wrote, and llama.cpp's conversions of them: the logits are those of transformers with PEFT
/// (`tools/lora_goldens.py`). All adapters of a model are loaded at once.
#[test]
fn logits_with_adapters_are_those_of_peft() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lora");
    let mut by_base: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let dir = entry.unwrap().path();
        let about = std::fs::read(dir.join("logits.json")).unwrap();
        let about: serde_json::Value = serde_json::from_slice(&about).unwrap();
        by_base.entry(about["base"].as_str().unwrap().to_owned()).or_default().push(dir);
    }
    let mut compared = 0;
    for (place, device) in devices() {
        for (base, dirs) in &by_base {
            let engine = plain(base, device, all_choices(device.caps())[0], 1);
            let files = |dir: &PathBuf| {
                [dir.clone(), dir.join("adapter.gguf")].into_iter().filter(|path| path.exists())
            };
            for path in dirs.iter().flat_map(files) {
                let files = ModelFiles::path(&path).unwrap();
                let adapter = block_on(LoraAdapter::read(&files, engine.config())).unwrap();
                let name = path.display().to_string();
                block_on(engine.load_lora(&name, adapter, 1.0)).unwrap();
            }
            for dir in dirs {
                let bytes = std::fs::read(dir.join("logits.safetensors")).unwrap();
                let golden = SafeTensors::deserialize(&bytes).unwrap();
                let of = |key: &str| golden.tensor(key).unwrap().data();
                let tokens: Vec<u32> = bytemuck::pod_collect_to_vec(of("input_ids"));
                let want: Vec<f32> = bytemuck::pod_collect_to_vec(of("logits"));
                assert!(difference(&logits(&engine, &tokens, 512, None), &want) > 0.01);
                for path in files(dir) {
                    let name = choice(&path.display().to_string());
                    for chunk in [512, 1] {
                        let got = logits(&engine, &tokens, chunk, Some(&name));
                        let error = difference(&got, &want);
                        assert!(error < 1e-4, "{place}, {}, {chunk}: {error:e}", path.display());
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared >= 60, "{compared}");
}

/// One more dispatch for each adapted matrix, and none for answers without an adapter.
#[test]
fn a_decoded_token_takes_one_dispatch_for_each_adapted_matrix() {
    // A device of its own: other tests' work must not be counted.
    let device = block_on(Device::request(&DeviceOptions::default())).unwrap();
    assert!(device.caps().max_storage_buffers > 8, "some kernels have too few bindings");
    let engine = plain("tiny-a", &device, Choices::by_capability(device.caps()), 1);
    let config = engine.config().clone();
    let linear = |id: TensorId| !id.is_expert() && !matches!(id, TensorId::Router(_));
    block_on(engine.load_lora("all", adapter(&config, 1, |_| true), 1.0)).unwrap();
    block_on(engine.load_lora("linear", adapter(&config, 1, linear), 1.0)).unwrap();
    let a_token = |lora: Option<&str>| {
        let counted = |tokens: usize| {
            let before = device.counters().dispatches;
            let mut request = request(prompt(&config, 1, 9), lora.map(choice), 1);
            request.options.max_tokens = Some(tokens);
            request.options.no_cache = true;
            block_on(engine.generate(request).unwrap().complete()).unwrap();
            device.counters().dispatches - before
        };
        // The first prompt runs a part twice, to learn the device's speed.
        counted(1);
        (counted(20) - counted(10)) / 10
    };
    let alone = a_token(None);
    // in_proj or q k v, and out_proj, of five layers; w13 and w2 of two; then a router, w13 and w2 of three. All
    // matrices that any adapter has take a dispatch: an adapter's own ones are not known when a pass is recorded.
    assert_eq!(a_token(Some("all")), alone + 5 * 2 + 2 * 2 + 3 * 3);
    assert_eq!(a_token(Some("linear")), alone + 5 * 2 + 2 * 2 + 3 * 3);
    engine.unload_lora("all").unwrap();
    engine.unload_lora("linear").unwrap();
    block_on(engine.load_lora("linear", adapter(&config, 1, linear), 1.0)).unwrap();
    assert_eq!(a_token(Some("linear")), alone + 5 * 2 + 2 * 2);
    assert_eq!(a_token(None), alone);
}
