//! Valid config.json files, in every spelling.

use lfm2_wgpu::model::{
    ConfigError, FfnKind, ModelConfig, ModelType, OperatorKind, expected_tensors,
};
use serde_json::{Value, json};

pub const MISSING: Option<Value> = None;

pub fn moe() -> Value {
    json!({
        "architectures": ["Lfm2MoeForCausalLM"], "model_type": "lfm2_moe",
        "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96,
        "moe_intermediate_size": 48, "num_hidden_layers": 5, "num_dense_layers": 2,
        "layer_types": ["conv", "conv", "full_attention", "conv", "full_attention"],
        "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_experts": 8, "num_experts_per_tok": 4, "use_expert_bias": true,
        "norm_topk_prob": true, "routed_scaling_factor": 1.0,
        "conv_L_cache": 3, "conv_bias": false, "norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
        "max_position_embeddings": 128000, "tie_word_embeddings": true,
        "bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0,
        "use_cache": true, "initializer_range": 0.02, "dtype": "float32"
    })
}

/// The spelling of the first published LFM2 models.
pub fn dense() -> Value {
    json!({
        "architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2",
        "block_auto_adjust_ff_dim": true, "block_dim": 1024, "block_ff_dim": 6656,
        "block_ffn_dim_multiplier": 1.0, "block_mlp_init_scale": 1.0, "block_multiple_of": 256,
        "block_norm_eps": 1e-5, "block_out_init_scale": 1.0, "block_use_swiglu": true,
        "block_use_xavier_init": true, "bos_token_id": 1, "conv_L_cache": 3, "conv_bias": false,
        "conv_dim": 1024, "conv_dim_out": 1024, "conv_use_xavier_init": true, "eos_token_id": 7,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14], "hidden_size": 1024, "initializer_range": 0.02,
        "max_position_embeddings": 128000, "norm_eps": 1e-5, "num_attention_heads": 16,
        "num_heads": 16, "num_hidden_layers": 16, "num_key_value_heads": 8, "pad_token_id": 0,
        "rope_theta": 1000000.0, "torch_dtype": "bfloat16", "transformers_version": "4.54.0",
        "use_cache": true, "use_pos_enc": true, "vocab_size": 65536
    })
}

pub fn edited(mut base: Value, edits: &[(&str, Option<Value>)]) -> Vec<u8> {
    let object = base.as_object_mut().unwrap();
    for (field, value) in edits {
        match value {
            Some(value) => object.insert((*field).to_owned(), value.clone()),
            None => object.remove(*field),
        };
    }
    serde_json::to_vec(&base).unwrap()
}

pub fn read(bytes: &[u8]) -> Result<ModelConfig, ConfigError> {
    ModelConfig::from_json("dir/config.json", bytes)
}

fn parameters(config: &ModelConfig) -> usize {
    let expected = expected_tensors(config);
    let elements = expected.iter().map(|(_, shape)| shape.iter().product::<usize>());
    elements.sum()
}

#[test]
fn the_mixture_of_experts() {
    let config = read(&edited(moe(), &[])).unwrap();
    assert_eq!(config.model_type, ModelType::Lfm2Moe);
    assert_eq!((config.head_dim, config.q_size(), config.kv_size()), (16, 64, 32));
    assert_eq!(config.rope_theta, 1e6);
    assert_eq!(config.norm_eps, 1e-5);
    assert_eq!(config.eos_token_ids, [7]);
    assert!(config.tie_word_embeddings && !config.conv_bias);
    let layer = |i: usize| (config.layers[i].operator, config.layers[i].ffn);
    assert_eq!(layer(1), (OperatorKind::ShortConv, FfnKind::Dense));
    assert_eq!(layer(2), (OperatorKind::FullAttention, FfnKind::Moe));
    let moe = config.moe.unwrap();
    assert_eq!((moe.intermediate_size, moe.num_experts, moe.top_k), (48, 8, 4));
    assert!(moe.use_expert_bias && moe.norm_topk_prob);
}

