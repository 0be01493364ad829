//! Broken tokenizer files give typed errors that name the field, never a panic.

use super::broken_cases::CASES;
use super::{TEXTS, fixture};
use lfm2_wgpu::text::{TextError, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn small() -> Value {
    serde_json::from_slice(&fixture("tokenizer-small/tokenizer.json")).unwrap()
}

fn load(json: &str) -> Result<Tokenizer, TextError> {
    Tokenizer::from_json(json.as_bytes(), 1024)
}

#[test]
fn every_broken_file_is_an_error_that_names_the_field() {
    for (name, change, expected) in CASES {
        let mut file = small();
        change(&mut file);
        let error = load(&file.to_string()).expect_err(name);
        assert!(matches!(error, TextError::TokenizerFile { .. }), "{name}: {error}");
        let message = error.to_string();
        let expected = format!("tokenizer.json: {expected}");
        assert!(message.starts_with(&expected), "{name}:\n{message}\n{expected}");
        assert!(!message.contains('\n'), "{name}");
    }
    assert!(CASES.len() >= 25);
}

#[test]
fn files_that_are_not_json_are_errors() {
    let text = small().to_string();
    let cases = [
        (String::new(), "file: empty"),
        ("\u{feff}\u{feff}{}".to_owned(), "file: not valid JSON"),
        ("null".to_owned(), "file: must be an object"),
        ("[]".to_owned(), "file: must be an object"),
        (text[..text.len() / 2].to_owned(), "file: not valid JSON: EOF"),
        (text.clone() + "x", "file: not valid JSON: trailing"),
        ("[".repeat(1 << 20), "file: not valid JSON: recursion limit"),
        (text.replacen("\"a\":", "\"b\":", 1), "model.vocab.b: this key is given twice"),
        (
            text.replacen("\"version\":", "\"model\":1,\"version\":", 1),
            "model: this key is given twice",
        ),
        // Found by fuzzing: names from the file reached the terminal unescaped.
        (r#"{"\u001b[2J\r\n": 1}"#.to_owned(), r"\u{1b}[2J\r\n: not supported"),
        (format!(r#"{{"{}": 1}}"#, "x".repeat(1 << 20)), "xxxx"),
    ];
    for (file, expected) in cases {
        let message = load(&file).unwrap_err().to_string();
        assert!(!message.contains(char::is_control) && message.len() < 1000, "{message}");
        assert!(
            message.starts_with(&format!("tokenizer.json: {expected}")),
            "{message}\n{expected}"
        );
    }
    let message = Tokenizer::from_json(b"\xff\xfe{}", 1024).unwrap_err().to_string();
    assert!(message.starts_with("tokenizer.json: file: not UTF-8"), "{message}");
}

#[test]
fn the_vocabulary_must_fit_the_model() {
    let text = small().to_string();
    assert!(Tokenizer::from_json(text.as_bytes(), 944).is_ok());
    let error = Tokenizer::from_json(text.as_bytes(), 943).unwrap_err();
    assert!(
        error.to_string().contains("id 943 is not below the model's vocabulary size 943"),
        "{error}"
    );
    // The highest id sizes the tables, so it must not be far beyond the file's entries.
    let mut file = small();
    file["model"]["vocab"]["zzz"] = json!(4_000_000_000u32);
    let error = Tokenizer::from_json(file.to_string().as_bytes(), usize::MAX).unwrap_err();
    assert!(error.to_string().contains("is far beyond the"), "{error}");
}

/// The small file reduced to special tokens and 256 bytes, with further entries and merges.
fn with_entries(add: impl Fn(&[String], &mut dyn FnMut(String)) -> Vec<Value>) -> Value {
    let mut file = small();
    file["added_tokens"].as_array_mut().unwrap().truncate(15);
    let vocab = file["model"]["vocab"].as_object_mut().unwrap();
    vocab.retain(|_, id| id.as_u64().unwrap() < 15 + 256);
    let is_byte = |token: &&String| token.chars().count() == 1;
    let bytes: Vec<String> = vocab.keys().filter(is_byte).cloned().collect();
    let merges = add(&bytes, &mut |entry| {
        let next = json!(vocab.len());
        vocab.entry(entry).or_insert(next);
    });
    file["model"]["merges"] = json!(merges);
    file
}

#[test]
fn too_many_merges_among_the_first_symbols_are_refused() {
    // All pairs of 300 symbols: the library's table has room for 65,534.
    let mut file = with_entries(|bytes, add| {
        let mut symbols = bytes[..150].to_vec();
        symbols.extend((0..75).map(|i| format!("{}{}", bytes[151], bytes[152 + i])));
        symbols.extend((0..75).map(|i| format!("{}{}", bytes[150].repeat(2), bytes[152 + i])));
        symbols.iter().cloned().for_each(&mut *add);
        let mut merges = Vec::new();
        for left in &symbols {
            for right in &symbols {
                add(format!("{left}{right}"));
                merges.push(json!([left, right]));
            }
        }
        merges
    });
    let load = |file: &Value| Tokenizer::from_json(file.to_string().as_bytes(), 1 << 20);
    let message = load(&file).unwrap_err().to_string();
    assert!(message.contains("model.merges: 90000 merges among the first 512"), "{message}");
    file["model"]["merges"].as_array_mut().unwrap().truncate(65_534);
    load(&file).unwrap();
}

#[test]
fn a_grid_of_short_entries_is_refused_at_once() {
    let file = with_entries(|bytes, add| {
        for left in bytes {
            bytes.iter().for_each(|right| add(format!("{left}{right}")));
        }
        Vec::new()
    });
    let message = Tokenizer::from_json(file.to_string().as_bytes(), 1 << 20).unwrap_err();
    assert!(message.to_string().contains("model.vocab: more than 40000 entries of 2 bytes"));
}

#[test]
fn settings_that_are_checked_and_not_applied_load() {
    let mut file = small();
    file["truncation"] =
        json!({"direction": "Left", "max_length": 2, "strategy": "OnlyFirst", "stride": 1});
    file["padding"] = json!({"strategy": {"Fixed": 99}, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<|pad|>"});
    let tokenizer = load(&file.to_string()).unwrap();
    let plain = load(&small().to_string()).unwrap();
    for text in TEXTS {
        assert_eq!(tokenizer.encode(text, true), plain.encode(text, true));
    }
}

/// Applies `change` to the `n`th value of a JSON tree, counted in order.
fn change_nth(value: &mut Value, n: &mut usize, change: &dyn Fn(&mut Value)) {
    if *n == 0 {
        change(value);
        *n = usize::MAX;
        return;
    }
    *n -= 1;
    match value {
        Value::Array(items) => items.iter_mut().take(30).for_each(|v| change_nth(v, n, change)),
        Value::Object(map) => map.values_mut().take(30).for_each(|v| change_nth(v, n, change)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A changed file works, or our checks refuse it before the library does.
    #[test]
    fn changed_files_load_and_work_or_are_refused(
        mut n in 0usize..260,
        value in prop::sample::select(vec![json!(null), json!(true), json!(false), json!(0), json!(-1),
            json!(7), json!(4294967295u32), json!(1.5), json!(""), json!("a"), json!("Ġ"), json!([]),
            json!({}), json!(["a", "b"]), json!({"type": "ByteLevel"})]),
    ) {
        let mut file = small();
        change_nth(&mut file, &mut n, &|node| *node = value.clone());
        match load(&file.to_string()) {
            Ok(tokenizer) => for text in TEXTS {
                let ids = tokenizer.encode(text, true).unwrap();
                tokenizer.decode(&ids, true).unwrap();
            },
            Err(error) => prop_assert!(matches!(error, TextError::TokenizerFile { .. }), "{error}"),
        }
    }

    #[test]
    fn changed_bytes_load_or_are_refused(at in 0usize..27_000, byte in any::<u8>(), cut in any::<bool>()) {
        let mut file = fixture("tokenizer-small/tokenizer.json");
        file[at] = byte;
        if cut {
            file.truncate(at + 1);
        }
        if let Err(error) = Tokenizer::from_json(&file, 1024) {
            prop_assert!(matches!(error, TextError::TokenizerFile { .. }), "{error}");
        }
    }
}
