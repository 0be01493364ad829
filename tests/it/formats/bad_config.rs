//! Invalid config.json files are refused in one line that names the file and the field.

use serde_json::{Value, json};

use super::config::{MISSING, dense, edited, moe, read};
use super::refused::{refused, refused_within};

/// A field, its value, and the words that the error must contain beside the file's name.
type Case = (&'static str, Option<Value>, Vec<&'static str>);

fn wrong_moe() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in [
        "model_type",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "moe_intermediate_size",
        "num_hidden_layers",
        "num_dense_layers",
        "layer_types",
        "num_attention_heads",
        "num_key_value_heads",
        "num_experts",
        "num_experts_per_tok",
        "conv_L_cache",
        "norm_eps",
        "max_position_embeddings",
    ] {
        cases.push((field, MISSING, vec![field, "is missing"]));
        cases.push((field, Some(json!({"a": 1})), vec![field, "got an object"]));
    }
    for field in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "moe_intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "num_experts",
        "num_experts_per_tok",
        "conv_L_cache",
        "max_position_embeddings",
    ] {
        cases.push((field, Some(json!(0)), vec![field, "got 0"]));
        cases.push((field, Some(json!(-4)), vec![field, "got -4"]));
        cases.push((field, Some(json!(64.0)), vec![field, "got 64.0"]));
        cases.push((field, Some(json!("64")), vec![field, "got \"64\""]));
        cases.push((field, Some(json!(4_294_967_296_u64)), vec![field, "4294967296"]));
        cases.push((field, Some(json!(u64::MAX)), vec![field, "18446744073709551615"]));
        cases.push((field, Some(json!(true)), vec![field, "got true"]));
    }
    for field in ["conv_bias", "use_expert_bias", "norm_topk_prob", "tie_word_embeddings"] {
        cases.push((
            field,
            Some(json!("false")),
            vec![field, "got \"false\"", "need true or false"],
        ));
        cases.push((field, Some(json!(1)), vec![field, "got 1"]));
    }
    cases.extend(wrong_values());
    cases
}

