//! Files that are refused, and the errors that name the reason.

use super::*;

const IN_PROJ: &str = "layers.0.conv.in_proj";
const A: &str = "base_model.model.model.layers.0.conv.in_proj.lora_A.weight";
const B: &str = "base_model.model.model.layers.0.conv.in_proj.lora_B.weight";
const STACK: &str = "layers.1.feed_forward.experts";

fn one() -> Peft {
    Peft::new().pair(IN_PROJ, 3 * HIDDEN, HIDDEN, 2)
}

/// Checks that the message has all parts and is one line.
fn refused(peft: &Peft, parts: &[&str]) -> LoraError {
    let error = peft.read(&moe()).err().unwrap_or_else(|| panic!("accepted: {parts:?}"));
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(!text.contains('\n'), "{text:?}");
    error
}

#[test]
fn options_of_peft_that_are_not_implemented() {
    let json_file = "dir/adapter_config.json: ";
    for (field, value, name) in [
        ("peft_type", json!("IA3"), "\"IA3\""),
        ("peft_type", json!("PROMPT_TUNING"), "\"PROMPT_TUNING\""),
        ("use_dora", json!(true), "DoRA"),
        ("use_qalora", json!(true), "QA-LoRA"),
        ("lora_bias", json!(true), "bias"),
        ("bias", json!("all"), "biases"),
        ("bias", json!("lora_only"), "biases"),
        ("fan_in_fan_out", json!(true), "need false"),
        ("modules_to_save", json!(["lm_head"]), "as a whole"),
        ("trainable_token_indices", json!([1, 2]), "embeddings"),
        ("layer_replication", json!([[0, 2], [1, 3]]), "replication"),
        ("alora_invocation_tokens", json!([5]), "aLoRA"),
        ("velora_config", json!({"scale": 1}), "VeLoRA"),
        ("monteclora_config", json!({"num_samples": 8}), "MonteCLoRA"),
        ("use_bdlora", json!({"nblocks": 2}), "block-diagonal"),
        ("arrow_config", json!({"top_k": 2}), "Arrow"),
        ("kasa_config", json!({"beta": 1}), "KaSA"),
        ("init_lora_weights", json!("pissa_niter_4"), "model's own weights"),
        ("init_lora_weights", json!("olora"), "model's own weights"),
        ("init_lora_weights", json!("loftq"), "model's own weights"),
    ] {
        let error = refused(&one().set(field, value), &[json_file, field, name, "not supported"]);
        assert!(matches!(error, LoraError::Unsupported { .. }), "{error:?}");
    }
}

#[test]
fn invalid_fields_of_the_configuration() {
    for (field, value, problem) in [
        ("peft_type", json!(null), "is missing"),
        ("peft_type", json!(7), "got 7, need a string"),
        ("r", json!(null), "r: is missing"),
        ("r", json!(0), "got 0, need a rank of 1 to 4096"),
        ("r", json!(100_000), "got 100000, need a rank"),
        ("r", json!(2.5), "got 2.5"),
        ("lora_alpha", json!(null), "is missing"),
        ("lora_alpha", json!(0), "got 0, need a number other than 0"),
        ("lora_alpha", json!("16"), "got \"16\""),
        ("lora_alpha", json!(1e300), "a number that f32 can hold"),
        ("use_rslora", json!("yes"), "need true or false"),
        ("rank_pattern", json!([1]), "need an object"),
        ("rank_pattern", json!({"in_proj": 0}), "got 0, need a rank"),
        ("rank_pattern", json!({"in_proj(": 2}), "not a supported regular expression"),
        ("alpha_pattern", json!({"in_proj": 0.0}), "need a number other than 0"),
        ("alpha_pattern", json!({"in_proj": null}), "got null"),
        ("target_modules", json!([1]), "need a list of strings"),
        ("target_parameters", json!("a"), "need a list of strings"),
        ("layers_to_transform", json!([-1]), "need a list of whole numbers"),
    ] {
        let error =
            refused(&one().set(field, value), &["dir/adapter_config.json: ", field, problem]);
        assert!(matches!(error, LoraError::Config(_)), "{error:?}");
    }
    let files = table(&[
        ("adapter_config.json", b"{\"r\": NaN}".to_vec()),
        ("adapter_model.safetensors", one().weights()),
    ]);
    let error = block_on(LoraAdapter::read(&files, &moe())).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json") && error.contains("not valid JSON"), "{error}");
}

