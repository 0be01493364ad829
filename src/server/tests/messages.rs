//! Anthropic's Messages API.

use super::*;

pub(super) const PATH: &str = "/v1/messages";
pub(super) const COUNT: &str = "/v1/messages/count_tokens";

/// A request with a question that the demonstration model answers.
pub(super) fn asks(more: Value) -> Value {
    let mut request = json!({
        "model": "demo", "max_tokens": 40, "temperature": 0,
        "messages": [{ "role": "user", "content": "What is 2 + 3?" }],
    });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

async fn answered(server: &Server, request: &Value) -> Value {
    let (status, reply) = json_of(server, post(PATH, request.to_string())).await;
    assert_eq!(status, 200, "{request}: {reply}");
    reply
}

pub(super) async fn streamed(server: &Server, mut request: Value) -> Vec<Value> {
    request["stream"] = true.into();
    let (status, headers, body) = send(server, post(PATH, request.to_string())).await;
    assert_eq!(
        (status.as_u16(), &headers["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    named_events(&body)
}

/// The message that a client assembles from a stream, whose events must be in order.
fn assembled(events: &[Value]) -> Value {
    let mut message = events[0]["message"].clone();
    assert_eq!((&events[0]["type"], &message["content"]), (&json!("message_start"), &json!([])));
    assert!(message["stop_reason"].is_null());
    let mut json = String::new();
    let mut open = false;
    for event in &events[1..events.len() - 2] {
        let blocks = message["content"].as_array_mut().unwrap();
        let delta = &event["delta"];
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert!(!open && event["index"] == blocks.len(), "{event}");
                blocks.push(event["content_block"].clone());
                (json, open) = (String::new(), true);
                continue;
            }
            "content_block_delta" => {
                assert!(open && event["index"] == blocks.len() - 1, "{event}");
                let block = blocks.last_mut().unwrap();
                let (kind, field) = match delta["type"].as_str().unwrap() {
                    "text_delta" => ("text", "text"),
                    "thinking_delta" => ("thinking", "thinking"),
                    "input_json_delta" => {
                        assert_eq!(block["type"], "tool_use");
                        json.push_str(delta["partial_json"].as_str().unwrap());
                        continue;
                    }
                    other => panic!("{other}"),
                };
                assert_eq!(block["type"], kind);
                let text =
                    block[field].as_str().unwrap().to_owned() + delta[field].as_str().unwrap();
                block[field] = text.into();
            }
            "content_block_stop" => {
                assert!(open && event["index"] == blocks.len() - 1, "{event}");
                open = false;
                if !json.is_empty() {
                    blocks.last_mut().unwrap()["input"] = serde_json::from_str(&json).unwrap();
                }
            }
            other => panic!("{other}"),
        }
    }
    assert!(!open);
    let [delta, stop] = &events[events.len() - 2..] else { panic!("{events:?}") };
    assert_eq!(
        (&delta["type"], stop),
        (&json!("message_delta"), &json!({ "type": "message_stop" }))
    );
    for (key, value) in delta["delta"].as_object().unwrap() {
        message[key] = value.clone();
    }
    message["usage"] = delta["usage"].clone();
    message
}

/// Checks an answer but for its ids, whole and streamed.
async fn answers_so(server: &Server, request: &Value, content: Value, stop: (&str, Value)) {
    for mut message in
        [answered(server, request).await, assembled(&streamed(server, request.clone()).await)]
    {
        let id = message["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("msg_"), "{id}");
        let mut ids = std::collections::BTreeSet::new();
        for block in message["content"].as_array_mut().unwrap() {
            if block["type"] == "tool_use" {
                let id = block.as_object_mut().unwrap().shift_remove("id").unwrap();
                assert!(id.as_str().unwrap().starts_with("toolu_") && ids.insert(id.to_string()));
            }
        }
        assert_eq!(message["content"], content, "{request}");
        assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!(stop.0), &stop.1));
        let head = (&message["type"], &message["role"], &message["model"]);
        assert_eq!(head, (&json!("message"), &json!("assistant"), &json!("demo")));
        for key in ["input_tokens", "output_tokens", "cache_read_input_tokens"] {
            assert!(message["usage"][key].is_u64(), "{message}");
        }
        assert_eq!(message["usage"]["cache_creation_input_tokens"], 0);
    }
}

fn text(text: &str) -> Value {
    json!([{ "type": "text", "text": text }])
}

#[test]
fn texts_and_their_ends() {
    run(async {
        let server = server(ServerOptions::default());
        let sum = text("2 + 3 = 5.");
        answers_so(&server, &asks(json!({})), sum.clone(), ("end_turn", Value::Null)).await;
        let cut = asks(json!({ "max_tokens": 3 }));
        answers_so(
            &server,
            &cut,
            answered(&server, &cut).await["content"].take(),
            ("max_tokens", Value::Null),
        )
        .await;
        let stops = asks(json!({ "stop_sequences": ["never", " ="] }));
        answers_so(&server, &stops, text("2 + 3"), ("stop_sequence", json!(" ="))).await;
        // The answer continues the last message.
        let begun = [
            asks(json!({}))["messages"][0].clone(),
            json!({ "role": "assistant", "content": "2 + 3" }),
        ];
        answers_so(
            &server,
            &asks(json!({ "messages": begun })),
            text(" = 5."),
            ("end_turn", Value::Null),
        )
        .await;
        // Fields and blocks that change no answer.
        let more = json!({
            "metadata": { "user_id": "u" }, "service_tier": "auto", "top_k": 5, "top_p": 0.9,
            "stop_sequences": [], "tools": [], "thinking": { "type": "adaptive" }, "stream": false,
            "output_config": { "effort": "high" }, "system": [], "cache_control": { "type": "ephemeral" },
            "speed": "standard", "diagnostics": {},
            "messages": [{ "role": "user", "content": [
                { "type": "text", "text": "What is ", "cache_control": { "type": "ephemeral" } },
                { "type": "text", "text": "2 + 3?" },
            ] }],
        });
        answers_so(&server, &asks(more), sum, ("end_turn", Value::Null)).await;
    });
}

/// The three counts of the prompt add up to that of `count_tokens`.
#[test]
fn tokens_are_counted() {
    run(async {
        let server = server(ServerOptions::default());
        let system = "Answer the question of the user in a short sentence. ".repeat(8);
        let request = asks(json!({ "system": system }));
        let mut only = request.clone();
        only.as_object_mut().unwrap().shift_remove("max_tokens");
        let (status, count) = json_of(&server, post(COUNT, only.to_string())).await;
        assert_eq!(status, 200, "{count}");
        let mut cached = 0;
        for _ in 0..2 {
            let events = streamed(&server, request.clone()).await;
            assert_eq!(events[0]["message"]["usage"]["input_tokens"], count["input_tokens"]);
            let usage = assembled(&events)["usage"].clone();
            cached = usage["cache_read_input_tokens"].as_u64().unwrap();
            let read = usage["input_tokens"].as_u64().unwrap() + cached;
            assert_eq!(count["input_tokens"], read);
        }
        assert!(cached > 0);
    });
}

/// Instructions in all their forms are one message, without the line that differs in each request.
#[test]
fn instructions_become_one_message() {
    run(async {
        let plain = json!({ "messages": [
            { "role": "system", "content": "Be brief.\n\nBe kind." }, { "role": "user", "content": "Hi" },
        ] });
        let server = server(ServerOptions::default());
        let count = json_of(&server, post("/tokenize", plain.to_string())).await.1["count"].clone();
        let block = |text: &str| json!({ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } });
        let billing = "x-anthropic-billing-header: cc_version=2.1; cch=0a1b2;";
        for system in [
            json!("Be brief.\n\nBe kind."),
            json!([block("Be brief."), block("Be kind.")]),
            json!([block(billing), block("Be brief."), block("Be kind.")]),
            json!(format!("{billing}\nBe brief.\n\nBe kind.")),
            json!([block(&format!("{billing}\n\nBe brief.")), block("Be kind.")]),
        ] {
            let request =
                json!({ "system": system, "messages": [{ "role": "user", "content": "Hi" }] });
            let (_, counted) = json_of(&server, post(COUNT, request.to_string())).await;
            assert_eq!(counted["input_tokens"], count, "{request}");
            let mut request = request;
            request["messages"]
                .as_array_mut()
                .unwrap()
                .insert(0, json!({ "role": "system", "content": "Be kind." }));
            request["system"] = json!([block(billing), block("Be brief.")]);
            let (_, counted) = json_of(&server, post(COUNT, request.to_string())).await;
            assert_eq!(counted["input_tokens"], count, "{request}");
        }
        let only = json!({ "system": [block(billing)], "messages": [{ "role": "user", "content": "Hi" }] });
        let bare = json!({ "messages": [{ "role": "user", "content": "Hi" }] });
        assert_eq!(
            json_of(&server, post(COUNT, only.to_string())).await,
            json_of(&server, post(COUNT, bare.to_string())).await
        );
    });
}

