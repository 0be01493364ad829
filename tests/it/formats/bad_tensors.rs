//! Valid safetensors files that do not match config.json.

use lfm2_wgpu::formats::FormatError;
use lfm2_wgpu::model::{ResolvedTensors, TensorId, expected_tensors, validate};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::bad_safetensors::open;
use super::config::{edited, moe, read};
use super::refused::refused;

struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    fill: u8,
}

/// The tensors of `moe()` with one edit of the configuration.
fn tensors(field: &str, value: serde_json::Value) -> (Vec<u8>, Vec<Tensor>) {
    let config = edited(moe(), &[(field, Some(value))]);
    let expected = expected_tensors(&read(&config).unwrap());
    let tensors = expected
        .into_iter()
        .map(|(id, shape)| Tensor { name: id.hub_name(), dtype: Dtype::BF16, shape, fill: 0 })
        .collect();
    (config, tensors)
}

fn resolve(config: &[u8], tensors: &[Tensor]) -> Result<ResolvedTensors, FormatError> {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|t| vec![t.fill; t.shape.iter().product::<usize>() * t.dtype.bitsize() / 8])
        .collect();
    let views = tensors.iter().zip(&data).map(|(t, data)| {
        let view = TensorView::new(t.dtype, t.shape.clone(), data).unwrap();
        (t.name.as_str(), view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    let checkpoint = open(&[("model.safetensors", &bytes)])?;
    pollster::block_on(validate(&read(config).unwrap(), &checkpoint))
}

type Edit = fn(&mut Vec<Tensor>);

fn of<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    tensors.iter_mut().find(|t| t.name.ends_with(name)).unwrap()
}

#[test]
#[rustfmt::skip]
fn wrong_tensors() {
    let cases: Vec<(&str, Edit, &[&str])> = vec![
        ("none", |t| t.clear(), &["model.embed_tokens.weight", "is missing", "(117 of 117 are)"]),
        ("no embedding", |t| t.retain(|t| !t.name.contains("embed_tokens")), &["model.embed_tokens.weight", "(1 of 117 are)"]),
        ("no final norm", |t| t.retain(|t| !t.name.contains("embedding_norm")), &["model.embedding_norm.weight", "(1 of"]),
        ("no taps", |t| t.retain(|t| !t.name.contains("conv.conv")), &["model.layers.0.conv.conv.weight", "(3 of"]),
        ("no expert bias", |t| t.retain(|t| !t.name.contains("expert_bias")), &["model.layers.2.feed_forward.expert_bias", "(3 of"]),
        ("no router", |t| t.retain(|t| !t.name.contains("3.feed_forward.gate.")), &["model.layers.3.feed_forward.gate.weight"]),
        ("one expert missing", |t| t.retain(|t| !t.name.contains("4.feed_forward.experts.7.w2")), &["model.layers.4.feed_forward.experts.7.w2.weight", "(1 of"]),
        ("another prefix", |t| t.iter_mut().for_each(|t| t.name = format!("x.{}", t.name)), &["model.embed_tokens.weight"]),
        ("a layer too few", |t| t.retain(|t| !t.name.contains("layers.4.")), &["model.layers.4.operator_norm.weight"]),
        ("transposed", |t| of(t, "0.w1.weight").shape.reverse(), &["0.w1.weight", "[64, 48]", "[48, 64]"]),
        ("a longer embedding", |t| of(t, "embed_tokens.weight").shape[0] = 98, &["embed_tokens", "[98, 64]", "[97, 64]"]),
        ("a flat matrix", |t| of(t, "q_proj.weight").shape = vec![4096], &["q_proj", "[4096]", "[64, 64]"]),
        ("another tap", |t| of(t, "conv.conv.weight").shape[2] = 4, &["conv.conv", "[64, 1, 4]"]),
        ("other taps", |t| of(t, "conv.conv.weight").shape = vec![1, 64, 3], &["conv.conv", "[1, 64, 3]"]),
        ("another head", |t| of(t, "k_layernorm.weight").shape[0] = 32, &["k_layernorm", "[32]", "[16]"]),
        ("more experts", |t| of(t, "gate.weight").shape[0] = 9, &["gate.weight", "[9, 64]", "[8, 64]"]),
        ("an empty tensor", |t| of(t, "w3.weight").shape = vec![0, 64], &["w3.weight", "[0, 64]"]),
        ("a scalar", |t| of(t, "ffn_norm.weight").shape = vec![], &["ffn_norm", "shape []"]),
        ("I32", |t| of(t, "w2.weight").dtype = Dtype::I32, &["w2.weight", "is I32", "need F32, F16, BF16"]),
        ("F64", |t| of(t, "v_proj.weight").dtype = Dtype::F64, &["v_proj", "is F64"]),
        ("F8", |t| of(t, "in_proj.weight").dtype = Dtype::F8_E4M3, &["in_proj", "is F8_E4M3"]),
        ("an integer bias", |t| of(t, "expert_bias").dtype = Dtype::I64, &["expert_bias", "is I64"]),
        ("a head of its own", |t| t.push(Tensor { name: "lm_head.weight".into(), dtype: Dtype::BF16, shape: vec![97, 64], fill: 1 }), &["lm_head.weight", "differs from the embedding", "tie_word_embeddings"]),
        ("a head of another type", |t| t.push(Tensor { name: "lm_head.weight".into(), dtype: Dtype::F32, shape: vec![97, 64], fill: 0 }), &["lm_head.weight", "differs"]),
        ("a head of another shape", |t| t.push(Tensor { name: "lm_head.weight".into(), dtype: Dtype::BF16, shape: vec![98, 64], fill: 0 }), &["lm_head.weight", "[98, 64]"]),
    ];
    for (case, edit, words) in cases {
        let (config, mut tensors) = tensors("use_cache", json!(true));
        edit(&mut tensors);
        refused(case, &[words, &["dir/model.safetensors: tensor \""]].concat(), || resolve(&config, &tensors));
    }
}

#[test]
fn a_config_that_calls_for_more() {
    let (_, tensors) = tensors("use_cache", json!(true));
    for (field, value, words) in [
        ("conv_bias", json!(true), "model.layers.0.conv.in_proj.bias"),
        ("tie_word_embeddings", json!(false), "lm_head.weight"),
        ("head_dim", json!(32), "q_proj.weight"),
        (
            "layer_types",
            json!(["conv", "conv", "conv", "full_attention", "full_attention"]),
            "model.layers.2.conv.in_proj.weight",
        ),
        ("intermediate_size", json!(100), "feed_forward.w1.weight"),
        ("num_experts", json!(9), "feed_forward.gate.weight"),
        ("num_dense_layers", json!(1), "layers.1.feed_forward.gate.weight"),
    ] {
        let config = edited(moe(), &[(field, Some(value))]);
        refused(field, &[words, "config.json"], || resolve(&config, &tensors));
    }
}

#[test]
fn a_fused_tensor_of_other_experts() {
    let (config, mut tensors) = tensors("use_cache", json!(true));
    tensors.retain(|t| !t.name.contains("experts"));
    for i in 2..5 {
        for (name, shape) in [("gate_up_proj", [9, 96, 64]), ("down_proj", [9, 64, 48])] {
            tensors.push(Tensor {
                name: format!("model.layers.{i}.feed_forward.experts.{name}"),
                dtype: Dtype::BF16,
                shape: shape.to_vec(),
                fill: 0,
            });
        }
    }
    refused("9 experts", &["gate_up_proj", "[9, 96, 64]", "[8, 96, 64]"], || {
        resolve(&config, &tensors)
    });
    for tensor in &mut tensors {
        if tensor.name.contains("experts") {
            tensor.shape[0] = 8;
        }
    }
    assert!(resolve(&config, &tensors).is_ok());
}

/// Variants of other tools with the same meaning are accepted.
#[test]
fn other_layouts() {
    let resolved = |edit: Edit| {
        let (config, mut tensors) = tensors("use_cache", json!(true));
        edit(&mut tensors);
        resolve(&config, &tensors).unwrap()
    };
    let plain = resolved(|_| ());
    assert_eq!(plain.size().total_parameters, 340_864);
    assert_eq!(plain.size().active_parameters, 230_272);
    assert_eq!(plain.size().weight_bytes, 2 * (340_864 + 3 * 8));
    assert_eq!(plain.get(TensorId::LmHead), None);
    let bare = resolved(|tensors| {
        for tensor in tensors {
            tensor.name = tensor.name.replacen("model.", "", 1);
        }
    });
    assert_eq!(bare.size(), plain.size());
    resolved(|tensors| of(tensors, "0.conv.conv.weight").shape = vec![64, 3]);
    resolved(|tensors| of(tensors, "embed_tokens.weight").name = "lm_head.weight".into());
    // A tied head that is stored too, with the same content; tensors that nothing uses.
    let extra = resolved(|tensors| {
        for name in ["lm_head.weight", "rotary.inv_freq"] {
            tensors.push(Tensor {
                name: name.into(),
                dtype: Dtype::BF16,
                shape: vec![97, 64],
                fill: 0,
            });
        }
    });
    assert_eq!(extra.size(), plain.size());
}
