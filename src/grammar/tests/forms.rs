//! JSON, regular expressions and Lark grammars.

use serde_json::{Value, json};

use super::walk::{Random, accepts, tokens, walk};
use super::{ALL_MARKERS, END, GRAMMARS};
use crate::grammar::{Grammar, GrammarError, Grammars, Llguidance, Structure};
use crate::text::{AnswerFormat, SpecialTokens, StopStrings, Tokenizer};

fn plain(structure: &Structure) -> Result<Grammar, GrammarError> {
    GRAMMARS.compile(structure, &AnswerFormat::default(), None)
}

#[test]
fn only_objects_are_accepted_as_json_objects() {
    let grammar = plain(&Structure::JsonObject).unwrap();
    for text in
        ["{}", r#"{"a": [1, {"b": null}], "é": "x\n"}"#, "{\n    \"a\": 1,\n    \"b\": true\n}"]
    {
        assert!(accepts(&GRAMMARS, &grammar, text), "{text}");
    }
    for text in ["", "[]", "{", r#"{"a": 1"#, "{} {}", "{'a': 1}", "text {}", "{   }", "{}\n"] {
        assert!(!accepts(&GRAMMARS, &grammar, text), "{text}");
    }
    let mut random = Random(1);
    for _ in 0..20 {
        if let Some(ids) = walk(&GRAMMARS, &grammar, &mut random, (200, &["\""])) {
            let text = GRAMMARS.tokenizer().decode(&ids, false).unwrap();
            let parsed: Result<Value, _> = serde_json::from_str(&text);
            assert!(parsed.as_ref().is_ok_and(Value::is_object) || text.contains("e"), "{text}");
        }
    }
}

#[test]
fn regular_expressions_match_as_a_whole() {
    let grammar = plain(&Structure::Regex("[a-c]{2,3}x|é".to_owned())).unwrap();
    for (text, accepted) in
        [("abx", true), ("é", true), ("abcx", true), ("abcax", false), ("ab", false)]
    {
        assert_eq!(accepts(&GRAMMARS, &grammar, text), accepted, "{text}");
    }
}

#[test]
fn lark_grammars_may_name_special_tokens() {
    let text = "start: <|tool_list_start|> WORD (\", \" WORD)*\nWORD: /[a-z]+/";
    let grammar = plain(&Structure::Lark(text.to_owned())).unwrap();
    assert!(accepts(&GRAMMARS, &grammar, "<|tool_list_start|>one, two"));
    assert!(!accepts(&GRAMMARS, &grammar, "one, two"));
}

#[test]
fn end_tokens_come_after_a_complete_answer_and_never_before() {
    let grammar = plain(&Structure::JsonSchema(json!({"const": "ab"}))).unwrap();
    let mut matcher = grammar.matcher();
    let ids = GRAMMARS.tokenizer().encode("\"ab\"", false).unwrap();
    for at in 0..ids.len() {
        let allowed = tokens(&matcher.mask_after(&ids[..at]).unwrap());
        assert!(!allowed.contains(&2) && !allowed.contains(&END), "{at}");
    }
    assert_eq!(tokens(&matcher.mask_after(&ids).unwrap()), [2, END]);
    // An engine that goes on after end tokens gets more of them.
    let ended = [&ids[..], &[END]].concat();
    assert_eq!(tokens(&matcher.mask_after(&ended).unwrap()), [2, END]);
    // Other tokens than before: the matcher starts again.
    let first = tokens(&matcher.mask_after(&[]).unwrap());
    assert!(first.contains(&ids[0]));
    assert_eq!(tokens(&matcher.mask_after(&ids).unwrap()), [2, END]);
}

#[test]
fn tokens_that_are_not_allowed_are_an_error() {
    let grammar = plain(&Structure::JsonObject).unwrap();
    let wrong = GRAMMARS.tokenizer().encode("[", false).unwrap();
    let error = grammar.matcher().mask_after(&wrong).unwrap_err();
    assert!(matches!(error, GrammarError::Failed { position: 0, .. }), "{error:?}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

/// The message names the keyword, the format or the place.
#[test]
fn invalid_and_unsupported_structures_are_refused() {
    let schema = |schema: Value| Structure::JsonSchema(schema);
    let lark = |text: &str| Structure::Lark(text.to_owned());
    for (structure, words) in [
        (schema(json!({"type": "array", "uniqueItems": true})), "uniqueItems"),
        (schema(json!({"not": {"type": "string"}})), "not"),
        (schema(json!({"type": "string", "format": "no-such"})), "no-such"),
        (schema(json!({"type": "string", "pattern": "(?=a)b"})), "look"),
        (schema(json!({"type": "integer", "minimum": 3, "maximum": 1})), "minimum"),
        (schema(json!({"$ref": "http://example.com/a.json"})), "example.com"),
        (schema(json!({"type": "no-such"})), "no-such"),
        (schema(json!(false)), "false"),
        (schema(json!([1])), "JSON schema"),
        (schema(json!({"type": "object", "properties": 5})), "properties"),
        (Structure::Regex("(".to_owned()), "regular expression"),
        (Structure::Regex(r"(a)\1".to_owned()), "regular expression"),
        (lark(""), "start"),
        (lark("start: nothing"), "line 1"),
        (lark("start: <|no_such|>"), "no_such"),
        (lark("start: ~("), "grammar"),
        (lark(&format!("start: {}", "(".repeat(1000))), "open brackets"),
    ] {
        let error = plain(&structure).unwrap_err().to_string();
        assert!(error.contains(words), "{structure:?}: {error}");
        assert!(!error.contains('\n') && error.len() < 1000, "{error}");
        assert!(!error.contains("backtrace") && !error.contains("non-verbose"), "{error}");
    }
    let tokenizer = Tokenizer::from_json(super::DEMO, 2688).unwrap();
    assert_eq!(Grammars::new(&Llguidance, &tokenizer, &[9999]).unwrap_err(), GrammarError::NoEnd);
}

#[test]
fn reasoning_may_come_before_the_answer() {
    let schema = Structure::JsonSchema(json!({"type": "object", "additionalProperties": false}));
    for grammars in [&*GRAMMARS, &*ALL_MARKERS] {
        for begins in [false, true] {
            let format = AnswerFormat {
                thinks: true,
                begins_in_reasoning: begins,
                ..AnswerFormat::default()
            };
            let grammar = grammars.compile(&schema, &format, None).unwrap();
            let start = if begins { "" } else { "<think>" };
            for (text, accepted) in [
                (format!("{start}It is {{ }}empty.</think>\n\n{{}}"), true),
                (format!("{start}</think>{{}}"), true),
                ("{}".to_owned(), !begins),
                (format!("{start}{{}}"), false),
                (format!("{start}</think>It is {{}}"), false),
            ] {
                assert_eq!(accepts(grammars, &grammar, &text), accepted, "{begins} {text:?}");
            }
            let mut random = Random(7);
            let walks = (0..10)
                .filter_map(|_| walk(grammars, &grammar, &mut random, (200, &["</think>", "{}"])));
            let contents: Vec<String> = walks.map(|ids| read(grammars, &format, &ids)).collect();
            assert!(contents.len() >= 5);
            let empty = |text: &String| text.starts_with('{') && text[1..].trim() == "}";
            assert!(contents.iter().all(empty), "{contents:?}");
        }
    }
}

fn read(grammars: &Grammars, format: &AnswerFormat, ids: &[u32]) -> String {
    let stops = StopStrings::default();
    let (tokenizer, format) = (grammars.tokenizer(), format.clone());
    let mut stream = crate::text::AnswerStream::new(tokenizer, format, SpecialTokens::Hide, stops);
    let mut answer = crate::text::Answer::default();
    for id in ids {
        answer.append(stream.push(*id).unwrap().0);
    }
    answer.append(stream.finish());
    answer.content
}
