//! Keys and values in fewer bits: the logits stay near those with f32 keys and values.

use std::path::Path;

use lfm2_wgpu::engine::EngineBuilder;
use lfm2_wgpu::gpu::{Caps, Device};
use lfm2_wgpu::kernels::KvFormat;
use lfm2_wgpu::selftest::worst;
use lfm2_wgpu::{Engine, Error};
use pollster::block_on;

use crate::gpu::devices;

/// Logits may differ by this fraction of the largest.
const TOLERANCE: f32 = 2e-2;

fn build(name: &str, device: &Device, kv: KvFormat) -> Result<Engine, Error> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let builder = Engine::builder().directory(path)?.gpu(device.clone());
    block_on(builder.context_length(384).kv_format(kv).build())
}

/// The logits of `tokens`, run in chunks, then token by token.
fn logits(engine: &Engine, tokens: &[u32]) -> Vec<f32> {
    let mut sequence = engine.sequence().unwrap();
    let (first, rest) = tokens.split_at(tokens.len() - 20);
    let mut all = block_on(sequence.logits(first, 37)).unwrap();
    all.extend(block_on(sequence.logits(rest, 1)).unwrap());
    all
}

/// Enough tokens to cross the borders of pages and splits.
fn tokens(engine: &Engine) -> Vec<u32> {
    let vocab = engine.config().vocab_size as u32;
    (0..300).map(|i| (i * i * 7 + i) % vocab).collect()
}

/// The largest difference of two rows of logits; NaN if a logit is NaN.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    worst(a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()))) as f32
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// The models have heads of one and of four blocks.
#[test]
fn q8_keys_and_values_hardly_change_the_logits() {
    for (limits, device) in devices() {
        for name in ["mha-head-32", "head-128"] {
            let engine = build(name, device, KvFormat::F32).unwrap();
            let tokens = tokens(&engine);
            let want = logits(&engine, &tokens);
            for (kv, most) in [(KvFormat::F16, 1e-3), (KvFormat::Q8, TOLERANCE)] {
                let got = logits(&build(name, device, kv).unwrap(), &tokens);
                let apart = difference(&got, &want) / largest(&want);
                println!("{limits}, {name}, {kv:?}: {apart:e}");
                // A difference shows that the other format was really used.
                assert!(apart > 0.0 && apart <= most, "{limits}, {name}, {kv:?}: {apart:e}");
            }
        }
    }
}

/// The experts of each row in all layers, and the logits of a pass.
fn routed(engine: &Engine, tokens: &[u32]) -> (Vec<Vec<u32>>, Vec<f32>) {
    let top_k = engine.config().moe.as_ref().unwrap().top_k;
    let trace = block_on(engine.sequence().unwrap().trace(tokens)).unwrap();
    let mut experts = vec![Vec::new(); tokens.len()];
    for (_, ids) in trace.iter().filter(|(name, _)| name.ends_with(".feed_forward.ids")) {
        for (row, ids) in experts.iter_mut().zip(ids.chunks(top_k)) {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            row.extend(ids);
        }
    }
    let (_, logits) = trace.into_iter().find(|(name, _)| name == "logits").unwrap();
    (experts, logits.into_iter().map(f32::from_bits).collect())
}

/// The model has heads of two blocks and a mixture of 32 experts. A near tie in a router may flip, which
/// makes another function of a row. In all other rows the logits are as near as without experts.
#[test]
fn q8_changes_few_experts_of_a_mixture() {
    let (_, device) = &devices()[0];
    let engine = build("tiny-b", device, KvFormat::F32).unwrap();
    let (tokens, vocab) = (tokens(&engine), engine.config().vocab_size);
    let (experts, want) = routed(&engine, &tokens);
    let engine = build("tiny-b", device, KvFormat::Q8).unwrap();
    let (other_experts, got) = routed(&engine, &tokens);
    let (mut apart, mut changed) = (Vec::new(), 0);
    for (i, (a, b)) in experts.iter().zip(&other_experts).enumerate() {
        let row = i * vocab..(i + 1) * vocab;
        match a == b {
            true => apart.push(f64::from(difference(&got[row.clone()], &want[row]))),
            false => changed += 1,
        }
    }
    let worst = worst(apart) as f32 / largest(&want);
    println!("{changed} of {} rows have other experts; of the rest {worst:e}", tokens.len());
    assert!(worst > 0.0 && worst <= TOLERANCE && changed <= 15, "{worst:e}, {changed}");
}

#[test]
fn heads_without_whole_blocks_are_refused() {
    let (_, device) = &devices()[0];
    let Err(error) = build("odd-sizes", device, KvFormat::Q8) else { panic!("built") };
    let message = error.to_string();
    assert!(message.contains("kv: got q8") && message.contains("heads of 48"), "{message}");
}

/// In f16 the keys (or values) of a layer fit 512 KiB up to 2048 positions. Several sequences share them.
#[test]
fn a_context_too_long_for_a_binding_is_refused_with_a_format_that_fits() {
    let (config, checkpoint) = crate::quantised::model(&[lfm2_wgpu::formats::ElementType::Q8_0]);
    let model = crate::quantised::opened(config, checkpoint);
    let caps = Caps { max_binding: 512 << 10, ..Caps::core() };
    let plan = |context, kv| {
        let builder = Engine::builder().sequences(3).context_length(context).kv_format(kv);
        builder.memory_plan(&model, &caps, None).map_err(|e| e.to_string())
    };
    let need = |context, kv| plan(context, kv).unwrap_err();
    assert!(plan(2048, KvFormat::F16).is_ok() && plan(3000, KvFormat::Q8).is_ok());
    let error = need(3000, KvFormat::F16);
    assert!(error.ends_with("got 3000, need 1 to 2048 on this device, or --kv q8"), "{error}");
    let error = need(2000, KvFormat::F32);
    assert!(error.ends_with("need 1 to 1024 on this device, or --kv f16"), "{error}");
    // No format fits, or the model does not support the context.
    assert!(need(4096, KvFormat::F16).ends_with("need 1 to 2048"), "{}", need(4096, KvFormat::F16));
    assert!(need(0, KvFormat::F16).ends_with("need 1 to 2048"), "{}", need(0, KvFormat::F16));
}

/// Sequences share one pool of keys and values: as large as the memory allows, and of one context at least.
#[test]
fn the_pool_takes_the_memory_that_is_there() {
    let (config, checkpoint) = crate::quantised::model(&[lfm2_wgpu::formats::ElementType::Q8_0]);
    let model = crate::quantised::opened(config, checkpoint);
    let plan = |sequences, memory: Option<u64>| {
        let builder = Engine::builder().sequences(sequences).context_length(2048);
        let builder = memory.into_iter().fold(builder, EngineBuilder::memory);
        builder.memory_plan(&model, &Caps::core(), None)
    };
    let (one, all) = (plan(1, None).unwrap(), plan(8, None).unwrap());
    assert_eq!(all.kv, 8 * one.kv);
    for memory in [all.total() - 1, all.total() - all.kv / 2, all.total() - all.kv * 3 / 4] {
        let some = plan(8, Some(memory)).unwrap();
        assert!(some.total() <= memory && some.total() > memory - memory / 50, "{some:?}");
        assert!(some.kv >= one.kv && some.context == 2048);
    }
    let least = plan(8, Some(all.total() - all.kv)).unwrap_err().to_string();
    assert!(least.contains("Try --context"), "{least}");
}
