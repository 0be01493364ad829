//! Every layout of PEFT's files.

use super::*;

/// All linear modules of the model with experts, by module.
fn linear() -> Peft {
    let mut peft = Peft::new();
    for layer in [0, 2] {
        peft = peft.pair(&format!("layers.{layer}.conv.in_proj"), 3 * HIDDEN, HIDDEN, 2);
        peft = peft.pair(&format!("layers.{layer}.conv.out_proj"), HIDDEN, HIDDEN, 2);
    }
    for (name, rows) in [("q_proj", 16), ("k_proj", 8), ("v_proj", 8), ("out_proj", 16)] {
        peft = peft.pair(&format!("layers.1.self_attn.{name}"), rows, HIDDEN, 2);
    }
    for (name, rows, cols) in [("w1", 24, HIDDEN), ("w2", HIDDEN, 24), ("w3", 24, HIDDEN)] {
        peft = peft.pair(&format!("layers.0.feed_forward.{name}"), rows, cols, 2);
    }
    peft.pair("layers.1.feed_forward.gate", EXPERTS, HIDDEN, 2)
}

fn by_module() -> Peft {
    let mut peft = Peft::new();
    for layer in [1, 2] {
        for e in 0..EXPERTS {
            let expert = format!("layers.{layer}.feed_forward.experts.{e}");
            peft = peft.pair(&format!("{expert}.w1"), WIDTH, HIDDEN, 2);
            peft = peft.pair(&format!("{expert}.w2"), HIDDEN, WIDTH, 2);
            peft = peft.pair(&format!("{expert}.w3"), WIDTH, HIDDEN, 2);
        }
    }
    peft
}

const OUTER: &str = "layers.1.feed_forward.experts";
const INNER: &str = "layers.1.feed_forward.experts.base_layer";

#[test]
fn linear_modules_and_experts_by_module() {
    for (peft, n) in [(linear(), 12), (by_module(), 2 * EXPERTS * 3)] {
        let adapter = peft.ok(&moe());
        assert_eq!(adapter.factors.len(), n);
        assert_eq!(adapter.rank(), 2);
        let mut bytes = 0;
        for (id, factors) in &adapter.factors {
            let [rows, cols] = adapted_shape(&moe(), *id).unwrap();
            assert_eq!((factors.rank, factors.scale), (2, 3.0), "{id:?}");
            assert_eq!((factors.a.len(), factors.b.len()), (2 * cols, 2 * rows), "{id:?}");
            let name = id.hub_name();
            let module = name.trim_start_matches("model.").trim_end_matches(".weight");
            assert_eq!(&*factors.a, peft.data(&format!("{module}.lora_A")), "{id:?}");
            assert_eq!(&*factors.b, peft.data(&format!("{module}.lora_B")), "{id:?}");
            bytes += 4 * 2 * (rows + cols) as u64;
        }
        assert_eq!(adapter.bytes(), bytes);
    }
}

#[test]
fn a_dense_model_has_its_ffn_in_each_layer() {
    let mut peft = Peft::new();
    for layer in [0, 1] {
        peft = peft.pair(&format!("layers.{layer}.feed_forward.w2"), HIDDEN, 24, 2);
    }
    assert_eq!(peft.ok(&dense()).factors.len(), 2);
}

#[test]
fn names_with_other_prefixes_and_the_adapters_name() {
    let fingerprint = linear().ok(&moe()).fingerprint();
    for (from, to) in [
        ("lora_A.", "lora_A.default."),
        ("base_model.model.model.", "base_model.model."),
        ("base_model.model.model.", "model."),
        ("base_model.model.model.", ""),
    ] {
        let mut peft = linear();
        let renamed = |(name, tensor): (String, _)| {
            (
                name.replace(from, to).replace(
                    "lora_B.w",
                    if from == "lora_A." { "lora_B.my-name.w" } else { "lora_B.w" },
                ),
                tensor,
            )
        };
        peft.tensors = peft.tensors.into_iter().map(renamed).collect();
        assert_eq!(peft.ok(&moe()).fingerprint(), fingerprint, "{from} {to}");
    }
}

#[test]
fn elements_in_half_precision() {
    let fingerprint = linear().ok(&moe()).fingerprint();
    for dtype in [Dtype::F16, Dtype::BF16] {
        let mut peft = linear();
        peft.dtype = dtype;
        assert_eq!(peft.ok(&moe()).fingerprint(), fingerprint, "{dtype:?}");
    }
}

