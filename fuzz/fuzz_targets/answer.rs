//! A model's answer, whole and cut anywhere: reasoning, content and tool calls, with and without a list
//! of tools.
//!
//! Input: a byte of options, a byte that decides the cuts, then the answer, or the files `answer` and
//! `tools.json`.
#![no_main]

use std::sync::{Arc, LazyLock};

use lfm2_fuzz::{files, held, one_line};
use lfm2_wgpu::text::{
    Answer, AnswerFormat, AnswerReader, AnswerStream, Calls, Conversation, SpecialTokens,
    StopStrings, TOOL_CALL_MARKERS, Tokenizer, Tools, tool_calls,
};
use serde_json::{Value, json};

/// Longest answer that is also read character by character and token by token.
const MAX_STEPS: usize = 4096;
const MARKS: [&str; 7] = [
    TOOL_CALL_MARKERS[0],
    TOOL_CALL_MARKERS[1],
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<function=",
];

/// The demonstration model's: tool call marks are tokens, the others are text.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let json = include_bytes!("../../assets/demo/tokenizer.json");
    Tokenizer::from_json(json, 2688).expect("the demonstration model's tokenizer")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[options, cuts], rest)) = data.split_first_chunk::<2>() else { return };
    LazyLock::force(&TOKENIZER);
    let files = files::split(rest, "answer");
    let text = String::from_utf8_lossy(files::find(&files, "answer").unwrap_or_default());
    let tools = files::find(&files, "tools.json").and_then(|json| serde_json::from_slice(json).ok());
    let tools: Vec<Value> = tools.unwrap_or_else(known_tools);
    held(|| {
        let answer = check(&text, &format(options, &tools), cuts);
        if options >> 2 & 3 > 1 {
            check_names(&answer, &tools);
        }
    });
});

fn format(options: u8, tools: &[Value]) -> AnswerFormat {
    let calls = match options >> 2 & 3 {
        0 => Calls::InText,
        1 => Calls::Any,
        _ => Calls::Of(Arc::new(Tools::new(tools))),
    };
    AnswerFormat { thinks: options & 1 != 0, begins_in_reasoning: options & 2 != 0, calls }
}

fn known_tools() -> Vec<Value> {
    let properties = json!({
        "a": {}, "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"},
        "b": {"type": "boolean"}, "o": {"type": "object"}, "l": {"type": "array"},
    });
    vec![
        json!({"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}),
        json!({"name": "now"}),
    ]
}

fn check(text: &str, format: &AnswerFormat, cuts: u8) -> Answer {
    let whole = read(format, [text]);
    assert_eq!(read(format, pieces(text, cuts)), whole, "read in pieces");
    if text.len() <= MAX_STEPS {
        let chars = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);
        assert_eq!(read(format, chars), whole, "read by characters");
        check_tokens(text, format, &whole);
    }
    check_text(text, format, &whole);
    check_calls(text, format, &whole);
    check_message(&whole);
    if *format == AnswerFormat::default().with_any_calls() {
        assert_eq!(tool_calls(text), whole.tool_calls);
    }
    whole
}

fn read<'a>(format: &AnswerFormat, pieces: impl IntoIterator<Item = &'a str>) -> Answer {
    let mut reader = AnswerReader::new(format.clone());
    let mut answer = Answer::default();
    for piece in pieces {
        answer.append(reader.push(piece));
    }
    answer.append(reader.finish());
    answer
}

/// The text in pieces of up to 31 characters, whose lengths follow from `seed`.
fn pieces(text: &str, seed: u8) -> Vec<&str> {
    let mut state = u32::from(seed);
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let chars = (state >> 24) as usize % 32;
        let end = rest.char_indices().nth(chars).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// `lfm2 tokenize --parse`: the same answer from tokens. Other special tokens are not in the text then.
fn check_tokens(text: &str, format: &AnswerFormat, whole: &Answer) {
    let [start, end] = TOOL_CALL_MARKERS;
    if text.replace(start, " ").replace(end, " ").contains("<|") {
        return;
    }
    let ids = TOKENIZER.encode(text, false).expect("any text has tokens");
    let stops = StopStrings::default();
    let mut stream = AnswerStream::new(&TOKENIZER, format.clone(), SpecialTokens::Hide, stops);
    let mut answer = Answer::default();
    for id in ids {
        let (certain, stopped) = stream.push(id).expect("an id of the tokenizer");
        assert!(!stopped, "stopped without a stop string");
        answer.append(certain);
    }
    answer.append(stream.finish());
    // Without tool calls their marks, which are special tokens, are hidden.
    if format.calls != Calls::InText || !(text.contains(start) || text.contains(end)) {
        assert_eq!(answer, *whole, "read by tokens");
    }
}

/// The output has no text that the answer lacks. Only marks, white space and the text of calls are left out.
fn check_text(text: &str, format: &AnswerFormat, answer: &Answer) {
    let out = format!("{}{}", answer.reasoning, answer.content);
    if answer.tool_calls.is_empty() {
        let marked = MARKS.iter().any(|mark| text.contains(mark));
        let thinks = format.thinks && format.begins_in_reasoning;
        if !thinks && (!marked || format.calls == Calls::InText && !format.thinks) {
            assert_eq!(answer.content, text, "plain text changed");
        }
        // An empty list of calls goes, its comments with it.
        let calls = format.calls != Calls::InText;
        if !(calls && text.contains('#')) {
            assert_eq!(rest(&out, calls), rest(text, calls), "text was lost");
        }
    }
    let mut source = text.chars();
    for c in out.chars().filter(|c| !c.is_whitespace()) {
        assert!(source.any(|other| other == c), "{c:?} is not in the answer at its place: {out:?}");
    }
}

/// The text without characters that marks, and lists around calls, consist of.
fn rest(text: &str, calls: bool) -> String {
    let of_marks = |c: &char| !MARKS.iter().any(|mark| mark.contains(*c));
    let of_lists = |c: &char| !calls || !"[],;\u{feff}".contains(*c);
    text.chars().filter(|c| !c.is_whitespace()).filter(of_marks).filter(of_lists).collect()
}

fn check_calls(text: &str, format: &AnswerFormat, answer: &Answer) {
    assert!(answer.tool_calls.is_empty() || format.calls != Calls::InText, "a call was read");
    for call in &answer.tool_calls {
        assert!(call.arguments.starts_with('{'), "not an object: {}", call.arguments);
        let valid = serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments);
        assert!(valid.is_ok(), "not JSON: {}", call.arguments);
        assert!(text.contains('\\') || text.contains(&call.name), "{:?} was invented", call.name);
    }
}

/// Only calls of the listed tools are read.
fn check_names(answer: &Answer, tools: &[Value]) {
    let name = |tool: &Value| {
        let function = tool.get("function").filter(|f| f.is_object()).unwrap_or(tool);
        function.get("name").and_then(Value::as_str).map(str::to_owned)
    };
    let names: Vec<String> = tools.iter().filter_map(name).collect();
    for call in &answer.tool_calls {
        assert!(names.contains(&call.name), "{:?} is not in the list of tools", call.name);
    }
}

/// An answer can be sent back as a message of the conversation's history.
fn check_message(answer: &Answer) {
    let message = answer.to_message();
    let calls = message.get("tool_calls").and_then(Value::as_array).map_or(0, Vec::len);
    assert_eq!(calls, answer.tool_calls.len());
    let chat = json!([{"role": "user", "content": "Hi"}, message]).to_string();
    if let Err(error) = Conversation::from_json(&chat) {
        one_line(&error);
        panic!("the history refuses the answer: {error}");
    }
}
