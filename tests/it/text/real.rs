//! Compares the published LFM2 tokenizer and template with `tokenizers` and transformers.
//!
//! `tools/real_tokenizer.py --expected` fetches the files into .cache. Without them the tests are
//! skipped with a message, or fail if `LFM2_REQUIRE_REAL_TOKENIZER` is 1.

use super::tokenizer::any_text;
use lfm2_wgpu::formats::BytesSource;
use lfm2_wgpu::formats::gguf::read_header;
use lfm2_wgpu::text::{
    ChatTemplate, Conversation, SpecialTokenTexts, SpecialTokens, TextStream, Tokenizer,
};
use proptest::prop_assert_eq;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The model's vocabulary is larger than the tokenizer's 64,400 ids.
const VOCAB_SIZE: usize = 65_536;

fn cached(name: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/real_tokenizer");
    match std::fs::read(folder.join(name)) {
        Ok(bytes) => Some(bytes),
        Err(error) if std::env::var("LFM2_REQUIRE_REAL_TOKENIZER").as_deref() == Ok("1") => {
            panic!("{name}: {error}; run: python3 tools/real_tokenizer.py --expected")
        }
        Err(_) => {
            eprintln!("skipped: no {name}; run: python3 tools/real_tokenizer.py --expected");
            None
        }
    }
}

fn published() -> Option<(Tokenizer, Value)> {
    let tokenizer = Tokenizer::from_json(&cached("tokenizer.json")?, VOCAB_SIZE).unwrap();
    Some((tokenizer, serde_json::from_slice(&cached("expected.json")?).unwrap()))
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn ids_and_decoded_texts_equal_those_of_the_reference() {
    let Some((tokenizer, expected)) = published() else { return };
    let texts = expected["texts"].as_array().unwrap();
    assert!(texts.len() >= 120);
    for case in texts {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), ids(&case["ids"]), "{text:?}");
        assert_eq!(tokenizer.encode(text, true).unwrap(), ids(&case["with_special"]), "{text:?}");
        assert_eq!(tokenizer.decode(&ids(&case["ids"]), false).unwrap(), text);
    }
    for case in expected["decoded"].as_array().unwrap() {
        let ids = ids(&case["ids"]);
        let shown = [(SpecialTokens::Show, "text", false), (SpecialTokens::Hide, "skipped", true)];
        for (specials, field, skip) in shown {
            let text = case[field].as_str().unwrap();
            assert_eq!(tokenizer.decode(&ids, skip).unwrap(), text, "{ids:?}");
            let mut stream = TextStream::new(&tokenizer, specials);
            let mut streamed: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
            streamed.push_str(&stream.finish());
            assert_eq!(streamed, text, "{ids:?}");
        }
    }
}

#[test]
fn the_vocabulary_equals_the_published_one() {
    let Some((tokenizer, _)) = published() else { return };
    assert_eq!(tokenizer.len(), 64_400);
    let mask = tokenizer.token_mask(VOCAB_SIZE);
    assert_eq!(mask.iter().map(|word| word.count_ones()).sum::<u32>(), 64_400);
    assert_eq!(mask[64_400 / 32], (1 << (64_400 % 32)) - 1);
    let specials =
        [(0, "<|pad|>"), (1, "<|startoftext|>"), (7, "<|im_end|>"), (10, "<|tool_call_start|>")];
    for (id, text) in specials {
        assert_eq!(tokenizer.token_text(id), Some(text));
        assert_eq!(tokenizer.token_id(text), Some(id));
        assert!(tokenizer.is_special(id));
    }
    // Added tokens that are not special.
    for (id, text) in [(64_011, "Mathias"), (64_014, "python")] {
        assert_eq!(tokenizer.token_id(text), Some(id));
        assert!(!tokenizer.is_special(id));
    }
    // Figures published for the LFM2-350M tokenizer.
    let goldens: [(&str, &[u32]); 4] = [
        ("hello world", &[1, 52572, 2031]),
        (
            "The year 2024 has 365 days.",
            &[1, 1098, 1423, 730, 1718, 529, 1178, 730, 19869, 3378, 523],
        ),
        ("don't", &[1, 16203, 1901]),
        ("中文", &[1, 2377, 5467]),
    ];
    for (text, ids) in goldens {
        assert_eq!(tokenizer.encode(text, true).unwrap(), ids, "{text}");
    }
}