#[rustfmt::skip]
fn wrong_values() -> Vec<Case> {
    vec![
        ("model_type", Some(json!("llama")), vec!["got \"llama\"", "lfm2_moe"]),
        ("model_type", Some(json!("lfm3")), vec!["model_type", "LFM3", "not supported"]),
        ("model_type", Some(json!("lfm2_vl")), vec!["model_type", "vision"]),
        ("model_type", Some(json!("lfm2")), vec!["architectures", "Lfm2MoeForCausalLM"]),
        ("model_type", Some(json!("x\n".repeat(9000))), vec!["model_type"]),
        ("architectures", Some(json!(["Lfm2BidirectionalModel"])), vec!["architectures", "Lfm2BidirectionalModel"]),
        ("architectures", Some(json!("Lfm2MoeForCausalLM")), vec!["architectures", "list of strings"]),
        ("vocab_size", Some(json!(4_194_305)), vec!["vocab_size", "need 1 to 4194304"]),
        ("hidden_size", Some(json!(66)), vec!["num_attention_heads", "divisor of hidden_size 66"]),
        ("head_dim", Some(json!(0)), vec!["head_dim", "got 0"]),
        ("head_dim", Some(json!(6)), vec!["head_dim", "multiple of 4"]),
        ("head_dim", Some(json!(17)), vec!["head_dim", "multiple of 4"]),
        ("head_dim", Some(json!(512)), vec!["head_dim", "got 512, need 1 to 256"]),
        ("head_dim", Some(json!("16")), vec!["head_dim", "got \"16\""]),
        ("hidden_size", Some(json!(65_540)), vec!["hidden_size", "got 65540"]),
        ("moe_intermediate_size", Some(json!(65_540)), vec!["moe_intermediate_size"]),
        ("num_attention_heads", Some(json!(3)), vec!["num_attention_heads", "got 3"]),
        ("num_key_value_heads", Some(json!(3)), vec!["num_key_value_heads", "got 3", "divisor"]),
        ("num_key_value_heads", Some(json!(8)), vec!["num_key_value_heads", "got 8, need 1 to 4"]),
        ("num_experts", Some(json!(2)), vec!["num_experts_per_tok", "got 4, need 1 to 2"]),
        ("num_experts", Some(json!(1025)), vec!["num_experts", "got 1025"]),
        ("num_experts_per_tok", Some(json!(9)), vec!["num_experts_per_tok", "got 9"]),
        ("num_dense_layers", Some(json!(6)), vec!["num_dense_layers", "got 6"]),
        ("num_dense_layers", Some(json!(-1)), vec!["num_dense_layers", "got -1"]),
        ("num_hidden_layers", Some(json!(6)), vec!["layer_types", "got 5 layers", "6"]),
        ("num_hidden_layers", Some(json!(1025)), vec!["num_hidden_layers", "1025"]),
        ("layer_types", Some(json!([])), vec!["layer_types", "got 0 layers"]),
        ("layer_types", Some(json!("conv")), vec!["layer_types", "list of strings"]),
        ("layer_types", Some(json!([0, 1, 2, 3, 4])), vec!["layer_types", "list of strings"]),
        ("layer_types", Some(json!(["conv", "conv", "sliding_attention", "conv", "conv"])), vec!["layer_types", "layer 2", "sliding_attention"]),
        ("full_attn_idxs", Some(json!([2, 3])), vec!["full_attn_idxs", "other layers"]),
        ("full_attn_idxs", Some(json!([2, 5])), vec!["full_attn_idxs", "got layer 5"]),
        ("full_attn_idxs", Some(json!([2, 2])), vec!["full_attn_idxs", "layer 2", "twice"]),
        ("full_attn_idxs", Some(json!([-1])), vec!["full_attn_idxs", "whole numbers"]),
        ("conv_L_cache", Some(json!(17)), vec!["conv_L_cache", "got 17, need 1 to 16"]),
        ("norm_eps", Some(json!(0)), vec!["norm_eps", "need a number above 0"]),
        ("norm_eps", Some(json!(-1e-5)), vec!["norm_eps", "got -1e-5"]),
        ("norm_eps", Some(json!(1e-60)), vec!["norm_eps", "above 0"]),
        ("norm_eps", Some(json!(1.0)), vec!["norm_eps", "below 1"]),
        ("norm_eps", Some(json!(1e300)), vec!["norm_eps", "below 1"]),
        ("norm_eps", Some(json!("1e-5")), vec!["norm_eps", "need a number"]),
        ("block_norm_eps", Some(json!(1e-6)), vec!["block_norm_eps", "norm_eps", "contradict"]),
        ("rope_parameters", MISSING, vec!["rope_theta", "is missing"]),
        ("rope_parameters", Some(json!({})), vec!["rope_theta", "is missing"]),
        ("rope_parameters", Some(json!([1])), vec!["rope_parameters", "need an object"]),
        ("rope_parameters", Some(json!({"rope_theta": 0})), vec!["rope_theta", "got 0"]),
        ("rope_parameters", Some(json!({"rope_theta": -1e6})), vec!["rope_theta", "got -1000000"]),
        ("rope_parameters", Some(json!({"rope_theta": 1e300})), vec!["rope_theta", "1e12"]),
        ("rope_parameters", Some(json!({"rope_theta": "1e6"})), vec!["rope_parameters.rope_theta", "need a number"]),
        ("rope_parameters", Some(json!({"rope_theta": 1e6, "rope_type": "yarn"})), vec!["rope_parameters.rope_type", "yarn"]),
        ("rope_parameters", Some(json!({"rope_theta": 1e6, "factor": 2.0})), vec!["rope_parameters.factor"]),
        ("rope_parameters", Some(json!({"rope_theta": 1e6, "partial_rotary_factor": 0.5})), vec!["partial_rotary_factor"]),
        ("rope_parameters", Some(json!({"full_attention": {"rope_theta": 1e6}})), vec!["rope_parameters.full_attention"]),
        ("rope_theta", Some(json!(5e6)), vec!["rope_theta", "contradict"]),
        ("theta", Some(json!(5e6)), vec!["theta", "contradict"]),
        ("rope_scaling", Some(json!({"type": "linear", "factor": 2})), vec!["rope_scaling", "not supported"]),
        ("routed_scaling_factor", Some(json!(0)), vec!["routed_scaling_factor", "got 0"]),
        ("routed_scaling_factor", Some(json!(-1)), vec!["routed_scaling_factor", "got -1"]),
        ("routed_scaling_factor", Some(json!(1e300)), vec!["routed_scaling_factor"]),
        ("tie_embedding", Some(json!(false)), vec!["tie_embedding", "tie_word_embeddings", "contradict"]),
        ("bos_token_id", Some(json!(97)), vec!["bos_token_id", "got 97", "vocab_size 97"]),
        ("eos_token_id", Some(json!(2_147_483_648_u64)), vec!["eos_token_id", "2147483648"]),
        ("eos_token_id", Some(json!([7, 97])), vec!["eos_token_id", "below vocab_size 97"]),
        ("eos_token_id", Some(json!([])), vec!["eos_token_id", "list of 1 to 64"]),
        ("eos_token_id", Some(json!([[7]])), vec!["eos_token_id"]),
        ("eos_token_id", Some(json!("7")), vec!["eos_token_id", "got \"7\""]),
        ("pad_token_id", Some(json!(-1)), vec!["pad_token_id", "got -1"]),
        ("block_dim", Some(json!(128)), vec!["block_dim", "hidden_size", "contradict"]),
        ("conv_dim", Some(json!(128)), vec!["conv_dim", "contradict"]),
        ("num_heads", Some(json!(8)), vec!["num_heads", "contradict"]),
        ("block_ff_dim", Some(json!(100)), vec!["block_ff_dim", "intermediate_size", "contradict"]),
        ("sliding_window", Some(json!(256)), vec!["sliding_window", "not supported"]),
        ("attention_bias", Some(json!(true)), vec!["attention_bias", "not supported"]),
        ("hidden_act", Some(json!("gelu")), vec!["hidden_act", "got \"gelu\""]),
        ("partial_rotary_factor", Some(json!(0.5)), vec!["partial_rotary_factor", "need 1"]),
        ("quantization_config", Some(json!({"bits": 4})), vec!["quantization_config", "quantised"]),
        ("quantization", Some(json!({"group_size": 64, "bits": 4})), vec!["quantization", "quantised"]),
        ("final_logit_softcapping", Some(json!(30.0)), vec!["final_logit_softcapping"]),
        ("use_pos_enc", Some(json!(false)), vec!["use_pos_enc", "need true"]),
        ("is_causal", Some(json!(false)), vec!["is_causal"]),
        ("n_shared_experts", Some(json!(1)), vec!["n_shared_experts"]),
        ("vision_config", Some(json!({"hidden_size": 3})), vec!["vision_config"]),
    ]
}

