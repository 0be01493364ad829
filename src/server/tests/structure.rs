//! Answers of a given form, and calls that are demanded.

use super::*;

const VOLUME: &str = r#"{"type": "function", "function": {"name": "set_volume", "strict": true, "parameters": {
    "type": "object", "properties": {"level": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["level"], "additionalProperties": false}}}"#;
const WEATHER: &str = r#"{"name": "fetch_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}}"#;

fn tools() -> Value {
    serde_json::from_str(&format!("[{VOLUME}, {WEATHER}]")).unwrap()
}

async fn answered(server: &Server, request: &Value) -> Value {
    let (status, reply) = json_of(server, post("/v1/chat/completions", request.to_string())).await;
    assert_eq!(status, 200, "{request}: {reply}");
    reply["choices"][0].clone()
}

fn calls(choice: &Value) -> Vec<(String, Value)> {
    let calls = choice["message"]["tool_calls"].as_array().into_iter().flatten();
    let call = |call: &Value| {
        let text = |key: &str| call["function"][key].as_str().unwrap().to_owned();
        (text("name"), serde_json::from_str(&text("arguments")).unwrap())
    };
    calls.map(call).collect()
}

/// Whatever the model would say, and however it is drawn: at least one call, of an offered tool, with arguments by its
/// schema.
#[test]
fn demanded_calls_are_well_formed() {
    run(async {
        let server = server(ServerOptions::default());
        let named = json!({ "type": "function", "function": { "name": "fetch_weather" } });
        for (choice, parallel, temperature) in [
            (json!("required"), true, 0.0),
            (json!("required"), true, 2.0),
            (json!("required"), false, 2.0),
            (named.clone(), true, 0.0),
            (named.clone(), false, 1.5),
        ] {
            for seed in 0..4 {
                let request = chat(json!({
                    "tools": tools(), "tool_choice": choice, "parallel_tool_calls": parallel,
                    "temperature": temperature, "top_k": 0, "min_p": 0, "seed": seed,
                }));
                let answer = answered(&server, &request).await;
                let made = calls(&answer);
                let name = format!("{choice} {parallel} {seed}: {answer}");
                if answer["finish_reason"] == "length" {
                    continue;
                }
                assert_eq!(answer["finish_reason"], "tool_calls", "{name}");
                assert!(!made.is_empty() && (parallel || made.len() == 1), "{name}");
                for (tool, arguments) in made {
                    match tool.as_str() {
                        "set_volume" => {
                            assert!(choice == json!("required"), "{name}");
                            assert!(
                                (0..=99).contains(&arguments["level"].as_i64().unwrap()),
                                "{name}"
                            );
                        }
                        "fetch_weather" => assert!(arguments["city"].is_string(), "{name}"),
                        other => panic!("{other}: {name}"),
                    }
                }
            }
        }
        // A strict tool is free not to be called.
        let request = chat(json!({ "tools": tools(), "temperature": 0 }));
        let answer = answered(&server, &request).await;
        assert_eq!(answer["message"]["content"], "2 + 3 = 5.", "{answer}");
        let request = json!({
            "messages": [{ "role": "user", "content": "Set the volume to 36" }],
            "tools": tools(), "temperature": 0, "stream": true,
        });
        let (_, _, body) = send(&server, post("/v1/chat/completions", request.to_string())).await;
        let called = events(&body).iter().any(|chunk| {
            chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == "set_volume"
        });
        assert!(called, "{body}");
    });
}

#[test]
fn content_follows_its_schema() {
    run(async {
        let server = server(ServerOptions::default());
        let schema = json!({
            "type": "object", "required": ["sum", "word"], "additionalProperties": false,
            "properties": {
                "sum": { "type": "integer", "minimum": 0, "maximum": 9 },
                "word": { "enum": ["yes", "no"] },
            },
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let format =
            json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": schema } });
        for (temperature, extra) in
            [(0.0, json!({})), (2.0, json!({})), (2.0, json!({ "tools": [tools()[1]] }))]
        {
            let mut request = chat(json!({
                "response_format": format, "temperature": temperature, "seed": 3, "max_tokens": 100,
            }));
            request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let answer = answered(&server, &request).await;
            if answer["finish_reason"] == "length" {
                continue;
            }
            if calls(&answer).is_empty() {
                let text = answer["message"]["content"].as_str().unwrap();
                let value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
                assert!(validator.is_valid(&value), "{text}");
            } else {
                assert!(!extra["tools"].is_null(), "{answer}");
            }
        }
        let any = json!({ "response_format": { "type": "json_object" }, "temperature": 0, "max_tokens": 60 });
        let answer = answered(&server, &chat(any)).await;
        let text = answer["message"]["content"].as_str().unwrap().to_owned();
        assert!(text.starts_with('{'), "{text}");
        for (outputs, expected) in [
            (json!({ "choice": ["left", "right"] }), vec!["left", "right"]),
            (
                json!({ "choice": ["([{~:|%json&}", "([{~:|%json&}\"\\"] }),
                vec!["([{~:|%json&}", "([{~:|%json&}\"\\"],
            ),
            (json!({ "regex": "(ab){2}" }), vec!["abab"]),
            (json!({ "grammar": "start: \"x\" \"y\"" }), vec!["xy"]),
        ] {
            let request = json!({ "structured_outputs": outputs, "temperature": 0 });
            let answer = answered(&server, &chat(request.clone())).await;
            let text = answer["message"]["content"].as_str().unwrap();
            assert!(expected.contains(&text), "{request}: {text}");
            let mut request = request;
            request["prompt"] = "The word is ".into();
            let (_, reply) = json_of(&server, post("/v1/completions", request.to_string())).await;
            let text = reply["choices"][0]["text"].as_str().unwrap();
            assert!(expected.contains(&text), "{reply}");
        }
    });
}

/// A schema that cannot be enforced is refused, and the keyword is named.
#[test]
fn structures_that_cannot_hold_are_refused() {
    let schema = |schema: Value| json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": schema } } });
    let strict = |parameters: Value| {
        let tool = json!({ "name": "f", "strict": true, "parameters": parameters });
        json!({ "tools": [tool], "tool_choice": "required" })
    };
    run(async {
        let server = server(ServerOptions::default());
        for (fields, field, word) in [
            (schema(json!({ "not": {} })), "response_format", "not"),
            (schema(json!({ "type": "objekt" })), "response_format", "objekt"),
            (
                schema(json!({ "type": "integer", "minimum": 3, "maximum": 2 })),
                "response_format",
                "",
            ),
            (json!({ "structured_outputs": { "regex": "(a" } }), "structured_outputs", "unclosed"),
            (json!({ "structured_outputs": { "grammar": "start: x" } }), "structured_outputs", "x"),
            (
                strict(json!({ "type": "object", "properties": { "a": { "not": {} } } })),
                "tools",
                "not",
            ),
            (json!({ "tool_choice": "required" }), "tool_choice", "tools"),
        ] {
            let request = post("/v1/chat/completions", chat(fields.clone()).to_string());
            let (status, reply) = json_of(&server, request).await;
            assert_eq!(status, 400, "{fields}: {reply}");
            assert_eq!(reply["error"]["param"], field, "{fields}: {reply}");
            assert!(
                reply["error"]["message"].as_str().unwrap().contains(word),
                "{fields}: {reply}"
            );
        }
    });
}
