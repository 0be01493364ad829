//! Tool calls as clients assemble them from streams.

use super::*;
use crate::text::Tools;

/// A case of tests/fixtures/tool_calls.
#[derive(serde::Deserialize)]
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

/// A message as OpenAI's clients assemble it: calls by their index, and ids and names once.
fn assembled(chunks: &[Value], case: &str) -> (Vec<(String, String)>, String, String, Value) {
    let mut calls: Vec<(String, String)> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let (mut content, mut reasoning, mut finish) = (String::new(), String::new(), Value::Null);
    for chunk in chunks {
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        content.push_str(delta["content"].as_str().unwrap_or_default());
        reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            let arguments = call["function"]["arguments"].as_str().unwrap();
            match call["id"].as_str() {
                Some(id) => {
                    assert_eq!((index, &call["type"]), (calls.len(), &json!("function")), "{case}");
                    assert!(ids.insert(id.to_owned()), "{case}: {id} twice");
                    let name = call["function"]["name"].as_str().unwrap();
                    calls.push((name.to_owned(), arguments.to_owned()));
                }
                None => {
                    assert!(call["function"].get("name").is_none(), "{case}: a name twice");
                    calls[index].1.push_str(arguments);
                }
            }
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
    }
    (calls, content, reasoning, finish)
}

/// All golden answers, whole, divided at every character, and by characters.
#[test]
fn streamed_calls_are_assembled_as_the_goldens_say() {
    let text = include_str!("../../../tests/fixtures/tool_calls/cases.jsonl");
    let cases: Vec<Case> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() >= 60);
    let server = Server::new(ServerOptions::default());
    let script = Scripted { engine: engine(), script: Mutex::default() };
    let script = Arc::new(script);
    server.ready_with(engine(), script.clone());
    let request = chat(json!({ "stream": true, "tools": [{ "name": "f" }] })).to_string();
    let whole_request = chat(json!({ "tools": [{ "name": "f" }] })).to_string();
    run(async {
        for case in cases {
            let calls = match &case.tools {
                Some(tools) => Calls::Of(Tools::new(tools).into()),
                None => Calls::Any,
            };
            let format = AnswerFormat { thinks: true, begins_in_reasoning: false, calls };
            let answer = case.answer.as_str();
            let cuts = answer.char_indices().map(|(at, _)| at).skip(1);
            let mut scripts: Vec<Vec<String>> =
                cuts.map(|at| vec![answer[..at].to_owned(), answer[at..].to_owned()]).collect();
            scripts.push(vec![answer.to_owned()]);
            scripts.push(answer.chars().map(String::from).collect());
            let reason = if case.calls.is_empty() { "stop" } else { "tool_calls" };
            let expected =
                (case.calls.clone(), case.content.clone(), case.reasoning.clone(), json!(reason));
            for pieces in scripts {
                *script.script.lock().unwrap() = (format.clone(), pieces.clone());
                let (status, _, body) =
                    send(&server, post("/v1/chat/completions", request.clone())).await;
                assert_eq!(status, 200, "{}: {body}", case.case);
                let got = assembled(&events(&body), &case.case);
                assert_eq!(got, expected, "{}: {pieces:?}", case.case);
            }
            let (_, reply) =
                json_of(&server, post("/v1/chat/completions", whole_request.clone())).await;
            let message = &reply["choices"][0]["message"];
            let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
                let function = &call["function"];
                let text = |key: &str| function[key].as_str().unwrap().to_owned();
                (text("name"), text("arguments"))
            });
            assert_eq!(calls.collect::<Vec<_>>(), case.calls, "{}", case.case);
            assert_eq!(message["content"].as_str().unwrap_or_default(), case.content);
            assert_eq!(reply["choices"][0]["finish_reason"], reason, "{}", case.case);
        }
    });
}
