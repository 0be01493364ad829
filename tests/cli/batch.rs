//! `lfm2 batch`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{lfm2, ok};

fn request(id: &str, text: &str, more: Value) -> String {
    let mut body = json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": 8,
        "temperature": 0 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let line = json!({ "custom_id": id, "method": "POST", "url": "/v1/chat/completions",
        "body": body });
    format!("{line}\n")
}

fn answers(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n') || text.is_empty(), "{text:?}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = lfm2(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Every request gets one line: the answer that `generate` gives, or its error.
#[test]
fn a_batch_answers_every_line() {
    let dir = tempfile::TempDir::new().unwrap();
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    let questions = ["What is 2 + 3?", "Hello!", "Tell me a joke", "What is 9 - 4?", "Hi"];
    let mut lines: String = (0..)
        .zip(questions)
        .map(|(i, text)| request(&format!("q{i}"), text, json!({ "model": "demo" })))
        .collect();
    lines += &request("scored", "Hello!", json!({ "logprobs": true, "top_logprobs": 2 }));
    lines += &request("field", "Hi", json!({ "colour": 1 }));
    lines += &request("model", "Hi", json!({ "model": "other" }));
    lines += &request("long", &"word ".repeat(3000), json!({}));
    lines += &request("stream", "Hi", json!({ "stream": true }));
    std::fs::write(&input, format!("{lines}\n")).unwrap();
    let (input, out) = (input.to_str().unwrap(), output.to_str().unwrap());
    let (code, err) = run(&["batch", input, out, "--parallel", "3"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("10 requests, 4 of them failed; "), "{err}");
    let all = answers(&output);
    assert_eq!(all.len(), 10);
    let of = |id: &str| all.iter().find(|line| line["custom_id"] == id).unwrap();
    for (i, text) in (0..).zip(questions) {
        let response = &of(&format!("q{i}"))["response"];
        assert_eq!(response["status_code"], 200, "{response}");
        let choice = &response["body"]["choices"][0];
        let want = ok(&["-q", "generate", "-p", text, "-n", "8", "--temp", "0"]);
        assert_eq!(choice["message"]["content"].as_str().unwrap(), want.trim_end_matches('\n'));
        assert_eq!(response["body"]["object"], "chat.completion");
        assert!(response["body"]["usage"]["completion_tokens"].as_u64().unwrap() <= 8);
    }
    // The log-probabilities of a greedy answer: the bytes of its tokens are the text, and each is the likeliest.
    let body = &of("scored")["response"]["body"];
    let choice = &body["choices"][0];
    let content = choice["logprobs"]["content"].as_array().unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let mut bytes = Vec::new();
    for one in content {
        bytes.extend(one["bytes"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u8));
        let top = one["top_logprobs"].as_array().unwrap();
        assert_eq!((top.len(), &top[0]["token"]), (2, &one["token"]));
        assert!(
            number(&top[0]["logprob"]) >= number(&top[1]["logprob"])
                && number(&one["logprob"]) <= 0.0
        );
    }
    assert_eq!(String::from_utf8(bytes).unwrap(), choice["message"]["content"].as_str().unwrap());
    assert!(of("q1")["response"]["body"]["choices"][0]["logprobs"].is_null());
    for (id, param, code) in [
        ("field", json!("colour"), "invalid_request"),
        ("model", json!("model"), "invalid_request"),
        ("long", Value::Null, "context_length_exceeded"),
        ("stream", json!("stream"), "invalid_request"),
    ] {
        let response = &of(id)["response"];
        let error = &response["body"]["error"];
        assert_eq!(response["status_code"], 400, "{id}");
        assert_eq!((&error["param"], &error["code"]), (&param, &json!(code)), "{error}");
    }
}

/// A run that is killed continues: nothing is lost or answered twice, and an incomplete line is answered again.
#[cfg(unix)]
#[test]
fn a_killed_batch_continues() {
    let dir = tempfile::TempDir::new().unwrap();
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    let lines: String = (0..96)
        .map(|i| request(&format!("q{i}"), &format!("What is {i} + 7?"), json!({})))
        .collect();
    std::fs::write(&input, &lines).unwrap();
    let args = ["batch", input.to_str().unwrap(), output.to_str().unwrap(), "--parallel", "2"];
    let mut child = lfm2(&args).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while std::fs::metadata(&output).map_or(0, |there| there.len()) < 2000 {
        assert!(started.elapsed() < Duration::from_secs(120), "no answers");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = answers(&output);
    assert!(!before.is_empty() && before.len() < 96, "{}", before.len());
    // As if it had been killed in the middle of a line.
    let text = std::fs::read_to_string(&output).unwrap();
    std::fs::write(&output, &text[..text.len() - 9]).unwrap();
    let (code, err) = run(&args);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains(&format!("{} requests were answered before", before.len() - 1)), "{err}");
    let mut ids: Vec<String> =
        answers(&output).iter().map(|l| l["custom_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    let mut want: Vec<String> = (0..96).map(|i| format!("q{i}")).collect();
    want.sort();
    assert_eq!(ids, want);
    // Nothing is left to do, so no model is loaded.
    let whole = std::fs::read(&output).unwrap();
    assert_eq!(run(&args).0, Some(0));
    assert_eq!(std::fs::read(&output).unwrap(), whole);
    // Another question under the same name, and a file of another kind.
    std::fs::write(&input, lines.replace("+ 7", "+ 8")).unwrap();
    let (code, err) = run(&args);
    assert!(code == Some(2) && err.contains("out.jsonl:1: answers a request that "), "{err}");
    for notes in ["my notes\n{}\n", "my notes\n", "my notes", "{}"] {
        std::fs::write(&output, notes).unwrap();
        let (code, err) = run(&args);
        assert!(code == Some(2) && err.contains("out.jsonl:1: "), "{notes:?}: {err}");
        assert_eq!(std::fs::read_to_string(&output).unwrap(), notes);
    }
}

#[test]
fn bad_batch_files_are_refused_before_a_model_is_loaded() {
    let dir = tempfile::TempDir::new().unwrap();
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    let good = request("a", "Hi", json!({}));
    for (text, problem) in [
        (String::new(), "has no requests"),
        ("{\n".to_owned(), "in.jsonl:1: not a request as JSON: "),
        (format!("{good}{{}}\n"), "in.jsonl:2: custom_id: is missing"),
        (format!("{good}[]\n"), "in.jsonl:2: not a request as JSON: "),
        (format!("{good}{good}"), "in.jsonl:2: custom_id: \"a\" is that of line 1 too"),
        (good.replace("POST", "GET"), "method: is \"GET\", need \"POST\""),
        (good.replace("chat/completions", "embeddings"), "url: is \"/v1/embeddings\", need "),
        (json!({ "custom_id": "a" }).to_string(), "body: is missing"),
    ] {
        std::fs::write(&input, &text).unwrap();
        let (code, err) = run(&["batch", input.to_str().unwrap(), output.to_str().unwrap()]);
        assert!(code == Some(2) && err.contains(problem), "{text:?}: {err}");
        assert!(!output.exists());
    }
    std::fs::write(&input, good).unwrap();
    let (code, err) = run(&["batch", input.to_str().unwrap(), dir.path().to_str().unwrap()]);
    assert!(code == Some(2) && err.contains("is not a regular file"), "{err}");
}
