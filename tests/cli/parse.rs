//! `tokenize --parse` for raw answers, and `--chat-template`.

use super::{lfm2, ok, refused};
use serde_json::{Value, json};
use tempfile::TempDir;

fn parse(args: &[&str]) -> Value {
    let out = ok(&[&["tokenize"], args].concat());
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_raw_answer_becomes_a_message() {
    assert_eq!(parse(&["--parse", "- Hello"]), json!({"role": "assistant", "content": "- Hello"}));
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let answer =
        "Let me look.\n<|tool_call_start|>[f(id=12345678901234567890), g(a=oops)]<|tool_call_end|>";
    let message = json!({"role": "assistant", "content": "Let me look.\ng(a=oops)",
        "tool_calls": [call("call_1", "f", "{\"id\":12345678901234567890}")]});
    assert_eq!(parse(&["--parse", answer]), message);
    let folder = TempDir::new().unwrap();
    let answer = file(
        &folder,
        "answer.txt",
        "<tool_call>\n<function=f>\n<parameter=n>\n2\n</parameter>\n</function>\n</tool_call>",
    );
    let tools = "\u{feff}[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"n\": {\"type\": \"integer\"}}}}}]";
    let tools = file(&folder, "tools.json", tools);
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call("call_1", "f", "{\"n\":2}")]});
    assert_eq!(parse(&["--parse", &format!("@{answer}"), "--tools", &tools]), message);
    // Only the given tools can be called.
    let other = "<|tool_call_start|>[g()]<|tool_call_end|>";
    let message = parse(&["--parse", other, "--tools", &tools]);
    assert_eq!(message, json!({"role": "assistant", "content": other}));
    assert_eq!(
        parse(&["--parse", "[f(n=1)]", "--tools", &tools])["tool_calls"][0]["function"]["arguments"],
        "{\"n\":1}"
    );
    refused(&mut lfm2(&["tokenize", "--parse", "x", "--tools", &answer]), &["answer.txt", "JSON"]);
    refused(&mut lfm2(&["tokenize", "x", "--tools", &tools]), &["--tools"]);
    refused(&mut lfm2(&["tokenize", "--parse", "x", "--chat", &tools]), &["--chat"]);
}

#[test]
fn another_template_sets_the_format_of_prompts_and_answers() {
    let folder = TempDir::new().unwrap();
    let template = file(
        &folder,
        "t.jinja",
        "{# </think> #}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}assistant:<think>{% endif %}",
    );
    let chat = file(
        &folder,
        "chat.json",
        r#"[{"role": "user", "content": "Hi \ud83d"}, {"role": "assistant", "content": null, "reasoning_content": "why", "tool_calls": [{"function": {"name": "f", "arguments": "{\"a\": 1}"}}]}]"#,
    );
    let rendered = parse(&["--chat", &chat, "--chat-template", &template]);
    let text = "user:Hi \u{fffd};assistant:<think>why</think><|tool_call_start|>[f(a=1)]<|tool_call_end|>;assistant:<think>";
    assert_eq!(rendered["text"], text);
    let message = parse(&["--parse", "Hm.</think>\nYes", "--chat-template", &template]);
    assert_eq!(message, json!({"role": "assistant", "content": "Yes", "reasoning_content": "Hm."}));
    // The demonstration model has no reasoning.
    assert_eq!(parse(&["--parse", "<think>x</think>"])["content"], "<think>x</think>");
    let broken = file(&folder, "broken.jinja", "{% for %}");
    let mut command = lfm2(&["tokenize", "--chat", &chat, "--chat-template", &broken]);
    refused(&mut command, &["--chat-template", "broken.jinja", "line 1"]);
}