#[test]
fn conversations_render_as_in_transformers() {
    let Some((tokenizer, expected)) = published() else { return };
    let Some(published) = cached("chat_template.jinja") else { return };
    let config = br#"{"bos_token": "<|startoftext|>", "eos_token": {"content": "<|im_end|>"}}"#;
    let published = ChatTemplate::from_files(Some(&published), Some(config)).unwrap();
    let ours = String::from_utf8(super::fixture("lfm2_chat_template.jinja")).unwrap();
    let special = SpecialTokenTexts::from_tokenizer_config(config).unwrap();
    let ours = ChatTemplate::new(&ours, &special).unwrap();
    let cases = expected["conversations"].as_array().unwrap();
    assert!(cases.len() >= 24);
    for case in cases {
        let mut file = case.clone();
        for ours in ["name", "rendered"] {
            file.as_object_mut().unwrap().remove(ours);
        }
        let conversation = Conversation::from_json(&file.to_string()).unwrap();
        let add = conversation.add_generation_prompt.unwrap();
        let rendered = case["rendered"].as_str().unwrap();
        for template in [&published, &ours] {
            assert_eq!(template.render(&conversation, add).unwrap(), rendered, "{}", case["name"]);
        }
        let ids = tokenizer.encode(rendered, false).unwrap();
        assert_eq!(ids[0], 1);
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), rendered);
    }
}

/// The published tokenizer in a GGUF file's metadata, as llama.cpp's conversion writes it.
#[test]
fn a_gguf_gives_the_published_ids() {
    use crate::formats::gguf_writer::{Gguf, tokenizer_keys};
    let Some((published, expected)) = published() else { return };
    let json: Value = serde_json::from_slice(&cached("tokenizer.json").unwrap()).unwrap();
    let mut file = Gguf::new();
    tokenizer_keys(&mut file, &json, VOCAB_SIZE);
    file.set("tokenizer.ggml.bos_token_id", 1_u32).set("tokenizer.ggml.eos_token_id", 7_u32);
    file.set("tokenizer.ggml.padding_token_id", 0_u32);
    let template = String::from_utf8(cached("chat_template.jinja").unwrap()).unwrap();
    file.set("tokenizer.chat_template", &*template);
    let source = BytesSource::shared("m.gguf", file.bytes().into());
    let header = pollster::block_on(read_header(&source, 0)).unwrap();
    let tokenizer = Tokenizer::from_gguf(&header.metadata, VOCAB_SIZE).unwrap().unwrap();
    for case in expected["texts"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), ids(&case["ids"]), "{text:?}");
        assert_eq!(tokenizer.encode(text, true).unwrap(), ids(&case["with_special"]), "{text:?}");
    }
    assert_eq!(tokenizer.len(), published.len());
    assert_eq!(tokenizer.token_mask(VOCAB_SIZE), published.token_mask(VOCAB_SIZE));
    for id in 0..64_400 {
        assert_eq!(tokenizer.token_text(id), published.token_text(id), "{id}");
        assert_eq!(tokenizer.token_bytes(id), published.token_bytes(id), "{id}");
        assert_eq!(tokenizer.is_special(id), published.is_special(id), "{id}");
    }
    let text = |id| tokenizer.token_text(id);
    let template = ChatTemplate::from_gguf(
        &header.metadata,
        &SpecialTokenTexts::from_gguf(&header.metadata, text).unwrap(),
    )
    .unwrap();
    for case in expected["conversations"].as_array().unwrap() {
        let mut file = case.clone();
        for ours in ["name", "rendered"] {
            file.as_object_mut().unwrap().remove(ours);
        }
        let conversation = Conversation::from_json(&file.to_string()).unwrap();
        let add = conversation.add_generation_prompt.unwrap();
        let rendered = template.render(&conversation, add).unwrap();
        assert_eq!(rendered, case["rendered"].as_str().unwrap(), "{}", case["name"]);
    }
    let mut runner = proptest::test_runner::TestRunner::new(super::cases(1000));
    runner
        .run(&any_text(), |text| {
            let ids = published.encode(&text, true).unwrap();
            prop_assert_eq!(tokenizer.encode(&text, true).unwrap(), ids);
            Ok(())
        })
        .unwrap();
}

#[test]
fn long_runs_take_little_time() {
    let Some((tokenizer, _)) = published() else { return };
    for piece in ["a", " ", "\n", "中", "ab", "a b ", "1", "😀", "<|im_end|>"] {
        let text = piece.repeat(400_000 / piece.len());
        let start = Instant::now();
        let ids = tokenizer.encode(&text, false).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{piece:?}: {:?}", start.elapsed());
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
}

#[test]
fn random_texts_have_the_reference_ids() {
    let Some((tokenizer, _)) = published() else { return };
    let bytes = cached("tokenizer.json").unwrap();
    let oracle = tokenizers_oracle::Tokenizer::from_bytes(bytes).unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(super::cases(1000));
    runner
        .run(&any_text(), |text| {
            let expected = oracle.encode(text.as_str(), true).unwrap();
            prop_assert_eq!(tokenizer.encode(&text, true).unwrap(), expected.get_ids());
            Ok(())
        })
        .unwrap();
}
