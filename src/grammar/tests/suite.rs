//! Draft 4 of the JSON Schema Test Suite.

use std::fs;
use std::path::Path;

use jsonschema::Draft;
use serde_json::Value;

use super::GRAMMARS;
use super::walk::{Random, accepts, walk};
use crate::grammar::Structure;
use crate::text::AnswerFormat;

/// Random answers to each schema.
const ANSWERS: usize = 50;
/// Most tokens of a random answer.
const MOST: usize = 60;

/// Whether a value has a number whose multiples a judge cannot compute with floats.
fn is_inexact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|float| float.abs() > 1e15),
        Value::Array(items) => items.iter().any(is_inexact),
        Value::Object(fields) => fields.values().any(is_inexact),
        _ => false,
    }
}

/// serde_json reads `-0` as a float, which is no integer in draft 4.
fn without_negative_zero(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => 0.into(),
        Value::Array(items) => items.into_iter().map(without_negative_zero).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, without_negative_zero(value))).collect()
        }
        other => other,
    }
}

/// Every accepted schema allows valid JSON only. The shares are for the reader: a schema that cannot be enforced is
/// refused, and a valid instance may be.
#[test]
fn schemas_that_are_accepted_allow_only_valid_json() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/json_schema/draft4");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mut schemas, mut accepted, mut drawn) = (0, 0, 0);
    let (mut valid, mut valid_accepted, mut invalid) = (0, 0, 0);
    let mut random = Random(4);
    for file in files {
        let groups: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for group in groups {
            let schema = &group["schema"];
            let judge = jsonschema::options()
                .with_draft(Draft::Draft4)
                .should_validate_formats(true)
                .build(schema);
            // One schema refers to the draft's own address.
            let Ok(judge) = judge else { continue };
            schemas += 1;
            let structure = Structure::JsonSchema(schema.clone());
            let Ok(grammar) = GRAMMARS.compile(&structure, &AnswerFormat::default(), None) else {
                continue;
            };
            accepted += 1;
            for test in group["tests"].as_array().unwrap() {
                let data = &test["data"];
                let taken = accepts(&GRAMMARS, &grammar, &data.to_string());
                match test["valid"].as_bool().unwrap() {
                    true => {
                        (valid, valid_accepted) = (valid + 1, valid_accepted + usize::from(taken))
                    }
                    false => {
                        invalid += 1;
                        assert!(!taken, "{}: {schema} {data}", group["description"]);
                    }
                }
            }
            for _ in 0..ANSWERS {
                let Some(ids) = walk(&GRAMMARS, &grammar, &mut random, (MOST, &["\""])) else {
                    continue;
                };
                let text = GRAMMARS.tokenizer().decode(&ids, false).unwrap();
                let Ok(value) = serde_json::from_str::<Value>(&text) else {
                    // JSON of a number beyond f64.
                    assert!(text.contains(['e', 'E']), "{schema} {text}");
                    continue;
                };
                if is_inexact(&value) {
                    continue;
                }
                drawn += 1;
                let value = without_negative_zero(value);
                assert!(judge.is_valid(&value), "{}: {schema} {text}", group["description"]);
            }
        }
    }
    println!(
        "{accepted} of {schemas} schemas, {valid_accepted} of {valid} valid instances, 0 of {invalid} \
         invalid ones are accepted; {drawn} random answers are valid"
    );
    assert!(accepted * 3 >= schemas * 2, "{accepted} of {schemas} schemas");
    assert!(valid_accepted * 20 >= valid * 19, "{valid_accepted} of {valid} valid instances");
    assert!(drawn > accepted * ANSWERS / 2, "{drawn} answers");
}
