//! Errors of OpenAI's Responses API.

use super::responses::{PATH, answered, asks, streamed};
use super::*;

#[test]
fn fields_are_refused_by_name() {
    run(async {
        let server = server(ServerOptions::default());
        let item = |item: Value| json!({ "input": [item] });
        let tool = |tool: Value| json!({ "tools": [tool] });
        for (fields, field) in [
            (json!({ "input": null }), "input"),
            (json!({ "input": [] }), "input"),
            (json!({ "input": 5 }), "input"),
            (item(json!(5)), "input[0]"),
            (item(json!({ "role": "user" })), "input[0].content"),
            (item(json!({ "role": "cook", "content": "x" })), "input[0].role"),
            (
                item(json!({ "role": "user", "content": [{ "type": "input_image" }] })),
                "input[0].content[0].type",
            ),
            (
                item(json!({ "role": "user", "content": [{ "type": "input_text" }] })),
                "input[0].content[0].text",
            ),
            (item(json!({ "type": "item_reference", "id": "x" })), "input[0].type"),
            (item(json!({ "type": "web_search_call" })), "input[0].type"),
            (
                item(json!({ "type": "function_call", "name": "f", "call_id": "c" })),
                "input[0].arguments",
            ),
            (item(json!({ "type": "function_call_output", "call_id": "c" })), "input[0].output"),
            (item(json!({ "type": "function_call_output", "output": "x" })), "input[0].call_id"),
            (json!({ "instructions": 1 }), "instructions"),
            (json!({ "previous_response_id": "resp_no" }), "previous_response_id"),
            (tool(json!({ "name": "f" })), "tools[0].type"),
            (tool(json!({ "type": "function" })), "tools[0].name"),
            (
                tool(json!({ "type": "function", "name": "f", "parameters": 1 })),
                "tools[0].parameters",
            ),
            (tool(json!({ "type": "function", "name": "f", "strict": 1 })), "tools[0].strict"),
            (
                json!({ "tools": [{ "type": "function", "name": "mail__send" },
                    { "type": "namespace", "name": "mail", "tools": [{ "type": "function", "name": "send" }] }] }),
                "tools[1].tools[0]",
            ),
            // Named as the request has it, although the tool before it is left out.
            (
                json!({ "tools": [{ "type": "web_search" }, { "type": "function", "name": "" }] }),
                "tools[1]",
            ),
            (json!({ "metadata": { "a": "x".repeat(1 << 20) } }), "metadata"),
            (json!({ "tool_choice": "required" }), "tool_choice"),
            (json!({ "max_output_tokens": 0 }), "max_output_tokens"),
            (json!({ "max_output_tokens": "x" }), "max_output_tokens"),
            (json!({ "background": true }), "background"),
            (json!({ "truncation": "auto" }), "truncation"),
            (json!({ "include": ["message.output_text.logprobs"] }), "include[0]"),
            (json!({ "text": { "format": { "type": "xml" } } }), "text.format.type"),
            (json!({ "text": { "format": { "type": "json_schema" } } }), "text.format.schema"),
            (
                json!({ "text": { "format": { "type": "json_schema", "schema": { "type": "objekt" } } } }),
                "text.format",
            ),
            (json!({ "text": { "verbosity": "low" } }), "text.verbosity"),
            (json!({ "reasoning": { "effort": "much" } }), "reasoning.effort"),
            (json!({ "metadata": 1 }), "metadata"),
            (json!({ "store": 1 }), "store"),
            (json!({ "temperature": "hot" }), "temperature"),
            (json!({ "messages": [] }), "messages"),
            (json!({ "max_tokens": 5 }), "max_tokens"),
            (json!({ "conversation": "c" }), "conversation"),
            (json!({ "input": "word ".repeat(300) }), "input"),
        ] {
            let (status, reply) =
                json_of(&server, post(PATH, asks(fields.clone()).to_string())).await;
            assert_eq!(
                (status.as_u16(), &reply["error"]["param"]),
                (400, &json!(field)),
                "{fields}: {reply}"
            );
            assert!(reply["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        }
    });
}

/// Tools of OpenAI's servers are left out, and named.
#[test]
fn hosted_tools_are_named() {
    run(async {
        let server = server(ServerOptions::default());
        let tools = json!([{ "type": "web_search" }, { "type": "function", "name": "f" }, { "type": "custom", "name": "c" },
            { "type": "namespace", "name": "n", "tools": [{ "type": "custom" }] }]);
        let request = asks(json!({ "tools": tools, "reasoning": { "summary": "auto" } }));
        let (status, headers, body) = send(&server, post(PATH, request.to_string())).await;
        assert_eq!(status, 200, "{body}");
        let named = "tools[0] (web_search), tools[2] (custom), tools[3].tools[0] (custom), reasoning.summary";
        assert_eq!(headers["x-ignored-fields"], named);
        let reply: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(reply["tools"].as_array().unwrap().len(), 2);
        let none = asks(json!({ "tools": [{ "type": "web_search" }], "tool_choice": "required" }));
        assert_eq!(json_of(&server, post(PATH, none.to_string())).await.0, 400);
    });
}

#[test]
fn an_answer_follows_a_schema() {
    run(async {
        let server = server(ServerOptions::default());
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 9 } },
            "required": ["n"], "additionalProperties": false });
        let format =
            json!({ "type": "json_schema", "name": "n", "strict": true, "schema": schema });
        for format in [format, json!({ "type": "json_object" })] {
            let request = asks(json!({ "text": { "format": format }, "max_output_tokens": 100 }));
            let reply = answered(&server, &request).await;
            let mut shown = format.clone();
            if shown["type"] == "json_schema" {
                shown["description"] = Value::Null;
            }
            assert_eq!(reply["text"]["format"], shown);
            let text = reply["output"][0]["content"][0]["text"].as_str().unwrap();
            if reply["status"] == "completed" {
                assert!(serde_json::from_str::<Value>(text).unwrap().is_object(), "{text}");
            }
        }
    });
}