#[test]
fn tensors_that_are_no_factors_of_the_model() {
    let extra = |name: &str| one().tensor(name, &[2, 2]);
    let module = "base_model.model.model.layers.0.conv.in_proj";
    for (name, problem) in [
        (format!("{module}.lora_magnitude_vector"), "DoRA"),
        (format!("{module}.lora_B.bias"), "lora_bias"),
        ("base_model.model.model.embed_tokens.lora_embedding_A".into(), "embedding"),
        ("base_model.model.model.embed_tokens.base_layer.weight".into(), "whole tensor"),
        ("base_model.model.lm_head.modules_to_save.weight".into(), "whole tensor"),
        ("base_model.model.lm_head.weight".into(), "whole tensor"),
        (
            "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta".into(),
            "trainable_token",
        ),
        (format!("{module}.ia3_l"), "not a factor"),
        (format!("{module}.lora_A.a.b.weight"), "not a factor"),
        (format!("{module}.lora_velora_embed"), "not a factor"),
        ("weird\nname".into(), "not a factor"),
    ] {
        let error = refused(&extra(&name), &["adapter_model.safetensors: tensor \"", problem]);
        let LoraError::Tensor { tensor, .. } = error else { panic!("{error:?}") };
        assert_eq!(tensor, name);
    }
    for (module, problem) in [
        ("layers.3.conv.in_proj", "does not have (it has 3)"),
        ("layers.00.conv.in_proj", "does not have"),
        ("layers.1.conv.in_proj", "layer 1 of this model has no such matrix"),
        ("layers.0.self_attn.q_proj", "layer 0 of this model has no such matrix"),
        ("layers.1.feed_forward.w1", "layer 1 of this model has no such matrix"),
        ("layers.0.feed_forward.experts", "layer 0 of this model has no experts"),
        ("layers.0.feed_forward.gate", "no such matrix"),
        ("layers.1.feed_forward.experts.4.w1", "no such matrix"),
        ("layers.1.feed_forward.experts.0.w4", "another model"),
        ("layers.1.feed_forward.experts.base_layer.base_layer", "another model"),
        ("layers.1.mlp.gate_proj", "another model"),
        ("layers.0.conv.conv", "taps"),
        ("layers.0.operator_norm", "norms cannot be adapted"),
        ("encoder.layers.0.conv.in_proj", "another model"),
        ("embed_tokens", "embed_tokens are not supported"),
    ] {
        let error = refused(&one().pair(module, 8, 8, 2), &[module, problem]);
        assert!(matches!(error, LoraError::Tensor { .. }), "{error:?}");
    }
    let head = one().tensor("base_model.model.lm_head.lora_A.weight", &[2, HIDDEN]);
    let head = head.tensor("base_model.model.lm_head.lora_B.weight", &[32, 2]);
    refused(&head, &["lm_head are not supported", "target_modules"]);
}

#[test]
fn missing_and_double_factors() {
    for (gone, other) in [(A, B), (B, A)] {
        let mut peft = one();
        peft.tensors.remove(gone);
        let error = refused(&peft, &["adapter_model.safetensors", gone, other, "incomplete"]);
        assert!(matches!(error, LoraError::MissingFactor { .. }), "{error:?}");
    }
    let twice = one().tensor(&A.replace("lora_A.", "lora_A.default."), &[2, HIDDEN]);
    refused(&twice, &["is the same factor as", A]);
    let twice = one()
        .tensor("layers.0.conv.in_proj.lora_A.weight", &[2, HIDDEN])
        .tensor("layers.0.conv.in_proj.lora_B.weight", &[3 * HIDDEN, 2]);
    refused(&twice, &["adapts model.layers.0.conv.in_proj.weight a second time"]);
    let both = Peft::new().stack(STACK, true, 2).stack(&format!("{STACK}.base_layer"), true, 2);
    refused(&both, &["a second time"]);
    let mixed = Peft::new().stack(STACK, false, 2).pair(&format!("{STACK}.1.w2"), HIDDEN, WIDTH, 2);
    refused(&mixed, &["adapts model.layers.1.feed_forward.experts.1.w2.weight a second time"]);
    refused(&Peft::new(), &["adapter_model.safetensors: has no tensors"]);
}

