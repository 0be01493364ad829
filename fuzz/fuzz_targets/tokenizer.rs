//! Tokenizers from tokenizer.json and from a GGUF file's keys, and text encoded with them.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use lfm2_fuzz::description::{Change, changed};
use lfm2_fuzz::gguf::writer::{Gguf, V, array, string};
use lfm2_fuzz::{files, held, one_line};
use lfm2_wgpu::formats::{BytesSource, gguf};
use lfm2_wgpu::text::{TextError, Tokenizer};
use serde_json::Value;

/// Rows of the model's embedding.
const VOCAB: usize = 500;

/// A smaller version of the fixture: all bytes, the special tokens, the first merges.
static SMALL: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../tests/fixtures/tokenizer-small/tokenizer.json");
    let mut json: Value = serde_json::from_str(text).unwrap_or_default();
    let added: Vec<String> = json["added_tokens"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .zip(0..)
        .map(|(token, id)| {
            token["id"] = id.into();
            token["content"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    let model = &mut json["model"];
    let merges: Vec<Value> =
        model["merges"].as_array().into_iter().flatten().take(20).cloned().collect();
    let texts = model["vocab"].as_object().into_iter().flatten().map(|(text, _)| text.clone());
    let bytes = texts.filter(|text| text.chars().count() == 1 && !added.contains(text));
    let results = merges.iter().map(|pair| {
        format!("{}{}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
    });
    let vocab = added.iter().cloned().chain(bytes).chain(results);
    model["vocab"] = vocab.zip(0..).map(|(text, id)| (text, Value::from(id))).collect();
    model["merges"] = merges.into();
    json
});

#[derive(Arbitrary, Debug)]
struct Description {
    changes: Vec<Change>,
    text: String,
}

/// Changes of GGUF's arrays.
#[derive(Arbitrary, Debug)]
struct Keys {
    tokens: Vec<(u16, String, u8)>,
    more_tokens: Vec<(String, u8)>,
    merges: Vec<(u16, String)>,
    more_merges: Vec<(u16, u16)>,
    ids: Vec<(u8, i32)>,
    add_bos: Option<bool>,
    add_eos: Option<bool>,
    text: String,
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A first byte of 0 or 1 marks a description; otherwise the input is files.
    match data.split_first() {
        Some((0, rest)) => {
            let Ok(d) = Description::arbitrary_take_rest(Unstructured::new(rest)) else { return };
            let json = changed(&SMALL, &d.changes);
            held(|| use_it(Tokenizer::from_json(json.as_bytes(), VOCAB).map(Some), &d.text));
        }
        Some((1, rest)) => {
            let Ok(keys) = Keys::arbitrary_take_rest(Unstructured::new(rest)) else { return };
            let bytes = keys.write().bytes();
            held(|| use_it(from_gguf(&bytes), &keys.text));
        }
        _ => {
            let files = files::split(data, "tokenizer.json");
            let text = files::find(&files, "text").unwrap_or(b" Hello, it's 12345 <|im_start|>");
            let text = String::from_utf8_lossy(text);
            held(|| {
                if let Some(json) = files::find(&files, "tokenizer.json") {
                    use_it(Tokenizer::from_json(json, VOCAB).map(Some), &text);
                }
                if let Some(bytes) = files::find(&files, "m.gguf") {
                    use_it(from_gguf(bytes), &text);
                }
            });
        }
    }
});

fn from_gguf(bytes: &[u8]) -> Result<Option<Tokenizer>, TextError> {
    let source = BytesSource::shared("m.gguf", bytes.into());
    match pollster::block_on(gguf::read_header(&source, 0)) {
        Ok(header) => Tokenizer::from_gguf(&header.metadata, VOCAB),
        Err(error) => {
            one_line(&error);
            Ok(None)
        }
    }
}

fn use_it(tokenizer: Result<Option<Tokenizer>, TextError>, text: &str) {
    let tokenizer = match tokenizer {
        Ok(Some(tokenizer)) => tokenizer,
        Ok(None) => return,
        Err(error) => {
            // Input that passes our checks must not fail in the library.
            assert!(!matches!(error, TextError::Tokenizer { .. }), "{error}");
            return one_line(&error);
        }
    };
    assert!(tokenizer.len() <= VOCAB);
    for special in [true, false] {
        let ids = tokenizer.encode(text, special).unwrap_or_else(|error| panic!("{error}"));
        let unknown = ids.iter().find(|id| !tokenizer.has_token(**id));
        assert!(unknown.is_none(), "{unknown:?} of {ids:?}");
        let decoded = tokenizer.decode(&ids, false).unwrap_or_else(|error| panic!("{error}"));
        let _ = (decoded, tokenizer.decode(&ids, true));
    }
    for id in (0..VOCAB as u32).filter(|id| tokenizer.has_token(*id)) {
        let text = tokenizer.token_text(id).unwrap_or_else(|| panic!("{id}"));
        assert!(tokenizer.token_id(text).is_some(), "{id}: {text:?}");
    }
    let mask = tokenizer.token_mask(VOCAB);
    let there: u32 = mask.iter().map(|word| word.count_ones()).sum();
    assert!(there > 0 && there as usize <= VOCAB);
}

impl Keys {
    fn write(&self) -> Gguf {
        let (vocab, added) = (&SMALL["model"]["vocab"], &SMALL["added_tokens"]);
        let mut tokens: Vec<(String, u8)> = vec![("[PAD]".to_owned(), 5); 400];
        for (text, id) in vocab.as_object().into_iter().flatten() {
            if let Some(token) = id.as_u64().and_then(|id| tokens.get_mut(id as usize)) {
                *token = (text.clone(), 1);
            }
        }
        for token in added.as_array().into_iter().flatten() {
            let text = token["content"].as_str().unwrap_or_default();
            if let Some(slot) = token["id"].as_u64().and_then(|id| tokens.get_mut(id as usize)) {
                *slot = (text.to_owned(), 3);
            }
        }
        let merges = SMALL["model"]["merges"].as_array().into_iter().flatten();
        let mut merges: Vec<String> = merges
            .map(|merge| match merge {
                Value::String(text) => text.clone(),
                pair => format!(
                    "{} {}",
                    pair[0].as_str().unwrap_or_default(),
                    pair[1].as_str().unwrap_or_default()
                ),
            })
            .collect();
        for (at, text, kind) in self.tokens.iter().take(16) {
            let n = tokens.len();
            tokens[usize::from(*at) % n] = (text.clone(), kind % 8);
        }
        tokens.extend(self.more_tokens.iter().map(|(text, kind)| (text.clone(), kind % 8)));
        // Merges of tokens whose result is a token too.
        for (a, b) in self.more_merges.iter().take(16) {
            let n = tokens.len();
            let (a, b) =
                (tokens[usize::from(*a) % n].0.clone(), tokens[usize::from(*b) % n].0.clone());
            tokens.push((format!("{a}{b}"), 1));
            merges.push(format!("{a} {b}"));
        }
        for (at, text) in self.merges.iter().take(16) {
            let n = merges.len();
            if n > 0 {
                merges[usize::from(*at) % n] = text.clone();
            }
        }
        let mut gguf = Gguf::new();
        gguf.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "lfm2");
        let texts: Vec<u8> = tokens.iter().flat_map(|(text, _)| string(text)).collect();
        gguf.set("tokenizer.ggml.tokens", array(8, tokens.len() as u64, texts));
        let types: Vec<i32> = tokens.iter().map(|(_, kind)| (*kind).into()).collect();
        gguf.set("tokenizer.ggml.token_type", V::from(&types[..]));
        gguf.set("tokenizer.ggml.merges", &merges[..]);
        for (which, id) in &self.ids {
            let name = ["bos", "eos", "padding", "unknown"][usize::from(which % 4)];
            gguf.set(&format!("tokenizer.ggml.{name}_token_id"), *id);
        }
        for (name, flag) in [("bos", self.add_bos), ("eos", self.add_eos)] {
            if let Some(flag) = flag {
                gguf.set(&format!("tokenizer.ggml.add_{name}_token"), flag);
            }
        }
        gguf
    }
}
