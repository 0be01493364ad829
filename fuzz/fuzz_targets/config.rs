//! config.json and generation_config.json: any text, or valid files with changed values.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use lfm2_fuzz::description::{Change, changed, pick};
use lfm2_fuzz::{files, held, one_line};
use lfm2_wgpu::model::{GenerationConfig, ModelConfig, expected_tensors};
use serde_json::Value;

static BASES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let texts = [
        include_str!("../../tests/fixtures/dense/config.json"),
        include_str!("../../tests/fixtures/dense-old-keys/config.json"),
        include_str!("../../tests/fixtures/tiny-b/config.json"),
        include_str!("../../tests/fixtures/moe-old-keys/config.json"),
        include_str!("../../tests/fixtures/conv-bias/config.json"),
        include_str!("../../tests/fixtures/head-dim-key/config.json"),
    ];
    texts.iter().map(|text| serde_json::from_str(text).unwrap_or_default()).collect()
});
static GENERATION: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../tests/fixtures/tiny-b/generation_config.json");
    serde_json::from_str(text).unwrap_or_default()
});

#[derive(Arbitrary, Debug)]
struct Description {
    base: u8,
    changes: Vec<Change>,
    generation: Vec<Change>,
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A first byte of 0 marks a description; otherwise the input is files.
    if let Some((0, rest)) = data.split_first() {
        let Ok(d) = Description::arbitrary_take_rest(Unstructured::new(rest)) else { return };
        let Some(base) = pick(&BASES, d.base) else { return };
        let config = changed(base, &d.changes);
        let generation = changed(&GENERATION, &d.generation);
        held(|| read(config.as_bytes(), generation.as_bytes()));
    } else {
        let files = files::split(data, "config.json");
        let find = |name| files::find(&files, name).unwrap_or_default();
        held(|| read(find("config.json"), find("generation_config.json")));
    }
});

fn read(config: &[u8], generation: &[u8]) {
    match GenerationConfig::from_json("generation_config.json", generation, 300) {
        Ok(config) => assert!(config.eos_token_ids.iter().all(|id| *id < 300), "{config:?}"),
        Err(error) => one_line(&error),
    }
    match ModelConfig::from_json("config.json", config) {
        Ok(config) => {
            assert!(config.n_heads > 0 && config.n_heads % config.n_kv_heads == 0, "{config:?}");
            assert!(config.norm_eps.is_finite() && config.rope_theta.is_finite(), "{config:?}");
            for (id, shape) in expected_tensors(&config) {
                let elements = shape.iter().try_fold(1_u64, |n, d| n.checked_mul(*d as u64));
                assert!(elements.is_some_and(|n| n > 0), "{id:?}: {shape:?}");
            }
        }
        Err(error) => one_line(&error),
    }
}