pub(super) fn volume() -> Value {
    let schema = json!({ "type": "object", "properties": { "level": { "type": "integer" } }, "required": ["level"] });
    json!({ "name": "set_volume", "description": "Set the volume", "input_schema": schema })
}

#[test]
fn tools_are_called_over_turns() {
    run(async {
        let server = server(ServerOptions::default());
        let mut messages = vec![json!({ "role": "user", "content": "Set the volume to 36" })];
        let request = |messages: &[Value], more: Value| {
            let mut request = asks(json!({ "messages": messages, "tools": [volume()] }));
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            request
        };
        let call = json!([{ "type": "tool_use", "name": "set_volume", "input": { "level": 36 } }]);
        for choice in [
            json!({}),
            json!({ "tool_choice": { "type": "auto", "disable_parallel_tool_use": true } }),
            json!({ "tool_choice": { "type": "any" } }),
            json!({ "tool_choice": { "type": "tool", "name": "set_volume" } }),
        ] {
            answers_so(
                &server,
                &request(&messages, choice),
                call.clone(),
                ("tool_use", Value::Null),
            )
            .await;
        }
        let none = request(&messages, json!({ "tool_choice": { "type": "none" } }));
        assert_eq!(answered(&server, &none).await["stop_reason"], "end_turn");
        let answer = answered(&server, &request(&messages, json!({}))).await;
        messages.push(json!({ "role": "assistant", "content": answer["content"] }));
        let id = &answer["content"][0]["id"];
        let said = text("The volume is set to 36.");
        for result in [json!("{\"result\": \"ok\"}"), text("{\"result\": \"ok\"}")] {
            let result = json!({ "type": "tool_result", "tool_use_id": id, "content": result });
            let turn = json!({ "role": "user", "content": [result] });
            let messages = [&messages[..], &[turn]].concat();
            answers_so(
                &server,
                &request(&messages, json!({})),
                said.clone(),
                ("end_turn", Value::Null),
            )
            .await;
        }
    });
}

