//! Random and nearly valid files never cause a panic, and accepted files are consistent.

use std::sync::{Arc, OnceLock};

use lfm2_wgpu::formats::{BytesSource, Checkpoint};
use lfm2_wgpu::model::{GenerationConfig, ModelConfig, expected_tensors, validate};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bad_safetensors::open;
use super::config::{dense, moe, read};

/// Fixture `fused`. Its tensors reach the code of both layouts.
fn fixture() -> &'static (Vec<u8>, Vec<u8>) {
    static FILES: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    FILES.get_or_init(|| {
        let path = super::fixture("fused");
        let file = |name| std::fs::read(path.join(name)).unwrap();
        (file("config.json"), file("model.safetensors"))
    })
}

/// Accepted tensors are within the file and can be read.
fn check(checkpoint: &Checkpoint, len: u64) {
    for tensor in checkpoint.tensors() {
        assert!(tensor.range.start <= tensor.range.end && tensor.range.end <= len);
        let elements: usize = tensor.shape.iter().product();
        let bytes = tensor.range.end - tensor.range.start;
        assert_eq!(tensor.element_type.bytes_of(elements as u64), Some(bytes));
    }
}

fn open_and_validate(config: &[u8], weights: &[u8]) {
    if let Ok(checkpoint) = open(&[("model.safetensors", weights)]) {
        check(&checkpoint, weights.len() as u64);
        if let Ok(config) = read(config)
            && let Ok(tensors) = pollster::block_on(validate(&config, &checkpoint))
        {
            for (id, _) in expected_tensors(&config) {
                let slice = *tensors.get(id).unwrap();
                let mut bytes = vec![0; usize::try_from(slice.bytes()).unwrap()];
                pollster::block_on(checkpoint.read(&slice, 0, &mut bytes)).unwrap();
            }
        }
    }
}

/// Values that parsers often get wrong.
fn extreme() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u64..70).prop_map(Value::from),
        (0_u32..64).prop_map(|bit| json!(1_u64 << bit)),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "conv",
            "full_attention",
            "lfm2",
            "lfm2_moe",
            "F32",
            "BF16",
            "F4"
        ])
        .prop_map(Value::from),
        prop::collection::vec(any::<u16>(), 0..6).prop_map(Value::from),
        prop::collection::vec(prop::sample::select(vec!["conv", "full_attention"]), 0..6)
            .prop_map(Value::from),
        Just(json!({"rope_theta": 1e4})),
        Just(json!({})),
    ]
}

/// Splits a safetensors file into its header and its data.
fn split(file: &[u8]) -> (Value, &[u8]) {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&file[8..8 + len]).unwrap(), &file[8 + len..])
}

fn join(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), header in any::<bool>()) {
        let mut file = bytes.clone();
        if header {
            file.splice(..0, ((bytes.len() / 2) as u64).to_le_bytes());
        }
        let _ = open(&[("model.safetensors", &file)]);
        let _ = open(&[("model.safetensors.index.json", &bytes)]);
        let _ = ModelConfig::from_json("c", &bytes);
        let _ = GenerationConfig::from_json("g", &bytes, 100);
    }

    #[test]
    fn a_file_with_bytes_changed(
        changes in prop::collection::vec((0_usize..4000, any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (config, weights) = fixture();
        let mut weights = weights.clone();
        for (at, byte) in changes {
            weights[at] = byte;
        }
        if let Some(cut) = cut {
            weights.truncate(cut.index(weights.len()));
        }
        open_and_validate(config, &weights);
    }

    /// Replaces numbers, names and types of a valid header, so that parsing succeeds and the later checks are
    /// reached.
    #[test]
    fn a_header_with_values_changed(
        tensor in any::<prop::sample::Index>(),
        field in prop::sample::select(vec!["dtype", "shape", "data_offsets", "entry"]),
        part in 0_usize..3,
        value in extreme(),
        nudge in prop::option::of(-9_i64..9),
    ) {
        let (config, weights) = fixture();
        let (mut header, data) = split(weights);
        let object = header.as_object_mut().unwrap();
        let names: Vec<String> = object.keys().cloned().collect();
        let entry = object.get_mut(tensor.get(&names)).unwrap();
        let target = match (field, entry.get_mut(field)) {
            (_, Some(Value::Array(list))) if part < list.len() => &mut list[part],
            ("entry", _) => entry,
            (_, Some(_)) => &mut entry[field],
            (_, None) => entry,
        };
        *target = match (nudge, target.as_i64()) {
            (Some(nudge), Some(number)) => Value::from(number + nudge),
            _ => value,
        };
        open_and_validate(config, &join(&header, data));
    }

    #[test]
    fn an_index_with_values_changed(
        map in prop::collection::btree_map("[a-c]", "(one|two|\\.\\.|[/\\\\a]|one\\.x)", 0..4),
        value in prop::option::of(extreme()),
    ) {
        let mut index = json!({"weight_map": map});
        if let Some(value) = value {
            index["weight_map"]["a"] = value;
        }
        let index = index.to_string();
        let shard = |name: &str| {
            let entry = json!({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}});
            join(&entry, &[0])
        };
        let files = [
            ("model.safetensors.index.json", index.as_bytes()),
            ("one", &shard("a")),
            ("two", &shard("b")),
        ];
        if let Ok(checkpoint) = open(&files) {
            prop_assert!(checkpoint.tensors().len() <= 2);
        }
    }

    /// The tensor sizes of an accepted configuration can be computed.
    #[test]
    fn a_config_with_values_changed(
        is_moe in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), extreme()), 1..4),
    ) {
        let mut config = if is_moe { moe() } else { dense() };
        let names: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        for (field, value) in changes {
            config[field.get(&names)] = value;
        }
        if let Ok(config) = ModelConfig::from_json("c", &serde_json::to_vec(&config).unwrap()) {
            for (_, shape) in expected_tensors(&config) {
                let elements: usize = shape.iter().product();
                prop_assert!(elements > 0 && u32::try_from(elements).is_ok());
            }
            prop_assert_eq!(config.layers.is_empty(), false);
        }
    }

    #[test]
    fn a_generation_config_with_values_changed(
        fields in prop::collection::btree_map(
            prop::sample::select(vec![
                "bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature",
                "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens",
            ]),
            extreme(),
            0..5,
        ),
    ) {
        let bytes = serde_json::to_vec(&fields).unwrap();
        if let Ok(config) = GenerationConfig::from_json("g", &bytes, 100) {
            prop_assert!(config.temperature.is_none_or(|t| t.is_finite() && t >= 0.0));
            prop_assert!(config.eos_token_ids.iter().all(|&id| id < 100));
        }
    }
}

/// The error of a mutated file does not depend on the source of its bytes.
#[test]
fn the_fixture_itself_is_valid() {
    let (config, weights) = fixture();
    let source = BytesSource::shared("f", Arc::from(&weights[..]));
    let tensors = pollster::block_on(lfm2_wgpu::formats::safetensors::read_header(&source, 0));
    assert_eq!(tensors.unwrap().len(), split(weights).0.as_object().unwrap().len() - 1);
    open_and_validate(config, weights);
}
