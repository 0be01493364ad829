//! Answers of a given form.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{lfm2, ok, refused};

/// A file in a folder of its own.
fn file(name: &str, text: &str) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn an_answer_is_json_of_its_schema() {
    let schema = json!({
        "type": "object", "required": ["city", "country"], "additionalProperties": false,
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "country": {"enum": ["France", "Italy"]},
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
        },
    });
    let (_dir, path) = file("schema.json", &schema.to_string());
    let judge = jsonschema::validator_for(&schema).unwrap();
    for temperature in ["0", "2"] {
        let options = ["--json-schema", &path, "--temperature", temperature, "--seed", "3"];
        let question = ["-q", "generate", "-p", "What is the capital of France?"];
        let answer = ok(&[&question[..], &options[..]].concat());
        let value: Value =
            serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
        assert!(judge.is_valid(&value), "{answer}");
    }
}

#[test]
fn an_answer_follows_a_grammar() {
    let (_dir, path) = file("g.lark", "start: \"yes\" | \"no\"\n");
    let answer = ok(&["-q", "generate", "-p", "Hello!", "--grammar", &path]);
    assert!(["yes\n", "no\n"].contains(&answer.as_str()), "{answer:?}");
    // Without a chat template too.
    let answer = ok(&["-q", "generate", "--raw", "-p", "Hello!", "--grammar", &path]);
    assert!(["yes\n", "no\n"].contains(&answer.as_str()), "{answer:?}");
}

#[test]
fn invalid_schemas_and_grammars_are_refused() {
    let run = |option: &str, name: &str, text: &str, words: &[&str]| {
        let (_dir, path) = file(name, text);
        refused(lfm2(&["-q", "generate", "-p", "x"]).args([option, &path]), words);
    };
    let schema = "--json-schema";
    run(schema, "a.json", r#"{"type": "array", "uniqueItems": true}"#, &["a.json", "uniqueItems"]);
    run(schema, "b.json", r#"{"type": "strin"}"#, &["b.json", "strin"]);
    run(schema, "c.json", "{", &["c.json", "not valid JSON"]);
    run("--grammar", "d.lark", "start: nothing", &["d.lark", "line 1", "nothing"]);
    refused(&mut lfm2(&["-q", "generate", "-p", "x", schema, "/nonexistent"]), &["/nonexistent"]);
    let (_dir, path) = file("e", "{}");
    let both = [schema, path.as_str(), "--grammar", path.as_str()];
    refused(lfm2(&["-q", "generate", "-p", "x"]).args(both), &["--json-schema", "--grammar"]);
}