#[test]
fn shapes_of_another_model() {
    for (name, shape, need) in [
        (A, &[2, 2 * HIDDEN][..], "need [rank, 16]"),
        (A, &[2], "need [rank, 16]"),
        (A, &[2, HIDDEN, 1], "need [rank, 16]"),
        (A, &[], "need [rank, 16]"),
        (B, &[HIDDEN, 2], "need [48, rank]"),
        (B, &[2, 3 * HIDDEN], "need [48, rank]"),
    ] {
        let error =
            refused(&one().tensor(name, shape), &[name, &format!("has shape {shape:?}"), need]);
        assert!(matches!(error, LoraError::Shape { .. }), "{error:?}");
    }
    let (a, b) = (
        format!("base_model.model.model.{STACK}.lora_A.weight"),
        format!("base_model.model.model.{STACK}.lora_B.weight"),
    );
    let stack = Peft::new().stack(STACK, true, 2);
    for (name, shape, need) in [
        (&a, [8, 20], "need [rank * 4, 16] for gate_up_proj or [rank * 4, 12] for down_proj"),
        (&a, [6, HIDDEN], "need [rank * 4, 16]"),
        (&b, [2 * WIDTH, 6], "need [24, rank * 4]"),
        (&b, [WIDTH, 8], "need [24, rank * 4] for gate_up_proj"),
    ] {
        let peft = stack.clone().tensor(name, &shape);
        refused(&peft, &[name, &format!("has shape {shape:?}"), need]);
    }
}

#[test]
fn ranks() {
    let ranks = |a: usize, b: usize| one().tensor(A, &[a, HIDDEN]).tensor(B, &[3 * HIDDEN, b]);
    for (peft, parts) in [
        (ranks(0, 0), [A, "has rank 0, need 1 to 4096"]),
        (ranks(4097, 4097), [A, "has rank 4097, need 1 to 4096"]),
        (ranks(2, 3), [B, "has rank 3, but its other factor has rank 2"]),
        (ranks(3, 3), [A, "has rank 3, dir/adapter_config.json says 2"]),
        (one().set("rank_pattern", json!({"in_proj": 3})), [A, "adapter_config.json says 3"]),
        (
            Peft::new().stack(STACK, true, 2).set("rank_pattern", json!({"gate_up_proj": 5})),
            [STACK, "has rank 2, dir/adapter_config.json says 5"],
        ),
    ] {
        let error = refused(&peft, &parts);
        assert!(matches!(error, LoraError::Rank { .. }), "{error:?}");
    }
    // More than the matrix's own rank is allowed.
    ranks(40, 40).set("r", json!(40)).ok(&moe());
}

#[test]
fn values_that_are_not_finite() {
    for (name, index, value) in
        [(A, 5, f32::NAN), (B, 0, f32::INFINITY), (B, 95, f32::NEG_INFINITY)]
    {
        let mut peft = one();
        peft.tensors.get_mut(name).unwrap().1[index] = value;
        let error = refused(&peft, &[name, &format!("element {index} is {value}")]);
        assert!(matches!(error, LoraError::NotFinite { .. }), "{error:?}");
    }
    let mut peft = one();
    peft.dtype = Dtype::F64;
    refused(&peft, &[A, "type F64, need F32, F16 or BF16"]);
}

#[test]
fn targets_without_a_tensor() {
    for (field, value, parts) in [
        (
            "target_modules",
            json!(["in_proj", "q_proj"]),
            ["\"q_proj\"", "self_attn.q_proj is missing"],
        ),
        ("target_modules", json!(["in_proj", "gate_proj"]), ["\"gate_proj\"", "no such module"]),
        // The end of a name counts after a dot only.
        ("target_modules", json!(["proj"]), ["\"proj\"", "no such module"]),
        ("target_modules", json!(r".*\.q_proj"), ["q_proj", "matches no module"]),
        (
            "target_parameters",
            json!(["experts.down_proj"]),
            ["experts.down_proj", "no such parameter"],
        ),
    ] {
        let parts =
            ["adapter_config.json: ", field, parts[0], parts[1], "adapter_model.safetensors"];
        let error = refused(&one().set(field, value), &parts);
        assert!(matches!(error, LoraError::Target { .. }), "{error:?}");
    }
    let only_one = Peft::new().stack(STACK, true, 2);
    let both = only_one.set("target_parameters", json!(["gate_up_proj", "down_proj"]));
    refused(&both, &["target_parameters", "\"down_proj\""]);
    let limited = one()
        .set("target_modules", json!(["in_proj", "q_proj"]))
        .set("layers_to_transform", json!([0, 1]));
    refused(&limited, &["\"q_proj\"", "model.layers.1.self_attn.q_proj is missing"]);
}
