//! Errors of Anthropic's Messages API.

use super::messages::{COUNT, PATH, asks, streamed, volume};
use super::*;

/// Errors have Anthropic's shape on all its routes, whatever they are about.
#[test]
fn errors_have_anthropics_shape() {
    fn kind(reply: &Value) -> &str {
        assert_eq!(reply["type"], "error", "{reply}");
        assert!(reply["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        reply["error"]["type"].as_str().unwrap()
    }
    run(async {
        let keys = vec!["k".to_owned()];
        let locked = server(ServerOptions { keys, ..ServerOptions::default() });
        let (status, reply) = json_of(&locked, post(PATH, asks(json!({})).to_string())).await;
        assert_eq!((status.as_u16(), kind(&reply)), (401, "authentication_error"));
        let server = server(ServerOptions { max_queue: 0, ..ServerOptions::default() });
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        for (request, status, name) in [
            (get(PATH), 405, "invalid_request_error"),
            (get("/v1/messages/batches"), 404, "not_found_error"),
            (post(PATH, ""), 400, "invalid_request_error"),
            (post(PATH, vec![b' '; (8 << 20) + 1]), 413, "request_too_large"),
            (post(PATH, asks(json!({ "model": "claude" })).to_string()), 404, "not_found_error"),
            (post(COUNT, asks(json!({ "model": "claude" })).to_string()), 404, "not_found_error"),
        ] {
            let (got, headers, body) = send(&server, request).await;
            let reply = serde_json::from_str(&body).unwrap();
            assert_eq!((got.as_u16(), kind(&reply)), (status, name));
            assert!(headers.contains_key("request-id"));
        }
        // The other routes keep OpenAI's.
        let (_, reply) = json_of(&server, get("/v1/messages_of")).await;
        assert_eq!(reply["error"]["code"], "unknown_url");
        let long = json!({ "stream": true, "n": 2, "ignore_eos": true, "max_tokens": 200 });
        let running = server
            .router()
            .oneshot(post("/v1/chat/completions", chat(long).to_string()))
            .await
            .unwrap();
        let (status, headers, body) = send(&server, post(PATH, asks(json!({})).to_string())).await;
        let reply = serde_json::from_str(&body).unwrap();
        assert_eq!((status.as_u16(), kind(&reply)), (429, "rate_limit_error"));
        assert_eq!(headers["retry-after"], "1");
        drop(running);
        // Within a stream.
        let timeout = std::time::Duration::from_millis(1);
        let slow = super::server(ServerOptions { timeout, ..ServerOptions::default() });
        let endless = asks(json!({ "ignore_eos": true, "max_tokens": 200 }));
        let (status, reply) = json_of(&slow, post(PATH, endless.to_string())).await;
        assert_eq!((status.as_u16(), kind(&reply)), (504, "timeout_error"));
        let events = streamed(&slow, endless).await;
        assert_eq!(kind(events.last().unwrap()), "timeout_error");
        is_quiet().await;
    });
}

#[test]
fn fields_are_refused_by_name() {
    run(async {
        let server = server(ServerOptions::default());
        let block = |block: Value| json!({ "messages": [{ "role": "user", "content": [block] }] });
        let said =
            |block: Value| json!({ "messages": [{ "role": "assistant", "content": [block] }] });
        let long = json!([{ "role": "user", "content": "word ".repeat(300) }]);
        for (fields, field) in [
            (json!({ "max_tokens": null }), "max_tokens: missing"),
            (json!({ "max_tokens": 0 }), "max_tokens"),
            (json!({ "messages": null }), "messages: missing"),
            (json!({ "messages": [] }), "messages"),
            (json!({ "messages": "hi" }), "messages"),
            (json!({ "messages": [{ "role": "tool", "content": "" }] }), "messages[0].role"),
            (json!({ "messages": [{ "role": "user" }] }), "messages[0].content"),
            (json!({ "messages": [{ "role": "user", "content": 5 }] }), "messages[0].content"),
            (block(json!({ "type": "image", "source": {} })), "messages[0].content[0].type"),
            (block(json!({ "type": "text" })), "messages[0].content[0].text"),
            (block(json!({ "type": "tool_result" })), "messages[0].content[0].tool_use_id"),
            (
                block(
                    json!({ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "image" }] }),
                ),
                "messages[0].content[0].content[0].type",
            ),
            (
                said(json!({ "type": "tool_use", "id": "t", "name": 1 })),
                "messages[0].content[0].name",
            ),
            (
                said(json!({ "type": "tool_use", "id": "t", "name": "f", "input": 1 })),
                "messages[0].content[0].input",
            ),
            (json!({ "system": 5 }), "system"),
            (json!({ "system": [{ "type": "image" }] }), "system[0].type"),
            (json!({ "tools": [{ "name": "f" }] }), "tools[0].input_schema"),
            (json!({ "tools": [{ "input_schema": {} }] }), "tools[0].name"),
            (json!({ "tool_choice": { "type": "any" } }), "tool_choice"),
            (json!({ "tool_choice": { "type": "tool" } }), "tool_choice.name"),
            (json!({ "tool_choice": "auto" }), "tool_choice"),
            (json!({ "stop_sequences": [1] }), "stop_sequences"),
            (json!({ "stop_sequences": [""] }), "stop_sequences"),
            (json!({ "temperature": -1 }), "temperature"),
            (json!({ "top_k": 1.5 }), "top_k"),
            (json!({ "thinking": { "type": "much" } }), "thinking.type"),
            (json!({ "output_config": { "effort": "much" } }), "output_config.effort"),
            (
                json!({ "output_config": { "format": { "type": "text" } } }),
                "output_config.format.type",
            ),
            (json!({ "stop": "x" }), "stop: is not supported: use stop_sequences"),
            (json!({ "n": 2 }), "n"),
            (json!({ "best": 1 }), "best"),
            (json!({ "messages": long }), "the prompt"),
        ] {
            let (status, reply) =
                json_of(&server, post(PATH, asks(fields.clone()).to_string())).await;
            let message = reply["error"]["message"].as_str().unwrap();
            assert_eq!(status, 400, "{fields}: {reply}");
            assert!(message.starts_with(field), "{fields}: {message}");
        }
        let lenient = super::server(ServerOptions { lenient: true, ..ServerOptions::default() });
        let (status, headers, _) =
            send(&lenient, post(PATH, asks(json!({ "best": 1, "model": "claude" })).to_string()))
                .await;
        assert_eq!(
            (status.as_u16(), &headers["x-ignored-fields"]),
            (200, &"best".parse().unwrap())
        );
    });
}

