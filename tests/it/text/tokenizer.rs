//! Compares the tokenizer with `tokenizers` 0.23 on the small fixture.

use super::{TEXTS, small, small_oracle};
use lfm2_wgpu::text::{SpecialTokens, TextError, TextStream};
use proptest::prelude::*;

#[test]
fn ids_equal_those_of_the_reference() {
    let (ours, oracle) = (small(), small_oracle());
    for text in TEXTS {
        for special in [false, true] {
            let expected = oracle.encode(*text, special).unwrap();
            assert_eq!(ours.encode(text, special).unwrap(), expected.get_ids(), "{text:?}");
        }
    }
}

#[test]
fn every_text_is_decoded_unchanged() {
    let ours = small();
    for text in TEXTS {
        let ids = ours.encode(text, true).unwrap();
        assert_eq!(ids[0], 1, "BOS");
        assert_eq!(ours.decode(&ids[1..], false).unwrap(), *text);
    }
}

#[test]
fn the_vocabulary_equals_that_of_the_reference() {
    let (ours, oracle) = (small(), small_oracle());
    assert_eq!(ours.len(), oracle.get_vocab_size(true));
    for id in 0..u32::try_from(ours.len()).unwrap() {
        let text = oracle.id_to_token(id).unwrap();
        assert_eq!(ours.token_text(id), Some(&*text));
        assert_eq!(ours.token_id(&text), Some(id));
        assert!(ours.has_token(id));
        let bytes = oracle.decode(&[id], false).unwrap();
        assert_eq!(String::from_utf8_lossy(ours.token_bytes(id).unwrap()), bytes);
        let special = oracle.decode(&[id], true).unwrap().is_empty();
        assert_eq!(ours.is_special(id), special, "{text}");
    }
    assert_eq!(ours.token_id("no such token"), None);
    assert_eq!(ours.token_bytes(5000), None);
}

#[test]
fn the_mask_holds_exactly_the_ids_with_a_token() {
    let ours = small();
    let mask = ours.token_mask(1000);
    assert_eq!(mask.len(), 32);
    for id in 0..1024u32 {
        let bit = mask[id as usize / 32] >> (id % 32) & 1;
        assert_eq!(bit == 1, ours.has_token(id) && id < 1000, "{id}");
    }
    assert_eq!(ours.token_mask(33)[1], 1);
    assert_eq!(ours.token_mask(0), Vec::<u32>::new());
}

#[test]
fn ids_without_a_token_are_typed_errors() {
    let ours = small();
    let last = u32::try_from(ours.len()).unwrap() - 1;
    for id in [last + 1, 65_535, u32::MAX] {
        let expected = TextError::TokenId { id, last };
        assert_eq!(ours.decode(&[1, id], true), Err(expected.clone()));
        let mut stream = TextStream::new(&ours, SpecialTokens::Hide);
        assert_eq!(stream.push(id), Err(expected));
    }
    assert_eq!(
        ours.decode(&[70_000], true).unwrap_err().to_string(),
        format!("token id 70000 has no token (the tokenizer's ids run from 0 to {last})")
    );
}

#[test]
fn special_tokens_are_hidden_shown_or_only_the_tool_calls() {
    let ours = small();
    let text = "<|im_start|>a<|tool_call_start|>[f()]<|tool_call_end|>b<|im_end|>";
    let ids = ours.encode(text, false).unwrap();
    let shown = |specials| {
        let mut stream = TextStream::new(&ours, specials);
        let mut out: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        out.push_str(&stream.finish());
        out
    };
    assert_eq!(shown(SpecialTokens::Hide), "a[f()]b");
    assert_eq!(shown(SpecialTokens::ToolCalls), "a<|tool_call_start|>[f()]<|tool_call_end|>b");
    assert_eq!(shown(SpecialTokens::Show), text);
}

#[test]
fn a_character_waits_for_its_last_byte() {
    let ours = small();
    // The vocabulary has no token for this character, so it is one token per byte.
    let ids = ours.encode("🦀", false).unwrap();
    assert!(ids.len() > 1);
    let mut stream = TextStream::new(&ours, SpecialTokens::Hide);
    let (last, first) = ids.split_last().unwrap();
    for &id in first {
        assert_eq!(stream.push(id).unwrap(), "");
    }
    assert_eq!(stream.push(*last).unwrap(), "🦀");
    for &id in first {
        stream.push(id).unwrap();
    }
    assert_eq!(stream.finish(), "\u{fffd}");
    assert_eq!(stream.finish(), "");
}

/// Random mixtures of the kinds of text that have broken tokenizers.
pub fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "\\PC{0,8}",
        2 => "[a-zA-Z']{1,10}",
        2 => "[ \t\r\n\u{a0}\u{3000}]{1,6}",
        1 => "[0-9٠-٩½]{1,8}",
        1 => "[一-鿿ぁ-ヿ가-힣]{1,6}",
        1 => "\\p{Any}{0,4}",
        1 => prop::sample::select(TEXTS).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["python", "<|im_end|>", "<|im", "|>", "'s", "'LL"])
            .prop_map(str::to_owned),
        1 => ("[a-c ]", 1usize..200).prop_map(|(c, n)| c.repeat(n)),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_texts_have_the_reference_ids(text in any_text()) {
        thread_local!(static BOTH: (lfm2_wgpu::text::Tokenizer, tokenizers_oracle::Tokenizer) =
            (small(), small_oracle()));
        BOTH.with(|(ours, oracle)| {
            let ids = ours.encode(&text, false).unwrap();
            let expected = oracle.encode(text.as_str(), false).unwrap();
            prop_assert_eq!(&ids[..], expected.get_ids());
            prop_assert_eq!(ours.decode(&ids, false).unwrap(), text.clone());
            Ok(())
        })?;
    }

    #[test]
    fn streamed_text_equals_decoded_text(ids in prop::collection::vec(0u32..944, 0..60)) {
        thread_local!(static OURS: lfm2_wgpu::text::Tokenizer = small());
        thread_local!(static ORACLE: tokenizers_oracle::Tokenizer = small_oracle());
        OURS.with(|ours| {
            for (specials, skip) in [(SpecialTokens::Hide, true), (SpecialTokens::Show, false)] {
                let decoded = ours.decode(&ids, skip).unwrap();
                let expected = ORACLE.with(|oracle| oracle.decode(&ids, skip).unwrap());
                prop_assert_eq!(&decoded, &expected);
                let mut stream = TextStream::new(ours, specials);
                let mut text = String::new();
                for &id in &ids {
                    text.push_str(&stream.push(id).unwrap());
                }
                text.push_str(&stream.finish());
                prop_assert_eq!(text, decoded);
            }
            Ok(())
        })?;
    }
}
