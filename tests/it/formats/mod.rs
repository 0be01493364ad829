//! Tests of formats and configuration, with checkpoints of every layout on the hub.

mod bad_config;
mod bad_gguf;
mod bad_safetensors;
mod bad_tensors;
mod blocks;
mod config;
mod generation_config;
mod gguf;
pub mod gguf_writer;
mod index;
mod mutated;
mod mutated_gguf;
mod package;
mod peers;
mod recommended;
mod refused;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lfm2_wgpu::formats::{Checkpoint, ModelFiles, read_small};
use lfm2_wgpu::model::config::MAX_CONFIG_BYTES;
use lfm2_wgpu::model::{GenerationConfig, ModelConfig, ResolvedTensors, TensorId, validate};
use safetensors::SafeTensors;

struct Model {
    config: ModelConfig,
    generation: GenerationConfig,
    checkpoint: Checkpoint,
    tensors: ResolvedTensors,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn load(path: &Path) -> Model {
    pollster::block_on(async {
        let files = Arc::new(ModelFiles::directory(path).unwrap());
        let source = files.require("config.json").unwrap();
        let bytes = read_small(&*source, MAX_CONFIG_BYTES).await.unwrap();
        let config = ModelConfig::from_json(source.name(), &bytes).unwrap();
        let name = "generation_config.json";
        let bytes = files.read_small(name, MAX_CONFIG_BYTES).await.unwrap();
        let generation =
            GenerationConfig::from_json(name, &bytes.unwrap(), config.vocab_size).unwrap();
        let checkpoint = Checkpoint::open(files.clone()).await.unwrap();
        let tensors = validate(&config, &checkpoint).await.unwrap();
        Model { config, generation, checkpoint, tensors }
    })
}

/// A tensor's bytes, read in pieces with an odd number of elements.
fn bytes_of(model: &Model, id: TensorId) -> Vec<u8> {
    let slice = *model.tensors.get(id).unwrap();
    let element = usize::try_from(slice.element_type.block().bytes).unwrap();
    let mut bytes = vec![0; usize::try_from(slice.bytes()).unwrap()];
    let mut at = 0;
    for piece in bytes.chunks_mut(element * 37) {
        pollster::block_on(model.checkpoint.read(&slice, at, piece)).unwrap();
        at += 37;
    }
    bytes
}

#[test]
fn every_fixture_loads() {
    let mut loaded = 0;
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("config.json").exists() {
            let model = load(&path);
            assert_eq!(model.generation.eos_token_ids, [7], "{path:?}");
            assert_eq!(model.config.eos_token_ids, [7], "{path:?}");
            loaded += 1;
        }
    }
    assert!(loaded >= 23, "only {loaded} fixtures");
}

#[test]
fn elements_are_those_that_the_safetensors_crate_reads() {
    let model = load(&fixture("tiny-b"));
    let file = std::fs::read(fixture("tiny-b").join("model.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&file).unwrap();
    for id in [
        TensorId::Embedding,
        TensorId::ConvTaps(0),
        TensorId::K(2),
        TensorId::ExpertBias(3),
        TensorId::ExpertW1(2, 0),
        TensorId::ExpertW2(5, 31),
    ] {
        let view = expected.tensor(&id.hub_name()).unwrap();
        assert!(bytes_of(&model, id) == view.data(), "{id:?}");
    }
}

#[test]
fn a_fused_tensor_is_sliced_by_expert_and_matrix() {
    let model = load(&fixture("fused"));
    let file = std::fs::read(fixture("fused").join("model.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&file).unwrap();
    let moe = model.config.moe.unwrap();
    let bytes = moe.intermediate_size * model.config.hidden_size * 2;
    let piece = |name: &str, matrices_before: usize| {
        let name = format!("model.layers.1.feed_forward.experts.{name}");
        let data = expected.tensor(&name).unwrap().data().to_vec();
        data[matrices_before * bytes..][..bytes].to_vec()
    };
    for e in 0..moe.num_experts {
        assert!(bytes_of(&model, TensorId::ExpertW1(1, e)) == piece("gate_up_proj", 2 * e));
        assert!(bytes_of(&model, TensorId::ExpertW3(1, e)) == piece("gate_up_proj", 2 * e + 1));
        assert!(bytes_of(&model, TensorId::ExpertW2(1, e)) == piece("down_proj", e));
    }
}
