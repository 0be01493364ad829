//! The adapters of tests/fixtures/lora, which PEFT and llama.cpp's conversion wrote (`tools/lora_goldens.py`).

use std::path::{Path, PathBuf};

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn config(base: &str) -> ModelConfig {
    let bytes = std::fs::read(Path::new(FIXTURES).join(base).join("config.json")).unwrap();
    ModelConfig::from_json("config.json", &bytes).unwrap()
}

fn about(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("logits.json")).unwrap()).unwrap()
}

fn read(path: &Path, config: &ModelConfig) -> LoraAdapter {
    let files = ModelFiles::path(path).unwrap();
    block_on(LoraAdapter::read(&files, config)).unwrap_or_else(|error| panic!("{error}"))
}

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(FIXTURES).join("lora")).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() >= 12, "{all:?}");
    all
}

fn close(ours: f64, theirs: f64, scale: f64) -> bool {
    (ours - theirs).abs() <= 1e-6 * scale
}

/// Every addition is that of PEFT's `get_delta_weight`.
#[test]
fn additions_are_those_of_peft() {
    for dir in cases() {
        let about = about(&dir);
        let adapter = read(&dir, &config(about["base"].as_str().unwrap()));
        let theirs = about["deltas"].as_object().unwrap();
        assert_eq!(adapter.factors.len(), theirs.len(), "{}", dir.display());
        for (id, factors) in &adapter.factors {
            let place = format!("{}: {}", dir.display(), id.hub_name());
            let Some(theirs) = theirs.get(&id.hub_name()) else { panic!("{place}") };
            // A matrix by module has half the rank of its row in a block diagonal stack.
            let whole =
                if dir.ends_with("experts-by-module") && !place.contains("w2") { 2 } else { 1 };
            assert_eq!(whole * factors.rank as u64, theirs["rank"].as_u64().unwrap(), "{place}");
            let scale = theirs["scale"].as_f64().unwrap();
            assert!(close(factors.scale.into(), scale, scale), "{place}");
            let delta = factors.delta();
            let cols = factors.a.len() / factors.rank;
            let magnitude = theirs["abs"].as_f64().unwrap();
            let sum: f64 = delta.iter().map(|v| f64::from(*v)).sum();
            let abs: f64 = delta.iter().map(|v| f64::from(v.abs())).sum();
            assert!(close(sum, theirs["sum"].as_f64().unwrap(), magnitude), "{place}: {sum}");
            assert!(close(abs, magnitude, magnitude), "{place}: {abs}");
            for element in theirs["elements"].as_array().unwrap() {
                let at = |i: usize| element[i].as_u64().unwrap() as usize;
                let ours = f64::from(delta[at(0) * cols + at(1)]);
                assert!(
                    close(ours, element[2].as_f64().unwrap(), 1.0),
                    "{place}: {element}: {ours}"
                );
            }
        }
    }
}

/// llama.cpp's conversion of an adapter has the same content as PEFT's files.
#[test]
fn gguf_files_have_the_same_content() {
    let mut converted = 0;
    for dir in cases() {
        let gguf = dir.join("adapter.gguf");
        if !gguf.exists() {
            continue;
        }
        let config = config(about(&dir)["base"].as_str().unwrap());
        let (ours, theirs) = (read(&dir, &config), read(&gguf, &config));
        assert_eq!(ours.fingerprint(), theirs.fingerprint(), "{}", dir.display());
        assert_eq!(ours.bytes(), theirs.bytes());
        converted += 1;
    }
    assert_eq!(converted, 5, "attention, conv, dense-ffn, experts-by-module, router");
}

/// The order of the wrappers does not matter.
#[test]
fn a_reversed_nesting_is_the_same_adapter() {
    let config = config("top-3-of-7");
    let read = |name: &str| read(&Path::new(FIXTURES).join("lora").join(name), &config);
    assert_eq!(read("experts-stacked").fingerprint(), read("experts-reversed").fingerprint());
}

/// An adapter of another base model is refused with the name of a tensor.
#[test]
fn another_base_model_is_refused() {
    for dir in cases() {
        let own = about(&dir)["base"].as_str().unwrap().to_owned();
        for base in ["tiny-b", "dense-old-keys", "odd-ffn"] {
            let files = ModelFiles::path(&dir).unwrap();
            let error = block_on(LoraAdapter::read(&files, &config(base))).unwrap_err();
            let named = matches!(error, LoraError::Shape { .. } | LoraError::Tensor { .. });
            assert!(named, "{} on {base} in place of {own}: {error}", dir.display());
        }
    }
}