#[test]
fn a_fingerprint_changes_with_every_part() {
    let peft = linear();
    let mut seen = HashSet::from([peft.ok(&moe()).fingerprint()]);
    let mut add = |peft: Peft| assert!(seen.insert(peft.ok(&moe()).fingerprint()));
    add(peft.clone().set("lora_alpha", json!(5)));
    add(peft.clone().set("alpha_pattern", json!({"q_proj": 5})));
    for name in peft.tensors.keys() {
        let mut other = peft.clone();
        *other.tensors.get_mut(name).unwrap().1.last_mut().unwrap() += 1.0;
        add(other);
    }
    let mut less = peft.clone();
    less.tensors.retain(|name, _| !name.contains("gate"));
    add(less);
}

/// The addition to all experts by PEFT's formula: `einsum("o r e, e r i -> e o i", B, A) * scale`, with
/// `A.reshape(E, r, in)` and `B.reshape(out, r, E)`.
fn einsum(a: &[f32], b: &[f32], [out, cols]: [usize; 2], r: usize, scale: f32) -> Vec<Vec<f32>> {
    let at = |e: usize, o: usize, i: usize| {
        (0..r).map(|k| b[(o * r + k) * EXPERTS + e] * a[(e * r + k) * cols + i]).sum::<f32>()
    };
    let expert = |e| (0..out * cols).map(|n| at(e, n / cols, n % cols) * scale).collect();
    (0..EXPERTS).map(expert).collect()
}

fn check_stack(
    adapter: &LoraAdapter,
    peft: &Peft,
    wrapper: &str,
    gate_up: bool,
    r: usize,
    scale: f32,
) {
    let (a, b) = (peft.data(&format!("{wrapper}.lora_A")), peft.data(&format!("{wrapper}.lora_B")));
    let shape = if gate_up { [2 * WIDTH, HIDDEN] } else { [HIDDEN, WIDTH] };
    for (e, whole) in einsum(a, b, shape, r, scale).into_iter().enumerate() {
        let factors = |id: TensorId| &adapter.factors[&id];
        let ours = match gate_up {
            true => {
                let (w1, w3) =
                    (factors(TensorId::ExpertW1(1, e)), factors(TensorId::ExpertW3(1, e)));
                assert!(Arc::ptr_eq(&w1.a, &w3.a), "both use one A");
                [w1.delta(), w3.delta()].concat()
            }
            false => factors(TensorId::ExpertW2(1, e)).delta(),
        };
        assert_eq!(ours.len(), whole.len());
        // Exact: the values are small multiples of 1/16.
        assert_eq!(ours, whole, "expert {e} of {wrapper}");
    }
}

#[test]
fn stacked_parameters_in_both_orders_of_wrapping_and_alone() {
    for (wrappers, n) in [
        (&[(INNER, true), (OUTER, false)][..], 3 * EXPERTS),
        (&[(INNER, false), (OUTER, true)], 3 * EXPERTS),
        (&[(OUTER, true)], 2 * EXPERTS),
        (&[(OUTER, false)], EXPERTS),
    ] {
        let mut peft = Peft::new();
        for (wrapper, gate_up) in wrappers {
            peft = peft.stack(wrapper, *gate_up, 2);
        }
        let adapter = peft.ok(&moe());
        assert_eq!(adapter.factors.len(), n, "{wrappers:?}");
        for (wrapper, gate_up) in wrappers {
            check_stack(&adapter, &peft, wrapper, *gate_up, 2, 3.0);
        }
    }
    // A is shared by two matrices and counts once.
    let peft = Peft::new().stack(OUTER, true, 2);
    let elements = 2 * EXPERTS * HIDDEN + 2 * WIDTH * 2 * EXPERTS;
    assert_eq!(peft.ok(&moe()).bytes(), 4 * elements as u64);
}

#[test]
fn a_stack_whose_columns_tie_is_told_by_its_rows() {
    let mut config = moe();
    config.moe.as_mut().unwrap().intermediate_size = HIDDEN;
    for (rows, id) in [(2 * HIDDEN, TensorId::ExpertW1(1, 0)), (HIDDEN, TensorId::ExpertW2(1, 0))] {
        let name = |factor| format!("base_model.model.model.{OUTER}.lora_{factor}.weight");
        let peft = Peft::new()
            .tensor(&name("A"), &[2 * EXPERTS, HIDDEN])
            .tensor(&name("B"), &[rows, 2 * EXPERTS]);
        assert!(peft.ok(&config).factors.contains_key(&id), "{rows} rows");
    }
}