#[test]
fn wrong_configs_of_a_mixture_of_experts() {
    for (field, value, words) in wrong_moe() {
        let case = format!("{field} = {value:?}");
        let case: String = case.chars().take(200).collect();
        let bytes = edited(moe(), &[(field, value)]);
        let words = [words, vec!["dir/config.json: "]].concat();
        refused(&case, &words, || read(&bytes));
    }
}

#[test]
#[rustfmt::skip]
fn wrong_configs_of_a_dense_model() {
    let cases: [(&str, Option<Value>, &[&str]); 13] = [
        (
            "block_ff_dim",
            MISSING,
            &["intermediate_size", "is missing"],
        ),
        (
            "block_ff_dim",
            Some(json!(0)),
            &["intermediate_size", "got 0"],
        ),
        (
            "block_ff_dim",
            Some(json!(u64::MAX)),
            &["intermediate_size", "18446744073709551615"],
        ),
        (
            "intermediate_size",
            Some(json!(4608)),
            &["block_ff_dim", "contradict"],
        ),
        (
            "block_auto_adjust_ff_dim",
            Some(json!("yes")),
            &["block_auto_adjust_ff_dim"],
        ),
        (
            "block_ffn_dim_multiplier",
            Some(json!(0)),
            &["block_ffn_dim_multiplier", "got 0"],
        ),
        (
            "block_ffn_dim_multiplier",
            Some(json!(-1.0)),
            &["block_ffn_dim_multiplier"],
        ),
        (
            "block_ffn_dim_multiplier",
            Some(json!(1e300)),
            &["block_ffn_dim_multiplier"],
        ),
        (
            "block_multiple_of",
            Some(json!(0)),
            &["block_multiple_of", "got 0"],
        ),
        (
            "block_multiple_of",
            Some(json!(1_u64 << 40)),
            &["block_multiple_of"],
        ),
        (
            "block_use_swiglu",
            Some(json!(false)),
            &["block_use_swiglu", "need true"],
        ),
        ("full_attn_idxs", MISSING, &["layer_types", "is missing"]),
        (
            "full_attn_idxs",
            Some(json!([16])),
            &["full_attn_idxs", "got layer 16"],
        ),
    ];
    for (field, value, words) in cases {
        let case = format!("{field} = {value:?}");
        let bytes = edited(dense(), &[(field, value)]);
        refused(&case, &[words, &["dir/config.json: "]].concat(), || {
            read(&bytes)
        });
    }
}

