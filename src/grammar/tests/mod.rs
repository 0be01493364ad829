//! Random answers that grammars allow, read back and judged.

mod calls;
mod costs;
mod forms;
mod suite;
mod walk;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Grammars, Llguidance};
use crate::text::Tokenizer;

/// The demonstration model's end token, `<|im_end|>`.
const END: u32 = 7;
const DEMO: &[u8] = include_bytes!("../../../assets/demo/tokenizer.json");

static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| {
    let tokenizer = Tokenizer::from_json(DEMO, 2688).unwrap();
    Grammars::new(&Llguidance, &tokenizer, &[2, END]).unwrap()
});

/// The same vocabulary, in which all markers are tokens. The file marks some of them as special.
static ALL_MARKERS: LazyLock<Grammars> = LazyLock::new(|| {
    let mut file: Value = serde_json::from_slice(DEMO).unwrap();
    let markers = ["<think>", "</think>", "<tool_call>", "</tool_call>"];
    for (id, marker) in (2674..).zip(markers) {
        let added = file["added_tokens"].as_array_mut().unwrap();
        added.push(json!({
            "id": id, "content": marker, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": id % 2 == 0,
        }));
    }
    let tokenizer = Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), 2688).unwrap();
    Grammars::new(&Llguidance, &tokenizer, &[END]).unwrap()
});