#[test]
fn old_spellings() {
    let config = read(&edited(dense(), &[])).unwrap();
    assert_eq!(config.intermediate_size, 4608);
    assert_eq!(config.moe, None);
    let attention: Vec<usize> =
        (0..16).filter(|&i| config.layers[i].operator == OperatorKind::FullAttention).collect();
    assert_eq!(attention, [2, 5, 8, 10, 12, 14]);
    let new = [
        ("rope_theta", MISSING),
        ("rope_parameters", Some(json!({"rope_theta": 1e6, "type": "default"}))),
        ("block_ff_dim", MISSING),
        ("intermediate_size", Some(json!(6656))),
        ("tie_embedding", Some(json!(true))),
        ("num_heads", Some(Value::Null)),
        ("eos_token_id", Some(json!([7]))),
        ("rope_scaling", Some(Value::Null)),
        ("sliding_window", Some(Value::Null)),
        ("hidden_act", Some(json!("silu"))),
    ];
    assert_eq!(read(&edited(dense(), &new)).unwrap(), config);
}

/// Parameter counts of the published models: lfm2.md section 1 and 6 (counted with transformers).
#[test]
fn published_sizes() {
    let model = |hidden: usize, heads: usize, ff: usize| {
        let number = |n: usize| Some(json!(n));
        let edits = [
            ("hidden_size", number(hidden)),
            ("block_dim", number(hidden)),
            ("conv_dim", number(hidden)),
            ("conv_dim_out", number(hidden)),
            ("num_attention_heads", number(heads)),
            ("num_heads", number(heads)),
            ("block_ff_dim", number(ff)),
        ];
        parameters(&read(&edited(dense(), &edits)).unwrap())
    };
    assert_eq!(model(1024, 16, 6656), 354_483_968);
    assert_eq!(model(1536, 24, 10240), 742_489_344);
    assert_eq!(model(2048, 32, 12288), 1_170_340_608);
    let layer_types: Vec<&str> = (0..24)
        .map(|i| if [2, 6, 10, 14, 18, 21].contains(&i) { "full_attention" } else { "conv" })
        .collect();
    let edits = [
        ("vocab_size", Some(json!(65536))),
        ("hidden_size", Some(json!(2048))),
        ("intermediate_size", Some(json!(7168))),
        ("moe_intermediate_size", Some(json!(1792))),
        ("num_hidden_layers", Some(json!(24))),
        ("layer_types", Some(json!(layer_types))),
        ("num_attention_heads", Some(json!(32))),
        ("num_key_value_heads", Some(json!(8))),
        ("num_experts", Some(json!(32))),
    ];
    let config = read(&edited(moe(), &edits)).unwrap();
    assert_eq!(expected_tensors(&config).len(), 2302);
    assert_eq!(parameters(&config), 8_339_929_856 + 704);
}

#[test]
fn a_model_of_dense_layers_only_needs_no_experts() {
    let edits = [
        ("num_dense_layers", Some(json!(5))),
        ("num_experts", MISSING),
        ("moe_intermediate_size", MISSING),
        ("num_experts_per_tok", MISSING),
    ];
    assert_eq!(read(&edited(moe(), &edits)).unwrap().moe, None);
}

/// Lfm2MLP computes it as `int(2 I / 3)`, times the multiplier, rounded up to the multiple.
#[test]
fn the_dense_width() {
    let width =
        |edits: &[(&str, Option<Value>)]| read(&edited(dense(), edits)).unwrap().intermediate_size;
    let multiplier = |x: Value| ("block_ffn_dim_multiplier", Some(x));
    let multiple = |x: usize| ("block_multiple_of", Some(json!(x)));
    let size = |x: usize| ("block_ff_dim", Some(json!(x)));
    assert_eq!(width(&[size(150), multiplier(json!(1.1)), multiple(12)]), 120);
    assert_eq!(width(&[size(10752), ("block_auto_adjust_ff_dim", Some(json!(false)))]), 10752);
    // An explicit null multiplier turns the rounding off, an absent one is 1.
    assert_eq!(width(&[size(150), multiplier(Value::Null)]), 100);
    assert_eq!(width(&[size(150), ("block_ffn_dim_multiplier", MISSING)]), 256);
    assert_eq!(width(&[size(6656), ("block_multiple_of", MISSING)]), 4608);
}