/// Reasoning, text and parallel calls are blocks in their order, and return to the template.
#[test]
fn blocks_of_all_kinds() {
    run(async {
        let pieces = [
            "<think>Let me",
            " see.</think>",
            "I call ",
            "two.",
            "<|tool_call_start|>[f(a=1), ",
            "g(b=123456789012345678901234567890)]<|tool_call_end|>",
        ];
        let (server, script) = scripted(&pieces);
        let blocks = json!([
            { "type": "thinking", "thinking": "Let me see.", "signature": "" },
            { "type": "text", "text": "I call two." },
            { "type": "tool_use", "name": "f", "input": { "a": 1 } },
            { "type": "tool_use", "name": "g", "input": { "b": 123_456_789_012_345_678_901_234_567_890_f64 } },
        ]);
        answers_so(&server, &asks(json!({})), blocks.clone(), ("tool_use", Value::Null)).await;
        // Numbers beyond 64 bits are exact.
        let (_, _, body) = send(&server, post(PATH, asks(json!({})).to_string())).await;
        assert!(body.contains(r#""input":{"b":123456789012345678901234567890}"#), "{body}");
        let without = json!(blocks.as_array().unwrap()[1..]);
        for quiet in
            [json!({ "type": "disabled" }), json!({ "type": "adaptive", "display": "omitted" })]
        {
            let quiet = asks(json!({ "thinking": quiet }));
            answers_so(&server, &quiet, without.clone(), ("tool_use", Value::Null)).await;
        }
        let (status, headers, _) = {
            let more = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } });
            send(&server, post(PATH, asks(more).to_string())).await
        };
        assert_eq!(
            (status.as_u16(), &headers["x-ignored-fields"]),
            (200, &"thinking.budget_tokens".parse().unwrap())
        );
        script.script.lock().unwrap().1 = vec![String::new()];
        answers_so(&server, &asks(json!({})), json!([]), ("end_turn", Value::Null)).await;
        // The history has the same prompt as in the chat API.
        let call = |id: &str, n: &str| {
            format!(r#"{{"type": "tool_use", "id": "{id}", "name": "f", "input": {{"a": {n}}}}}"#)
        };
        let big = "123456789012345678901234567890";
        let history = format!(
            r#"{{"messages": [{{"role": "user", "content": "Hi"}}, {{"role": "assistant", "content": [
            {{"type": "thinking", "thinking": "Hm.", "signature": "s"}}, {{"type": "redacted_thinking", "data": "d"}},
            {{"type": "text", "text": "So: "}}, {}, {}]}}, {{"role": "user", "content": [
            {{"type": "tool_result", "tool_use_id": "1", "content": "one"}},
            {{"type": "tool_result", "tool_use_id": "2", "is_error": true}},
            {{"type": "text", "text": "Go on."}}]}}]}}"#,
            call("1", "1"),
            call("2", big)
        );
        let call = |id: &str, n: &str| {
            json!({ "id": id, "type": "function", "function": {
            "name": "f", "arguments": format!("{{\"a\": {n}}}") } })
        };
        let same = json!({ "messages": [
            { "role": "user", "content": "Hi" },
            { "role": "assistant", "content": "So: ", "reasoning_content": "Hm.", "tool_calls": [call("1", "1"), call("2", big)] },
            { "role": "tool", "tool_call_id": "1", "content": "one" },
            { "role": "tool", "tool_call_id": "2", "content": "Error" },
            { "role": "user", "content": "Go on." },
        ] });
        let own = crate::api::MessagesRequest::read_to_count(&history, crate::api::Unknown::Refuse)
            .unwrap();
        assert_eq!(own.chat.ignored, ["messages[1].content[1] (redacted_thinking)"]);
        let same = crate::api::ChatRequest::from_json(&same.to_string()).unwrap();
        let text = |request: &crate::api::ChatRequest| {
            engine().render_chat(&request.conversation).unwrap()
        };
        assert_eq!(text(&own.chat), text(&same));
        assert!(text(&same).contains(big));
    });
}