/// A stream that fails says so.
#[test]
fn an_error_within_a_stream_is_an_event() {
    run(async {
        let timeout = std::time::Duration::from_millis(1);
        let server = server(ServerOptions { timeout, ..ServerOptions::default() });
        let endless = asks(json!({ "ignore_eos": true, "max_output_tokens": 200 }));
        let events = streamed(&server, endless.clone()).await;
        let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        assert_eq!(count("response.output_item.added"), count("response.output_item.done"));
        let [failed, error] = &events[events.len() - 2..] else { panic!("{events:?}") };
        assert_eq!(
            (&failed["type"], &failed["response"]["status"]),
            (&json!("response.failed"), &json!("failed"))
        );
        assert_eq!(failed["response"]["error"]["code"], "timeout");
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("timeout")));
        assert_eq!(json_of(&server, post(PATH, endless.to_string())).await.0, 504);
        is_quiet().await;
    });
}

/// Bodies with values of wrong types at every place are answered, or refused with the place.
#[test]
fn odd_bodies_break_nothing() {
    let (server, _) = scripted(&["Hi."]);
    let function = json!({ "type": "function", "name": "f", "description": "d", "parameters": {}, "strict": false });
    let request = asks(json!({
        "instructions": "a", "max_output_tokens": 9, "top_p": 0.5, "include": ["x"], "metadata": { "a": "b" },
        "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "max_tool_calls": 3, "store": false,
        "tools": [function, { "type": "namespace", "name": "n", "tools": [function] }],
        "tool_choice": { "type": "function", "name": "f" }, "parallel_tool_calls": true,
        "text": { "format": { "type": "json_schema", "name": "x", "schema": {} }, "verbosity": "medium" },
        "reasoning": { "effort": "low", "summary": "auto" },
        "input": [
            { "role": "developer", "content": [{ "type": "input_text", "text": "a" }] },
            { "type": "reasoning", "content": [{ "type": "reasoning_text", "text": "b" }] },
            { "type": "function_call", "call_id": "c", "name": "f", "namespace": "n", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c", "output": [{ "type": "input_text", "text": "d" }] },
            { "type": "message", "role": "user", "content": "e" },
        ],
    }));
    run(async {
        let (status, reply) = json_of(&server, post(PATH, request.to_string())).await;
        assert_eq!(status, 200, "{reply}");
        let mut refused = 0;
        for value in odd_values() {
            for (at, odd) in replaced(&request, &value) {
                let (status, reply) = json_of(&server, post(PATH, odd.to_string())).await;
                match status.as_u16() {
                    200 => continue,
                    400 => refused += 1,
                    404 if at == "/model" => continue,
                    other => panic!("{at} = {value}: {other} {reply}"),
                }
                let message = reply["error"]["message"].as_str().unwrap();
                let top = at.split('/').nth(1).unwrap();
                let fits = message.starts_with(top)
                    || (top == "tools" && message.starts_with("tool_choice"));
                assert!(fits, "{at} = {value}: {message}");
            }
        }
        assert!(refused > 500, "{refused}");
    });
}
