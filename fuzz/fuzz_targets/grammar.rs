//! Schemas, regular expressions, Lark grammars and lists of tools, and random answers that they allow.
//!
//! Input: a byte for the kind of structure, a byte for the options of the answer, a byte for the choice of its tokens,
//! then the structure's text.
#![no_main]

use std::sync::{Arc, LazyLock};

use lfm2_fuzz::{held, one_line};
use lfm2_wgpu::grammar::{Grammars, Llguidance, Matcher, Structure, ToolCalls, ToolChoice};
use lfm2_wgpu::text::{
    Answer, AnswerFormat, AnswerStream, CallForm, Calls, SpecialTokens, StopStrings, Tokenizer, Tools,
};
use serde_json::Value;

/// Tokens of a random answer.
const MOST: usize = 24;
/// Token that ends an answer: `<|im_end|>`.
const END: u32 = 7;

/// The demonstration model's: tool call marks are tokens, the others are text.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let json = include_bytes!("../../assets/demo/tokenizer.json");
    Tokenizer::from_json(json, 2688).expect("the demonstration model's tokenizer")
});
static GRAMMARS: LazyLock<Grammars> =
    LazyLock::new(|| Grammars::new(&Llguidance, &TOKENIZER, &[2, END]).expect("it has end tokens"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[kind, options, seed], rest)) = data.split_first_chunk::<3>() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    LazyLock::force(&GRAMMARS);
    let json = || serde_json::from_str::<Value>(text).ok();
    let tools: Option<Vec<Value>> = match (kind % 4, json()) {
        (3, Some(Value::Array(tools))) => Some(tools),
        (3, _) => return,
        _ => None,
    };
    let structure = match (kind % 4, &tools) {
        (0, _) => json().map(Structure::JsonSchema),
        (1, _) => Some(Structure::Lark(text.to_owned())),
        (2, _) => Some(Structure::Regex(text.to_owned())),
        (_, Some(tools)) => Some(Structure::Calls(ToolCalls {
            tools: tools.clone(),
            choice: if options & 8 == 0 { ToolChoice::Required } else { ToolChoice::Auto },
            parallel: options & 16 != 0,
            content: None,
        })),
        (_, None) => None,
    };
    let Some(structure) = structure else { return };
    let calls = tools.map_or(Calls::InText, |tools| Calls::Of(Arc::new(Tools::new(&tools))));
    let format = AnswerFormat { thinks: options & 1 != 0, begins_in_reasoning: options & 2 != 0, calls };
    let form = if options & 4 == 0 { CallForm::Python } else { CallForm::Xml };
    held(|| match GRAMMARS.compile(&structure, &format, Some(form)) {
        Ok(grammar) => walk(grammar.matcher(), &structure, &format, seed),
        Err(error) => one_line(&error),
    });
});

/// Draws an answer.
fn walk(mut matcher: Matcher, structure: &Structure, format: &AnswerFormat, seed: u8) {
    let (mut answer, mut state) = (Vec::new(), u32::from(seed));
    for _ in 0..MOST {
        let mask = match matcher.mask_after(&answer) {
            Ok(mask) => mask,
            Err(error) => return one_line(&error),
        };
        let has = |id: &u32| mask.get(*id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 != 0);
        let allowed: Vec<u32> = (0..mask.len() as u32 * 32).filter(has).collect();
        assert!(!allowed.is_empty(), "nothing is allowed");
        let unknown = allowed.iter().find(|id| !TOKENIZER.has_token(**id));
        assert!(unknown.is_none(), "{unknown:?} has no token");
        assert_eq!(has(&2), has(&END), "one end only");
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if has(&END) && (state & 256 != 0 || allowed.len() == 2) {
            return check(structure, format, &answer);
        }
        answer.push(allowed[(state >> 16) as usize % allowed.len()]);
        if matches!(answer.last(), Some(2 | 7)) {
            return;
        }
    }
}

/// A complete answer is JSON of the schema, or calls of the tools.
fn check(structure: &Structure, format: &AnswerFormat, ids: &[u32]) {
    let stops = StopStrings::default();
    let mut stream = AnswerStream::new(&TOKENIZER, format.clone(), SpecialTokens::Hide, stops);
    let mut answer = Answer::default();
    for id in ids {
        answer.append(stream.push(*id).expect("an id of the tokenizer").0);
    }
    answer.append(stream.finish());
    match structure {
        Structure::JsonSchema(_) => {
            let valid = serde_json::from_str::<serde::de::IgnoredAny>(&answer.content);
            assert!(valid.is_ok(), "not JSON: {:?}", answer.content);
        }
        Structure::Calls(calls) if calls.choice == ToolChoice::Required => {
            assert!(!answer.tool_calls.is_empty(), "no call: {answer:?}");
            assert_eq!(answer.content, "", "text beside the calls");
        }
        _ => {}
    }
}