/// Bodies with values of wrong types at every place are answered, or refused with the place.
#[test]
fn odd_bodies_break_nothing() {
    let (server, _) = scripted(&["Hi."]);
    let request = asks(json!({
        "system": [{ "type": "text", "text": "a" }], "stop_sequences": ["x"], "top_k": 3, "top_p": 0.5,
        "tools": [volume()], "tool_choice": { "type": "tool", "name": "set_volume", "disable_parallel_tool_use": true },
        "thinking": { "type": "enabled", "budget_tokens": 9 }, "output_config": { "effort": "low" },
        "metadata": { "user_id": "u" },
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "a" }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "b", "signature": "c" },
                { "type": "tool_use", "id": "1", "name": "set_volume", "input": { "level": 3 } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "1", "content": [{ "type": "text", "text": "d" }] },
            ] },
        ],
    }));
    run(async {
        assert_eq!(json_of(&server, post(COUNT, request.to_string())).await.0, 200);
        let mut refused = 0;
        for value in odd_values() {
            for (at, odd) in replaced(&request, &value) {
                let (status, reply) = json_of(&server, post(COUNT, odd.to_string())).await;
                let message = reply["error"]["message"].as_str().unwrap_or_default().to_owned();
                match status.as_u16() {
                    200 => continue,
                    400 => refused += 1,
                    404 if at == "/model" => continue,
                    other => panic!("{at} = {value}: {other} {reply}"),
                }
                let top = at.split('/').nth(1).unwrap();
                let fits = message.starts_with(top)
                    || (top == "tools" && message.starts_with("tool_choice"));
                assert!(fits, "{at} = {value}: {message}");
            }
        }
        assert!(refused > 500, "{refused}");
    });
}