#[test]
fn sizes_that_no_matrix_can_have() {
    let set = |fields: &[(&'static str, usize)]| {
        let edits: Vec<_> = fields.iter().map(|(f, n)| (*f, Some(json!(n)))).collect();
        edited(moe(), &edits)
    };
    let wide = ("hidden_size", 65_536);
    let heads = ("head_dim", 16);
    let cases = [
        (vec![wide, heads, ("vocab_size", 65_536)], "vocab_size"),
        (vec![wide, heads], "hidden_size"),
        (vec![("hidden_size", 32_768), heads, ("intermediate_size", 131_072)], "intermediate_size"),
        (
            vec![
                ("hidden_size", 16_384),
                heads,
                ("num_experts", 1024),
                ("moe_intermediate_size", 65_536),
            ],
            "moe_intermediate_size",
        ),
    ];
    for (fields, word) in cases {
        let bytes = set(&fields);
        refused(word, &["dir/config.json", word, "4294967295"], || read(&bytes));
    }
    let layer_types = vec!["conv"; 1024];
    let edits = [
        ("num_hidden_layers", Some(json!(1024))),
        ("layer_types", Some(json!(layer_types))),
        ("num_experts", Some(json!(1024))),
    ];
    let bytes = edited(moe(), &edits);
    refused("experts x layers", &["num_experts", "1048576"], || read(&bytes));
}

#[test]
#[rustfmt::skip]
fn files_that_are_no_configuration() {
    let whole = edited(moe(), &[("norm_eps", Some(json!("@")))]);
    let text = String::from_utf8(whole.clone()).unwrap();
    let with_eps = |eps: &str| text.replace("\"@\"", eps).into_bytes();
    let not_utf8 = [&b"{\"architectures\": \"\xff\xfe\","[..], &whole[1..]].concat();
    let nested = format!("{{\"layer_types\": {}", "[".repeat(100_000));
    let many = format!("{{\"layer_types\": [{}1]}}", "1,".repeat(200_000));
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".to_vec();
    let cases: [(&str, Vec<u8>, &[&str]); 18] = [
        ("empty", vec![], &["not valid JSON"]),
        ("zeros", vec![0; 100], &["not valid JSON"]),
        ("a list", b"[1, 2]".to_vec(), &["expected an object"]),
        ("a string", b"\"lfm2\"".to_vec(), &["expected an object"]),
        ("null", b"null".to_vec(), &["expected an object"]),
        ("an empty object", b"{}".to_vec(), &["model_type", "is missing"]),
        ("cut short", whole[..whole.len() / 2].to_vec(), &["not valid JSON", "EOF"]),
        ("trailing text", [&with_eps("1e-5")[..], b"x"].concat(), &["trailing characters"]),
        ("NaN", with_eps("NaN"), &["norm_eps"]),
        ("Infinity", with_eps("Infinity"), &["norm_eps"]),
        ("-Infinity", with_eps("-Infinity"), &["norm_eps"]),
        ("1e999", with_eps("1e999"), &["norm_eps", "out of range"]),
        ("not UTF-8", not_utf8, &["architectures"]),
        ("two byte order marks", [b"\xef\xbb\xbf\xef\xbb\xbf", &with_eps("1e-5")[..]].concat(), &["not valid JSON"]),
        ("a field twice", text.replacen('{', "{\"hidden_size\": 32,", 1).into_bytes(), &["hidden_size", "twice"]),
        ("nested 100,000 deep", nested.into_bytes(), &["layer_types", "recursion limit"]),
        ("a Git LFS pointer", lfs, &["not valid JSON"]),
        ("too long", vec![b' '; 600 << 10], &["614400 bytes"]),
    ];
    for (case, bytes, words) in cases {
        refused(case, &[words, &["dir/config.json: "]].concat(), || read(&bytes));
    }
    // The largest data structure that a file of maximum length can produce.
    refused_within("200,000 numbers", 48 << 20, &["model_type"], || read(many.as_bytes()));
}