#[test]
fn tools_of_other_servers_are_left_out_and_named() {
    run(async {
        let server = server(ServerOptions::default());
        let tools = json!([{ "type": "web_search_20250305", "name": "web_search" }, volume()]);
        let request = asks(json!({ "tools": tools, "tool_choice": { "type": "any" },
            "messages": [{ "role": "user", "content": "Set the volume to 36" }] }));
        let (status, headers, body) = send(&server, post(PATH, request.to_string())).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(headers["x-ignored-fields"], "tools[0] (web_search_20250305)");
        let only = asks(json!({ "tools": [tools[0]], "tool_choice": { "type": "any" } }));
        assert_eq!(json_of(&server, post(PATH, only.to_string())).await.0, 400);
    });
}

/// A structure is enforced.
#[test]
fn an_answer_follows_a_schema() {
    run(async {
        let server = server(ServerOptions::default());
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 9 } },
            "required": ["n"], "additionalProperties": false });
        let format = json!({ "type": "json_schema", "schema": schema });
        let answer =
            answered(&server, &asks(json!({ "output_config": { "format": format } }))).await;
        let value: Value =
            serde_json::from_str(answer["content"][0]["text"].as_str().unwrap()).unwrap();
        assert!(value["n"].is_u64(), "{value}");
        let wrong = json!({ "type": "json_schema", "schema": { "type": "objekt" } });
        let request = asks(json!({ "output_config": { "format": wrong } }));
        let (status, reply) = json_of(&server, post(PATH, request.to_string())).await;
        assert_eq!(status, 400);
        assert!(
            reply["error"]["message"].as_str().unwrap().starts_with("output_config.format"),
            "{reply}"
        );
    });
}
