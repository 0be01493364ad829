//! Tests that supported tokenizers other than LFM2's give the reference's ids.

use super::{TEXTS, fixture, tokenizer::any_text};
use lfm2_wgpu::text::Tokenizer;
use serde_json::{Value, json};

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn split(regex: &str, behavior: &str, invert: bool) -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})
}

/// Loads a changed small file here and in the reference, and compares the ids.
fn same_ids(change: impl Fn(&mut Value), more: &[&str]) {
    let mut file: Value =
        serde_json::from_slice(&fixture("tokenizer-small/tokenizer.json")).unwrap();
    change(&mut file);
    let file = file.to_string();
    let ours = Tokenizer::from_json(file.as_bytes(), 1024).unwrap();
    let oracle = tokenizers_oracle::Tokenizer::from_bytes(file.as_bytes()).unwrap();
    let check = |text: &str| {
        for special in [false, true] {
            let ids = ours.encode(text, special).unwrap();
            let expected = oracle.encode(text, special).unwrap();
            assert_eq!(ids, expected.get_ids(), "{text:?}");
            assert_eq!(
                ours.decode(&ids, special).unwrap(),
                oracle.decode(&ids, special).unwrap(),
                "{text:?}"
            );
        }
    };
    TEXTS.iter().chain(more).for_each(|text| check(text));
    let mut runner = proptest::test_runner::TestRunner::new(super::cases(200));
    runner
        .run(&any_text(), |text| {
            check(&text);
            Ok(())
        })
        .unwrap();
}

#[test]
fn qwen2_splits_digit_by_digit() {
    same_ids(|t| t["pre_tokenizer"] = split(QWEN2, "Isolated", false), &["2024 ٣٤ １２"]);
}

#[test]
fn gpt2_needs_no_split() {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    same_ids(|t| t["pre_tokenizer"] = byte_level.clone(), &["don't DON'T 1234 abc"]);
}

#[test]
fn o200k_splits_by_case() {
    same_ids(
        |t| t["pre_tokenizer"] = split(O200K, "Isolated", false),
        &["camelCase HTTPServer it's IT'S a/b//\n/c"],
    );
}

#[test]
fn removed_and_inverted_means_isolated() {
    let llama3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|");
    same_ids(|t| t["pre_tokenizer"] = split(&llama3, "Removed", true), &[]);
}

#[test]
fn whole_entries_win_if_merges_are_ignored() {
    same_ids(
        |t| {
            t["model"]["ignore_merges"] = json!(true);
            // An entry that no merge produces.
            t["model"]["vocab"]["Ġzebra"] = json!(1000);
            t["added_tokens"].as_array_mut().unwrap().truncate(15);
        },
        &["a zebra", "zebra zebras"],
    );
}

#[test]
fn merges_may_be_written_as_one_string() {
    same_ids(
        |t| {
            for merge in t["model"]["merges"].as_array_mut().unwrap() {
                let [left, right] = [0, 1].map(|i| merge[i].as_str().unwrap().to_owned());
                *merge = json!(format!("{left} {right}"));
            }
        },
        &[],
    );
}

#[test]
fn added_tokens_may_strip_the_space_around_them() {
    let token = |strip_left: bool, strip_right: bool, normalized: bool| {
        move |t: &mut Value| {
            let added = &mut t["added_tokens"][16];
            added["content"] = json!("<mask>");
            added["lstrip"] = json!(strip_left);
            added["rstrip"] = json!(strip_right);
            added["normalized"] = json!(normalized);
        }
    };
    let texts = [
        "a <mask> b",
        "<mask><mask>",
        "  <mask>  ",
        "a\n\t<mask>\u{3000}\u{a0}x",
        "<mask> <|im_end|> <mask>",
        "python <mask> python",
        " <mask",
        "é<mask>é",
    ];
    for (left, right) in [(true, false), (false, true), (true, true)] {
        for normalized in [false, true] {
            same_ids(token(left, right, normalized), &texts);
        }
    }
}

#[test]
fn overlapping_added_tokens_are_matched_longest_first() {
    same_ids(
        |t| {
            for (i, content) in ["<a>", "<a><b>", "<b><a>", "thon?"].into_iter().enumerate() {
                t["added_tokens"][16 + i]["content"] = json!(content);
            }
        },
        &["<a><b><a>", "<a><b", "<b><a><b>", "xx<a><a><b>", "python pythonthon? th thon?"],
    );
}

#[test]
fn templates_may_end_a_text_too() {
    same_ids(
        |t| {
            let template = &mut t["post_processor"]["processors"][1];
            let end = json!({"SpecialToken": {"id": "<|im_end|>", "type_id": 0}});
            template["single"].as_array_mut().unwrap().push(end);
            template["special_tokens"]["<|im_end|>"] =
                json!({"id": "<|im_end|>", "ids": [7], "tokens": ["<|im_end|>"]});
        },
        &[],
    );
    same_ids(|t| t["post_processor"] = json!(null), &[]);
}
