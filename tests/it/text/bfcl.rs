//! Reads answers of the Berkeley Function Calling Leaderboard back: a sample, or, with LFM2_BFCL, the
//! file that `tools/bfcl_round_trip.py` wrote.

use super::{calls::read, fixture};
use lfm2_wgpu::text::{Answer, AnswerFormat, Calls};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Line {
    python: String,
    json: String,
    calls: Vec<(String, Map<String, Value>)>,
}

#[test]
fn published_answers_are_read_back() {
    let text = match std::env::var_os("LFM2_BFCL") {
        Some(path) => std::fs::read_to_string(path).unwrap(),
        None => String::from_utf8(fixture("tool_calls/bfcl_sample.jsonl")).unwrap(),
    };
    let format = AnswerFormat { calls: Calls::Any, ..AnswerFormat::default() };
    let (mut answers, mut calls) = (0, 0);
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let expected: Vec<(String, Map<String, Value>)> = line.calls;
        for form in [&line.python, &line.json] {
            let Answer { content, tool_calls, .. } = read(&format, &[form]);
            let read = tool_calls
                .iter()
                .map(|call| (call.name.clone(), serde_json::from_str(&call.arguments).unwrap()));
            let read: Vec<(String, Map<String, Value>)> = read.collect();
            assert_eq!((read, content.as_str()), (expected.clone(), ""), "{form}");
        }
        answers += 1;
        calls += expected.len();
    }
    println!("{answers} answers, {calls} calls, each in Python and in JSON");
    assert!(answers >= 50);
}
