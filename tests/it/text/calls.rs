//! Tests of reading answers: tool calls and reasoning, whole and divided anywhere.

use super::{cases, fixture};
use lfm2_wgpu::text::{
    Answer, AnswerFormat, AnswerReader, AnswerStream, Calls, SpecialTokens, StopStrings,
    TextStream, Tokenizer, Tools,
};
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};

#[derive(Deserialize)]
struct Case {
    case: String,
    answer: String,
    /// Names, and arguments as JSON text.
    calls: Vec<(String, String)>,
    #[serde(default)]
    content: String,
    #[serde(default)]
    reasoning: String,
    tools: Option<Vec<Value>>,
}

impl Case {
    fn format(&self) -> AnswerFormat {
        let calls = match &self.tools {
            Some(tools) => Calls::Of(Tools::new(tools).into()),
            None => Calls::Any,
        };
        AnswerFormat { thinks: true, begins_in_reasoning: false, calls }
    }
}

pub fn read(format: &AnswerFormat, pieces: &[&str]) -> Answer {
    let mut reader = AnswerReader::new(format.clone());
    let mut answer = Answer::default();
    pieces.iter().for_each(|piece| answer.append(reader.push(piece)));
    answer.append(reader.finish());
    answer
}

fn golden() -> Vec<Case> {
    let text = String::from_utf8(fixture("tool_calls/cases.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn answers_are_read_as_the_goldens_say() {
    let mut wrong = Vec::new();
    for case in golden() {
        let answer = read(&case.format(), &[&case.answer]);
        let calls = answer.tool_calls.iter().map(|c| (c.name.clone(), c.arguments.clone()));
        let got = (calls.collect::<Vec<_>>(), answer.content, answer.reasoning);
        if got != (case.calls.clone(), case.content.clone(), case.reasoning.clone()) {
            wrong.push(format!("{}: {}\n  got {got:?}", case.case, case.answer));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_division_of_an_answer_does_not_affect_the_result() {
    for case in golden() {
        let (format, text) = (case.format(), case.answer.as_str());
        let whole = read(&format, &[text]);
        let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(1).collect();
        for cut in &cuts {
            let (a, b) = text.split_at(*cut);
            assert_eq!(read(&format, &[a, b]), whole, "{}: cut at {cut}", case.case);
        }
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(read(&format, &single), whole, "{}: by characters", case.case);
    }
}

/// Returned parts are final, so they must be right for each beginning of an answer.
#[test]
fn text_that_may_become_a_call_is_held_back() {
    let tools = [serde_json::json!({"name": "now"})];
    let calls = Calls::Of(Tools::new(&tools).into());
    let format = AnswerFormat { thinks: true, begins_in_reasoning: true, calls };
    let mut reader = AnswerReader::new(format);
    let mut push = |text: &str| {
        let step = reader.push(text);
        (step.reasoning, step.content, step.tool_calls.len())
    };
    let none = || (String::new(), String::new(), 0);
    assert_eq!(push("Hm"), ("Hm".into(), String::new(), 0));
    assert_eq!(push(" \n</thi"), none());
    assert_eq!(push("nk>\n"), none());
    assert_eq!(push("Well"), (String::new(), "Well".into(), 0));
    assert_eq!(push(".\n[no"), (String::new(), ".".into(), 0));
    assert_eq!(push("te] <|tool_call"), (String::new(), "\n[note]".into(), 0));
    assert_eq!(push("_start|>[now()"), none());
    assert_eq!(push("]<|tool_call_end|>"), (String::new(), String::new(), 1));
}

/// Texts of 128 KiB that are meant to be slow. The limit allows for a debug build on a busy machine.
#[test]
fn hostile_answers_take_little_time() {
    let tools = [serde_json::json!({"name": "f", "parameters": {"properties": {"a": {}}}})];
    let of = Calls::Of(Tools::new(&tools).into());
    let start = "<|tool_call_start|>";
    let many = |text: &str| text.repeat((1 << 17) / text.len());
    let texts = [
        many("["),
        many("f("),
        many("[f(a="),
        many("f(a='"),
        many("f(a=x),"),
        many("f(a='x'y'),"),
        many("'\\"),
        many("{"),
        many("{'a':"),
        many("{\"name\":\"f\",\"arguments\":{}},"),
        many("{\"name\":\"f\",\"arguments\":\"{},"),
        many("<function=f><parameter=a>"),
        many("<function=f><parameter=a></parameter> x"),
        many("<tool_call>"),
        many("</tool_call>"),
        many("<think>"),
        many("<think><tool_call></think>"),
        many("<tool_call></tool_call><think>"),
        many("</think>"),
        many("<"),
        many("# x\n"),
        many(" "),
        many("\n"),
        many("a\n"),
        many("[\n"),
        many("[f(a=1\n"),
        many("[f(a='x\n"),
        many("[f(a=[1,\n"),
        many("x</function></tool_call>"),
        many("</parameter></tool_call>"),
        many("a(b=\"\"\""),
        many("a(b=1)"),
        many("**{"),
        many("0x"),
        many("9"),
        many("a"),
        many("a."),
        many(", "),
        many("f(a=['x', "),
        "f(a='x".to_owned() + &many(" 'f(a="),
    ];
    for text in texts {
        for begin in ["", start, "<tool_call>", "[f(a='", "<|tool_call_start|>[f(), "] {
            for calls in [of.clone(), Calls::Any] {
                let format = AnswerFormat { thinks: true, begins_in_reasoning: false, calls };
                let began = Instant::now();
                read(&format, &[begin, &text]);
                let took = began.elapsed();
                assert!(took < Duration::from_secs(5), "{begin}{text:.40}: {took:?}");
            }
        }
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases(256))]
        /// No answer panics or depends on its division. If no calls are read, all of it is content.
        #[test]
        fn any_answer_is_read(
            parts in prop::collection::vec(prop::sample::select(vec![
                "<|tool_call_start|>", "<|tool_call_end|>", "<think>", "</think>", "<tool_call>",
                "</tool_call>", "<function=f>", "<parameter=a>", "</parameter>", "</function>", "[", "]",
                "(", ")", "{", "}", "'", "\"", "\\", "f", "a=", "=", ",", " ", "\n", "1", "é", "😀", "x",
                "{\"name\": \"f\"", "f(a=1)", "[f(a='x')]", ":", "r'", "\"\"\"", "#", "<", "**",
            ]), 0..24),
            given in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let text = parts.concat();
            let tools = [serde_json::json!({"name": "f", "parameters": {"properties": {"a": {}}}})];
            let calls = if given { Calls::Of(Tools::new(&tools).into()) } else { Calls::Any };
            let format = AnswerFormat { thinks: true, begins_in_reasoning: false, calls };
            let whole = read(&format, &[&text]);
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (a, b) = text.split_at(ends[cut.index(ends.len())]);
            prop_assert_eq!(read(&format, &[a, b]), whole);
            prop_assert_eq!(read(&AnswerFormat::default(), &[a, b]).content, text);
        }
    }
}

/// A tokenizer with the markers of reasoning, special or not.
fn thinking(special: bool) -> Tokenizer {
    let mut file: Value =
        serde_json::from_slice(&fixture("tokenizer-small/tokenizer.json")).unwrap();
    for (i, marker) in ["<think>", "</think>"].into_iter().enumerate() {
        file["added_tokens"][16 + i]["content"] = marker.into();
        file["added_tokens"][16 + i]["special"] = special.into();
    }
    Tokenizer::from_json(file.to_string().as_bytes(), 1024).unwrap()
}

#[test]
fn markers_that_are_tokens_are_recognised_by_their_ids() {
    for special in [false, true] {
        let tokenizer = thinking(special);
        let read = |ids: &[u32], specials, stop: &[&str]| {
            let stops = StopStrings::new(stop).unwrap();
            let format = AnswerFormat { thinks: true, ..AnswerFormat::default() };
            let mut stream = AnswerStream::new(&tokenizer, format, specials, stops);
            let mut answer = Answer::default();
            for id in ids {
                let (certain, stopped) = stream.push(*id).unwrap();
                answer.append(certain);
                if stopped {
                    break;
                }
            }
            answer.append(stream.finish());
            (answer.reasoning, answer.content)
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let mut ids = tokenizer.encode("<think>Why é</think>So", false).unwrap();
        let hide = SpecialTokens::Hide;
        assert_eq!(read(&ids, hide, &[]), pair("Why é", "So"));
        assert_eq!(read(&ids, hide, &["</think>"]), pair("Why é", ""));
        assert_eq!(read(&ids, hide, &["y é"]), pair("Wh", ""));
        // After the beginning of the content it is text.
        ids.extend(tokenizer.encode_verbatim("<think>x", false).unwrap());
        assert_eq!(read(&ids, hide, &[]), pair("Why é", "So<think>x"));
        // A text stream shows the markers, special or not.
        let mut stream = TextStream::new(&tokenizer, hide);
        let text: String = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
        assert_eq!(text, "<think>Why é</think>So<think>x");
    }
}