#[test]
fn patterns_and_rslora() {
    let peft = Peft::new()
        .pair("layers.0.conv.in_proj", 3 * HIDDEN, HIDDEN, 4)
        .pair("layers.2.conv.in_proj", 3 * HIDDEN, HIDDEN, 2)
        .pair("layers.0.feed_forward.w1", 24, HIDDEN, 16)
        .stack(INNER, true, 3)
        .stack(OUTER, false, 2)
        .set(
            "rank_pattern",
            json!({"model.layers.0.conv.in_proj": 4, r"layers\.0\..*w[13]": 16, "experts.gate_up_proj": 3}),
        )
        .set("alpha_pattern", json!({"layers.2.conv.in_proj": 1, "down_proj": 8.5, "in_proj": 40}));
    let scales = [
        (TensorId::ConvInProj(0), 4, 40.0, 10.0),
        (TensorId::ConvInProj(2), 2, 1.0, 0.5),
        (TensorId::W1(0), 16, 6.0, 0.375),
        (TensorId::ExpertW1(1, 3), 3, 6.0, 2.0),
        (TensorId::ExpertW3(1, 0), 3, 6.0, 2.0),
        (TensorId::ExpertW2(1, 1), 2, 8.5, 4.25),
    ];
    let adapter = peft.ok(&moe());
    assert_eq!(adapter.rank(), 16);
    for (id, rank, _, scale) in scales {
        let factors = &adapter.factors[&id];
        assert_eq!((factors.rank, factors.scale), (rank, scale), "{id:?}");
    }
    check_stack(&adapter, &peft, INNER, true, 3, 2.0);
    let adapter = peft.set("use_rslora", json!(true)).ok(&moe());
    for (id, rank, alpha, _) in scales {
        let scale = (alpha / (rank as f64).sqrt()) as f32;
        assert_eq!(adapter.factors[&id].scale, scale, "{id:?}");
    }
}

#[test]
fn a_parameter_of_a_plain_module_has_its_own_key() {
    let gate = "layers.1.feed_forward.gate";
    let peft = Peft::new().pair(gate, EXPERTS, HIDDEN, 2);
    let pattern = json!({"gate.weight": 12, "gate": 18});
    let by_module = peft.clone().set("alpha_pattern", pattern.clone());
    assert_eq!(by_module.ok(&moe()).factors[&TensorId::Router(1)].scale, 9.0);
    let by_parameter =
        peft.set("alpha_pattern", pattern).set("target_parameters", json!(["gate.weight"]));
    assert_eq!(by_parameter.ok(&moe()).factors[&TensorId::Router(1)].scale, 6.0);
}

#[test]
fn targets_that_have_tensors_or_are_left_out_on_purpose() {
    let linear = linear();
    for targets in [
        json!(["in_proj", "out_proj", "q_proj", "k_proj", "w1", "w2", "w3", "gate"]),
        json!(["model.layers.0.conv.in_proj", "1.self_attn.q_proj"]),
        json!(r".*\.(in_proj|out_proj)"),
        json!(r"(?!no).*lookahead is not supported here"),
        json!("all-linear"),
        json!([]),
    ] {
        linear.clone().set("target_modules", targets).ok(&moe());
    }
    let conv = Peft::new().pair("layers.0.conv.in_proj", 3 * HIDDEN, HIDDEN, 2);
    let conv = conv.set("target_modules", json!(["in_proj", "q_proj"]));
    for (field, value) in [
        ("layers_to_transform", json!([0, 2])),
        ("layers_to_transform", json!(0)),
        ("exclude_modules", json!(["q_proj"])),
        ("exclude_modules", json!(r".*self_attn.*")),
    ] {
        conv.clone().set(field, value).ok(&moe());
    }
    let both = Peft::new().stack(INNER, true, 2).stack(OUTER, false, 2);
    for parameters in [
        json!(["gate_up_proj", "down_proj"]),
        json!(["feed_forward.experts.down_proj", "feed_forward.experts.gate_up_proj"]),
    ] {
        both.clone().set("target_parameters", parameters).ok(&moe());
    }
}

#[test]
fn fields_without_an_effect_are_ignored() {
    let peft = linear();
    let fingerprint = peft.ok(&moe()).fingerprint();
    for (field, value) in [
        ("lora_dropout", json!(0.1)),
        ("init_lora_weights", json!("gaussian")),
        ("init_lora_weights", json!("eva")),
        ("eva_config", json!({"rho": 2})),
        ("layer_replication", json!(null)),
        ("alora_invocation_tokens", json!(null)),
        ("megatron_core", json!("megatron.core")),
        ("base_model_name_or_path", json!("LiquidAI/LFM2-8B-A1B")),
        ("some_new_field", json!([1])),
    ] {
        assert_eq!(peft.clone().set(field, value).ok(&moe()).fingerprint(), fingerprint, "{field}");
    }
}
