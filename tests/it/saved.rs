//! The time to restore a saved state, against that to compute it again.

use std::time::Instant;

use lfm2_wgpu::engine::{Engine, GenerateOptions, GenerateRequest, OpenedModel, Timings};
use lfm2_wgpu::formats::BytesSource;
use lfm2_wgpu::gpu::{Device, DeviceOptions};
use lfm2_wgpu::model::WeightChoice;
use pollster::block_on;

fn answer(engine: &Engine, prompt: &[u32]) -> Timings {
    let options = GenerateOptions { max_tokens: Some(1), ..GenerateOptions::default() };
    let request = GenerateRequest { prompt: prompt.to_vec(), options, ..Default::default() };
    block_on(engine.generate(request).unwrap().complete()).unwrap().timings
}

/// On a software driver restoring is at least 20 times as fast as the prefill.
#[test]
fn restoring_is_faster_than_prefill() {
    let n = if std::env::var("LFM2_TESTS").is_ok_and(|all| all == "all") { 1024 } else { 192 };
    let device = block_on(Device::request(&DeviceOptions::default())).unwrap();
    let model = block_on(OpenedModel::of_shape("mini", WeightChoice::Q4)).unwrap().unwrap();
    let builder = Engine::builder().model(model).gpu(device).context_length(n + 64);
    let engine = block_on(builder.build()).unwrap();
    let prompt: Vec<u32> = (0..n).map(|i| (i * 7919) % 2000).collect();
    // The driver compiles in the first pass.
    answer(&engine, &prompt[..64]);
    let timings = answer(&engine, &prompt);
    let mut file = Vec::new();
    let mut write = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok(())
    };
    let began = Instant::now();
    let saved = block_on(engine.save(&prompt, None, "state", &mut write)).unwrap();
    let save = began.elapsed();
    engine.clear_cache();
    let source = BytesSource::shared("state", file.as_slice().into());
    let began = Instant::now();
    assert_eq!(block_on(engine.restore(&source)).unwrap(), saved);
    let restore = began.elapsed();
    let prefill = timings.prompt_ms / 1000.0 * f64::from(n) / timings.prompt_n as f64;
    println!(
        "{saved} tokens, {} bytes: prefill {prefill:.3} s, save {save:?}, restore {restore:?}",
        file.len()
    );
    let longer = [&prompt[..], &[5]].concat();
    assert_eq!(answer(&engine, &longer).cache_n, saved);
    assert!(restore.as_secs_f64() * 20.0 < prefill);
}
