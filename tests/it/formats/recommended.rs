//! Recommended sampling options of a model, and their origin.

use lfm2_wgpu::engine::{OpenedModel, Recommendation, SamplingOptions};
use lfm2_wgpu::formats::{ElementType, ModelFiles};
use lfm2_wgpu::model::{GenerationConfig, ModelConfig, validate};

use super::gguf::{demo, open_one};
use super::peers::hub;
use crate::quantised;

/// A small model with this shape and name.
fn of(layers: usize, hidden: usize, vocab: usize, names: &[&str]) -> Recommendation {
    let (config, checkpoint) = quantised::model(&[ElementType::F32]);
    pollster::block_on(async {
        let tensors = validate(&config, &checkpoint).await.unwrap();
        let files = ModelFiles::embedded("random", &[]);
        let text = lfm2_wgpu::engine::ModelText::open(&files, vocab).await.unwrap();
        let layer = config.layers[0];
        let layers = vec![layer; layers];
        let config = ModelConfig { layers, hidden_size: hidden, vocab_size: vocab, ..config };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let generation = GenerationConfig::default();
        OpenedModel::new(config, generation, checkpoint, tensors, text, &names).recommended
    })
}

#[test]
fn the_table_by_name_vocabulary_and_shape() {
    let cases: [(usize, usize, usize, &[&str], &str); 16] = [
        (24, 2048, 65_536, &["LFM2-8B-A1B"], "temperature 0.3, min_p 0.15, repetition 1.05 (LFM2)"),
        (16, 2048, 65_536, &["LFM2-1.2B"], "temperature 0.3, min_p 0.15, repetition 1.05 (LFM2)"),
        (16, 2048, 65_536, &["my-model"], "temperature 0.3, min_p 0.15, repetition 1.05 (LFM2)"),
        (
            24,
            2048,
            128_000,
            &["model.gguf"],
            "temperature 0.2, top_k 80, repetition 1.05 (LFM2.5-8B-A1B)",
        ),
        (
            24,
            2048,
            128_000,
            &["LFM2-8B-finetune"],
            "temperature 0.2, top_k 80, repetition 1.05 (LFM2.5-8B-A1B)",
        ),
        (30, 2048, 128_000, &[], "temperature 0.2, top_k 80, repetition 1.05 (LFM2.5-2.6B)"),
        (
            30,
            2048,
            65_536,
            &["LFM2.5-2.6B"],
            "temperature 0.2, top_k 80, repetition 1.05 (LFM2.5-2.6B)",
        ),
        (
            40,
            2048,
            65_536,
            &["LFM2-24B-A2B"],
            "temperature 0.1, top_k 50, repetition 1.05 (LFM2-24B-A2B)",
        ),
        (
            14,
            1024,
            65_536,
            &["lfm2.5-230m-q4_0.gguf"],
            "temperature 0.1, top_k 50, repetition 1.05 (LFM2.5-230M)",
        ),
        (
            16,
            1024,
            65_536,
            &["LFM2_5-350M"],
            "temperature 0.1, top_k 50, repetition 1.05 (LFM2.5-350M)",
        ),
        (
            16,
            2048,
            65_536,
            &["x.gguf", "LFM2.5 1.2B Instruct"],
            "temperature 0.1, top_k 50, repetition 1.05 (LFM2.5-1.2B)",
        ),
        (
            16,
            2048,
            65_536,
            &["LFM2.5-1.2B-Thinking"],
            "temperature 0.05, top_k 50, repetition 1.05 (LFM2.5-1.2B-Thinking)",
        ),
        (
            16,
            2048,
            65_536,
            &["models--x--LFM2.5-1.2B-THINKING-GGUF"],
            "temperature 0.05, top_k 50, repetition 1.05 (LFM2.5-1.2B-Thinking)",
        ),
        (12, 512, 65_536, &["LFM2.5-new"], "temperature 0.1, top_k 50, repetition 1.05 (LFM2.5)"),
        (12, 512, 128_000, &["new"], "temperature 0.2, top_k 80, repetition 1.05 (LFM2.5)"),
        (32, 2048, 128_000, &["LFM3-8B"], "temperature 0.1, top_k 50, repetition 1.1 (LFM3)"),
    ];
    for (layers, hidden, vocab, names, want) in cases {
        assert_eq!(of(layers, hidden, vocab, names).to_string(), want, "{names:?}");
    }
    let lfm2 = of(24, 2048, 65_536, &["LFM2-8B-A1B"]).sampling;
    assert_eq!(lfm2, SamplingOptions { seed: lfm2.seed, ..SamplingOptions::default() });
}

#[test]
fn small_models_of_the_new_family_are_known_by_their_vocabulary() {
    let tokenizer = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/tokenizer.json"),
    )
    .unwrap();
    let thinking = tokenizer.replace("<|fim_pre|>", "<think>");
    assert!(thinking != tokenizer);
    let none = [("generation_config.json", None)];
    assert_eq!(hub(&none).unwrap().recommended.source, "LFM2");
    let edits = [("generation_config.json", None), ("tokenizer.json", Some(&*thinking))];
    assert_eq!(hub(&edits).unwrap().recommended.source, "LFM2.5");
}

#[test]
fn files_go_before_the_table() {
    let said = |json: &str| {
        hub(&[("generation_config.json", Some(json))]).unwrap().recommended.to_string()
    };
    for (json, want) in [
        (r#"{"eos_token_id": 7}"#, "temperature 0.3, min_p 0.15, repetition 1.05 (LFM2)"),
        (r#"{"do_sample": true}"#, "temperature 0.3, min_p 0.15, repetition 1.05 (LFM2)"),
        (r#"{"do_sample": false}"#, "temperature 0 (generation_config.json)"),
        (
            r#"{"temperature": 0.7}"#,
            "temperature 0.7, min_p 0.15, repetition 1.05 (generation_config.json, else LFM2)",
        ),
        (
            r#"{"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0, "repetition_penalty": 1}"#,
            "temperature 0.7, top_k 20, top_p 0.8 (generation_config.json)",
        ),
    ] {
        assert_eq!(said(json), want, "{json}");
    }
    let mut file = demo();
    assert_eq!(open_one(&file).unwrap().recommended.source, "LFM2");
    file.set("general.basename", "LFM2.5").set("general.sampling.temp", 0.5_f32);
    assert_eq!(
        open_one(&file).unwrap().recommended.to_string(),
        "temperature 0.5, top_k 50, repetition 1.05 (general.sampling, else LFM2.5)"
    );
    file.set("general.sampling.top_k", -1).set("general.sampling.penalty_repeat", 1.0_f32);
    file.set("general.sampling.top_p", 0.9_f32);
    assert_eq!(
        open_one(&file).unwrap().recommended.to_string(),
        "temperature 0.5, top_p 0.9 (general.sampling)"
    );
}
