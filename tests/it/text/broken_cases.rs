//! Changes that break the small tokenizer file, with the beginning of the error for each.

use serde_json::{Value, json};

/// Name, change of the file, and the beginning of the error.
pub type Case = (&'static str, fn(&mut Value), &'static str);

pub const CASES: &[Case] = &[
    ("no version", |t| drop(t.as_object_mut().unwrap().remove("version")), "file.version: missing"),
    ("another version", |t| t["version"] = json!("3.0"), "version: \"3.0\" is not supported"),
    ("version a number", |t| t["version"] = json!(1.0), "version: must be a string"),
    ("an unknown field", |t| t["extra"] = json!(1), "extra: not supported (unknown field)"),
    ("no model", |t| t["model"] = json!(null), "file.model: missing"),
    ("model a list", |t| t["model"] = json!([]), "model: must be an object, not an array"),
    ("model without type", |t| t["model"]["type"] = json!(null), "model.type: missing"),
    ("WordPiece", |t| t["model"]["type"] = json!("WordPiece"), "model.type: \"WordPiece\" is not"),
    ("unknown model field", |t| t["model"]["x"] = json!(1), "model.x: not supported"),
    ("dropout", |t| t["model"]["dropout"] = json!(0.1), "model.dropout: not supported"),
    ("byte fallback", |t| t["model"]["byte_fallback"] = json!(true), "model.byte_fallback: not"),
    (
        "flag a string",
        |t| t["model"]["ignore_merges"] = json!("no"),
        "model.ignore_merges: must be",
    ),
    (
        "subword prefix",
        |t| t["model"]["continuing_subword_prefix"] = json!("##"),
        "model.continuing_subword_prefix: not supported",
    ),
    (
        "word suffix",
        |t| t["model"]["end_of_word_suffix"] = json!("</w>"),
        "model.end_of_word_suffix: not supported",
    ),
    (
        "unknown unk",
        |t| t["model"]["unk_token"] = json!("<unk>"),
        "model.unk_token: \"<unk>\" is not in",
    ),
    ("vocab a list", |t| t["model"]["vocab"] = json!([["a", 0]]), "model.vocab: must be an object"),
    ("vocab empty", |t| t["model"]["vocab"] = json!({}), "model.vocab: empty"),
    (
        "id negative",
        |t| t["model"]["vocab"]["a"] = json!(-1),
        "model.vocab[\"a\"]: must be a whole",
    ),
    (
        "id fractional",
        |t| t["model"]["vocab"]["a"] = json!(1.5),
        "model.vocab[\"a\"]: must be a whole",
    ),
    (
        "id a string",
        |t| t["model"]["vocab"]["a"] = json!("1"),
        "model.vocab[\"a\"]: must be a whole",
    ),
    ("id huge", |t| t["model"]["vocab"]["a"] = json!(u64::MAX), "model.vocab[\"a\"]: 184467440737"),
    (
        "id out of range",
        |t| t["model"]["vocab"]["a"] = json!(1024),
        "model.vocab[\"a\"]: id 1024 is not below",
    ),
    (
        "id twice",
        |t| t["model"]["vocab"]["zzz"] = json!(20),
        "model.vocab[\"zzz\"]: id 20 also belongs",
    ),
    ("empty entry", |t| t["model"]["vocab"][""] = json!(1000), "model.vocab[\"\"]: an empty token"),
    ("entry not byte-level", |t| rename(t, "ÿ", "a b"), "model.vocab[\"a b\"]: not an entry"),
    (
        "entry of 70,000 bytes",
        |t| t["model"]["vocab"]["a".repeat(70_000)] = json!(1000),
        "model.vocab[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\"]: 70000 bytes long",
    ),
    ("no entry for a byte", |t| rename(t, "ÿ", "zzz"), "model.vocab: no entry for byte 0xff"),
    (
        "merges missing",
        |t| drop(t["model"].as_object_mut().unwrap().remove("merges")),
        "model.merges: missing",
    ),
    ("merges an object", |t| t["model"]["merges"] = json!({}), "model.merges: must be an array"),
    (
        "merge of one part",
        |t| t["model"]["merges"][3] = json!(["a"]),
        "model.merges[3]: must have two parts",
    ),
    (
        "merge of three parts",
        |t| t["model"]["merges"][3] = json!("a b c"),
        "model.merges[3]: \"a b c\" is not two",
    ),
    (
        "merge without a space",
        |t| t["model"]["merges"][3] = json!("ab"),
        "model.merges[3]: \"ab\" is not two",
    ),
    (
        "merge of numbers",
        |t| t["model"]["merges"][3] = json!([1, 2]),
        "model.merges[3]: must be a string",
    ),
    ("merge a number", |t| t["model"]["merges"][3] = json!(7), "model.merges[3]: must be a pair"),
    (
        "merge of unknown",
        |t| t["model"]["merges"][3] = json!(["zzz", "a"]),
        "model.merges[3]: \"zzz\" is not in",
    ),
    (
        "merge into unknown",
        |t| t["model"]["merges"][3] = json!(["z", "z"]),
        "model.merges[3]: \"zz\" is not in",
    ),
    (
        "merge twice",
        |t| t["model"]["merges"][3] = t["model"]["merges"][0].clone(),
        "model.merges[3]: the same pair as model.merges[0]",
    ),
    ("added tokens an object", |t| t["added_tokens"] = json!({}), "added_tokens: must be an array"),
    (
        "added token a string",
        |t| t["added_tokens"][2] = json!("x"),
        "added_tokens[2]: must be an object",
    ),
    (
        "added token without id",
        |t| t["added_tokens"][2]["id"] = json!(null),
        "added_tokens[2].id: missing",
    ),
    (
        "added token of another id",
        |t| t["added_tokens"][2]["id"] = json!(3),
        "added_tokens[2].id: 3, but",
    ),
    (
        "added token beyond the vocabulary",
        |t| t["added_tokens"][2]["id"] = json!(5000),
        "added_tokens[2].id: id 5000 is not below",
    ),
    (
        "added token with a gap",
        |t| t["added_tokens"][19]["id"] = json!(950),
        "added_tokens[19].id: 950, but must be 943",
    ),
    (
        "added token on an entry's id",
        |t| t["added_tokens"][19]["id"] = json!(100),
        "added_tokens[19].id: 100 also belongs",
    ),
    (
        "added token twice",
        |t| t["added_tokens"][19]["content"] = t["added_tokens"][0]["content"].clone(),
        "added_tokens[19].content: \"<|pad|>\" is also added_tokens[0]",
    ),
    (
        "added token empty",
        |t| t["added_tokens"][19]["content"] = json!(""),
        "added_tokens[19].content: an empty",
    ),
    (
        "added token with the bytes of an entry",
        |t| t["added_tokens"][19]["content"] = json!(" "),
        "token \" \": the same bytes as \"Ġ\"",
    ),
    (
        "added token without a flag",
        |t| drop(t["added_tokens"][0].as_object_mut().unwrap().remove("lstrip")),
        "added_tokens[0].lstrip: missing",
    ),
    (
        "single word",
        |t| t["added_tokens"][0]["single_word"] = json!(true),
        "added_tokens[0].single_word: not supported",
    ),
    (
        "normalizer",
        |t| t["normalizer"] = json!({"type": "NFC"}),
        "normalizer.type: \"NFC\" is not supported",
    ),
    ("no pre-tokenizer", |t| t["pre_tokenizer"] = json!(null), "pre_tokenizer: missing"),
    (
        "Whitespace",
        |t| t["pre_tokenizer"] = json!({"type": "Whitespace"}),
        "pre_tokenizer.type: \"Whitespace\"",
    ),
    (
        "empty sequence",
        |t| t["pre_tokenizer"]["pretokenizers"] = json!([]),
        "pre_tokenizer.pretokenizers: empty",
    ),
    (
        "another pattern",
        |t| t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(a+)+$"),
        "pre_tokenizer.pretokenizers[0].pattern.Regex: \"(a+)+$\" is not a pattern",
    ),
    (
        "pattern a string",
        |t| t["pre_tokenizer"]["pretokenizers"][0]["pattern"] = json!({"String": " "}),
        "pre_tokenizer.pretokenizers[0].pattern.Regex: missing",
    ),
    (
        "another behavior",
        |t| t["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Contiguous"),
        "pre_tokenizer.pretokenizers[0].behavior: \"Contiguous\"",
    ),
    (
        "prefix space",
        |t| t["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = json!(true),
        "pre_tokenizer.pretokenizers[1].add_prefix_space: not supported",
    ),
    (
        "FixedLength 0",
        |t| t["pre_tokenizer"]["pretokenizers"][0] = json!({"type": "FixedLength", "length": 0}),
        "pre_tokenizer.pretokenizers[0].type: \"FixedLength\"",
    ),
    ("no decoder", |t| t["decoder"] = json!(null), "decoder: missing"),
    (
        "Strip decoder",
        |t| t["decoder"] = json!({"type": "Strip", "content": " ", "start": 9, "stop": 9}),
        "decoder.type: \"Strip\" is not supported",
    ),
    (
        "special token without id",
        |t| {
            drop(
                template(t)["special_tokens"]["<|startoftext|>"]
                    .as_object_mut()
                    .unwrap()
                    .remove("ids"),
            )
        },
        "post_processor.processors[1].special_tokens[\"<|startoftext|>\"].ids: missing",
    ),
    (
        "special token with another id",
        |t| template(t)["special_tokens"]["<|startoftext|>"]["ids"] = json!([5]),
        "post_processor.processors[1].special_tokens[\"<|startoftext|>\"].ids[0]: 5, but",
    ),
    (
        "special token unknown",
        |t| template(t)["special_tokens"]["<|startoftext|>"]["tokens"] = json!(["<s>"]),
        "post_processor.processors[1].special_tokens[\"<|startoftext|>\"].tokens[0]: \"<s>\" has no id",
    ),
    (
        "special token of no ids",
        |t| template(t)["special_tokens"]["<|startoftext|>"]["ids"] = json!([]),
        "post_processor.processors[1].special_tokens[\"<|startoftext|>\"].ids: 0 ids for 1 tokens",
    ),
    (
        "special token not in the table",
        |t| template(t)["special_tokens"] = json!({}),
        "post_processor.processors[1].single[0].SpecialToken.id: \"<|startoftext|>\" is not among",
    ),
    (
        "template without text",
        |t| template(t)["single"] = json!([]),
        "post_processor.processors[1].single: must hold",
    ),
    (
        "template of another sequence",
        |t| template(t)["single"][1]["Sequence"]["id"] = json!("C"),
        "post_processor.processors[1].single[1].Sequence.id: \"C\" is neither",
    ),
    (
        "pair without B",
        |t| template(t)["pair"] = template(t)["single"].clone(),
        "post_processor.processors[1].pair: must hold the sequences A and B",
    ),
    (
        "piece of two",
        |t| template(t)["single"][0] = json!({"Sequence": {}, "SpecialToken": {}}),
        "post_processor.processors[1].single[0]: must be one Sequence",
    ),
    (
        "template of 1,000 pieces",
        |t| template(t)["single"] = json!(vec![json!({"Sequence": {"id": "A"}}); 1000]),
        "post_processor.processors[1].single: 1000 pieces",
    ),
    (
        "two templates",
        |t| t["post_processor"]["processors"][0] = template(t).clone(),
        "post_processor.processors[1]: a second TemplateProcessing",
    ),
    (
        "BertProcessing",
        |t| {
            t["post_processor"] =
                json!({"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 2]})
        },
        "post_processor.type: \"BertProcessing\" is not supported",
    ),
    ("truncation a number", |t| t["truncation"] = json!(5), "truncation: must be an object"),
    (
        "truncation stride",
        |t| {
            t["truncation"] = json!({"max_length": 4, "stride": 4, "strategy": "LongestFirst", "direction": "Right"})
        },
        "truncation.stride: 4 is not below max_length 4",
    ),
    (
        "truncation strategy",
        |t| t["truncation"] = json!({"max_length": 4, "stride": 0, "strategy": "Best"}),
        "truncation.strategy: \"Best\" is not one of",
    ),
    (
        "padding to a multiple of 0",
        |t| t["padding"] = json!({"strategy": "BatchLongest", "pad_to_multiple_of": 0}),
        "padding.pad_to_multiple_of: must be at least 1",
    ),
    (
        "padding strategy",
        |t| t["padding"] = json!({"strategy": {"Fixed": -1}}),
        "padding.strategy.Fixed: must be a whole number",
    ),
];

fn rename(file: &mut Value, from: &str, to: &str) {
    let vocab = file["model"]["vocab"].as_object_mut().unwrap();
    let id = vocab.remove(from).unwrap();
    vocab.insert(to.to_owned(), id);
}

fn template(file: &mut Value) -> &mut Value {
    &mut file["post_processor"]["processors"][1]
}
