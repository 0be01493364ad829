//! Reading generation_config.json, and its errors.

use lfm2_wgpu::model::{ConfigError, GenerationConfig};

use super::refused::refused;

fn generation(bytes: &[u8]) -> Result<GenerationConfig, ConfigError> {
    GenerationConfig::from_json("dir/generation_config.json", bytes, 65536)
}

#[test]
fn what_the_card_recommends() {
    let file = br#"{"_from_model_config": true, "bos_token_id": 1, "do_sample": true,
        "eos_token_id": [7, 2], "pad_token_id": 0, "temperature": 0.3, "min_p": 0.15,
        "repetition_penalty": 1.05, "top_k": 50, "top_p": 1, "max_new_tokens": 512,
        "num_beams": 1, "guidance_scale": null}"#;
    let expected = GenerationConfig {
        source: "generation_config.json",
        bos_token_id: Some(1),
        eos_token_ids: vec![7, 2],
        pad_token_id: Some(0),
        do_sample: Some(true),
        temperature: Some(0.3),
        top_k: Some(50),
        top_p: Some(1.0),
        min_p: Some(0.15),
        repetition_penalty: Some(1.05),
        max_new_tokens: Some(512),
        max_length: None,
    };
    assert_eq!(generation(file).unwrap(), expected);
    let source = "generation_config.json";
    let empty = GenerationConfig { source, ..GenerationConfig::default() };
    assert_eq!(generation(b"{}").unwrap(), empty);
    // Options that are not implemented are a warning.
    assert!(generation(br#"{"num_beams": 4}"#).is_ok());
}

#[test]
#[rustfmt::skip]
fn wrong_generation_configs() {
    let cases: [(&str, &[&str]); 27] = [
        ("", &["not valid JSON"]),
        ("[]", &["expected an object"]),
        ("{\"eos_token_id\": 7", &["not valid JSON"]),
        ("{\"top_k\": 1, \"top_k\": 2}", &["top_k", "twice"]),
        ("{\"eos_token_id\": 65536}", &["eos_token_id", "65536"]),
        ("{\"eos_token_id\": -1}", &["eos_token_id", "got -1"]),
        ("{\"eos_token_id\": [7, \"x\"]}", &["eos_token_id"]),
        ("{\"eos_token_id\": []}", &["eos_token_id"]),
        ("{\"bos_token_id\": 1.5}", &["bos_token_id", "got 1.5"]),
        ("{\"pad_token_id\": 99999999999}", &["pad_token_id"]),
        ("{\"do_sample\": \"true\"}", &["do_sample", "true or false"]),
        ("{\"temperature\": -0.1}", &["temperature", "got -0.1, need 0 to 100"]),
        ("{\"temperature\": NaN}", &["temperature"]),
        ("{\"temperature\": 1e999}", &["temperature"]),
        ("{\"temperature\": \"0.3\"}", &["temperature", "need a number"]),
        ("{\"temperature\": 1000}", &["temperature", "got 1000"]),
        ("{\"top_k\": -1}", &["top_k", "got -1"]),
        ("{\"top_k\": 2.5}", &["top_k", "got 2.5"]),
        ("{\"top_k\": 4294967296}", &["top_k", "4294967296"]),
        ("{\"top_p\": 1.5}", &["top_p", "need 0 to 1"]),
        ("{\"top_p\": -0.5}", &["top_p", "got -0.5"]),
        ("{\"min_p\": 2}", &["min_p", "got 2"]),
        ("{\"repetition_penalty\": 0}", &["repetition_penalty", "got 0"]),
        ("{\"repetition_penalty\": -1.05}", &["repetition_penalty"]),
        ("{\"max_new_tokens\": 0}", &["max_new_tokens", "got 0"]),
        ("{\"max_new_tokens\": 1e3}", &["max_new_tokens", "got 1000.0"]),
        ("{\"max_length\": -5}", &["max_length", "got -5"]),
    ];
    for (text, words) in cases {
        let words = [words, &["dir/generation_config.json: "]].concat();
        refused(text, &words, || generation(text.as_bytes()));
    }
}
