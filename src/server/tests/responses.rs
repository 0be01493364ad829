//! OpenAI's Responses API.

use super::*;

pub(super) const PATH: &str = "/v1/responses";

/// The fields that clients demand of a response.
const KEYS: [&str; 32] = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "user",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
];

/// A request with a question that the demonstration model answers.
pub(super) fn asks(more: Value) -> Value {
    let mut request = json!({ "model": "demo", "temperature": 0, "input": "What is 2 + 3?" });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

pub(super) async fn answered(server: &Server, request: &Value) -> Value {
    let (status, reply) = json_of(server, post(PATH, request.to_string())).await;
    assert_eq!(status, 200, "{request}: {reply}");
    for key in KEYS {
        assert!(reply.get(key).is_some(), "{key} is missing: {reply}");
    }
    reply
}

pub(super) async fn streamed(server: &Server, mut request: Value) -> Vec<Value> {
    request["stream"] = true.into();
    let (status, headers, body) = send(server, post(PATH, request.to_string())).await;
    let kind = headers["content-type"].to_str().unwrap();
    assert_eq!((status.as_u16(), kind), (200, "text/event-stream"), "{body}");
    named_events(&body)
}

/// The response at the end of a stream. All events before it must be in order, and add up to it.
fn assembled(events: &[Value]) -> Value {
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
    }
    let kinds = |event: &Value| event["type"].as_str().unwrap().to_owned();
    assert_eq!(
        (&*kinds(&events[0]), &*kinds(&events[1])),
        ("response.created", "response.in_progress")
    );
    for event in &events[..2] {
        assert_eq!(
            (&event["response"]["status"], &event["response"]["output"]),
            (&json!("in_progress"), &json!([]))
        );
        assert!(KEYS.iter().all(|key| event["response"].get(key).is_some()));
    }
    let mut items: Vec<Value> = Vec::new();
    let (mut open, mut text) = (Value::Null, String::new());
    for event in &events[2..events.len() - 1] {
        assert_eq!(event["output_index"], items.len(), "{event}");
        let in_item = event.get("item_id");
        assert!(in_item.is_none_or(|id| *id == open["id"]), "{event}");
        match kinds(event).as_str() {
            "response.output_item.added" => {
                assert!(open.is_null() && event["item"]["status"] == "in_progress", "{event}");
                open = event["item"].clone();
                text = String::new();
            }
            "response.content_part.added" => {
                assert_eq!((&event["part"]["text"], &open["content"]), (&json!(""), &json!([])));
                open["content"] = json!([event["part"]]);
            }
            "response.output_text.delta"
            | "response.reasoning_text.delta"
            | "response.function_call_arguments.delta" => text += event["delta"].as_str().unwrap(),
            "response.output_text.done" | "response.reasoning_text.done" => {
                assert_eq!(event["text"], text)
            }
            "response.function_call_arguments.done" => {
                assert_eq!((&event["arguments"], &event["name"]), (&json!(text), &open["name"]));
                open["arguments"] = text.as_str().into();
            }
            "response.content_part.done" => {
                assert_eq!(event["part"]["text"], text);
                open["content"] = json!([event["part"]]);
            }
            "response.output_item.done" => {
                open["status"] = event["item"]["status"].clone();
                assert_eq!(event["item"], open);
                items.push(open.take());
            }
            other => panic!("{other}"),
        }
    }
    assert!(open.is_null());
    let last = events.last().unwrap();
    assert_eq!(kinds(last), format!("response.{}", last["response"]["status"].as_str().unwrap()));
    assert_eq!(last["response"]["output"], json!(items));
    last["response"].clone()
}

/// An item without its ids.
fn bare(item: &Value) -> Value {
    let mut item = item.clone();
    let fields = item.as_object_mut().unwrap();
    assert!(fields.shift_remove("id").is_some_and(|id| id.is_string()));
    assert_eq!(fields.shift_remove("call_id").is_some(), fields["type"] == "function_call");
    item
}

/// Checks the output of a response, whole and streamed.
async fn answers_so(server: &Server, request: &Value, output: Value, status: &str) {
    for response in
        [answered(server, request).await, assembled(&streamed(server, request.clone()).await)]
    {
        let items: Vec<Value> = response["output"].as_array().unwrap().iter().map(bare).collect();
        assert_eq!(json!(items), output, "{request}");
        assert_eq!(
            (&response["status"], &response["object"]),
            (&json!(status), &json!("response"))
        );
        assert_eq!(response["completed_at"].is_u64(), status == "completed");
        let usage = &response["usage"];
        let count = |key: &str| usage[key].as_u64().unwrap();
        assert_eq!(count("total_tokens"), count("input_tokens") + count("output_tokens"));
        assert!(usage["input_tokens_details"]["cached_tokens"].is_u64());
        assert!(usage["output_tokens_details"]["reasoning_tokens"].is_u64());
    }
}

fn says(text: &str, status: &str) -> Value {
    let part = json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
    json!({ "type": "message", "role": "assistant", "content": [part], "status": status })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

#[test]
fn texts_and_their_ends() {
    run(async {
        let server = server(ServerOptions::default());
        let sum = json!([says("2 + 3 = 5.", "completed")]);
        answers_so(&server, &asks(json!({})), sum.clone(), "completed").await;
        let cut = asks(json!({ "max_output_tokens": 3 }));
        let reply = answered(&server, &cut).await;
        assert_eq!(reply["incomplete_details"], json!({ "reason": "max_output_tokens" }));
        answers_so(&server, &cut, json!([bare(&reply["output"][0])]), "incomplete").await;
        assert_eq!(reply["output"][0]["status"], "incomplete");
        // Fields that change no answer, and all forms of messages.
        let parts = json!([{ "type": "input_text", "text": "What is " }, { "type": "input_text", "text": "2 + 3?" }]);
        let more = json!({
            "input": [{ "type": "message", "role": "user", "content": parts }], "include": ["reasoning.encrypted_content"],
            "metadata": { "a": "b" }, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k",
            "client_metadata": {}, "service_tier": "auto", "truncation": "disabled", "background": false,
            "parallel_tool_calls": true, "tools": [], "tool_choice": "auto", "reasoning": {},
            "text": { "format": { "type": "text" } }, "store": false, "max_tool_calls": 3, "top_logprobs": 0,
            "stream_options": null, "previous_response_id": null, "instructions": null,
        });
        answers_so(&server, &asks(more.clone()), sum, "completed").await;
        let reply = answered(&server, &asks(more)).await;
        for (key, value) in [
            ("metadata", json!({ "a": "b" })),
            ("user", json!("u")),
            ("prompt_cache_key", json!("k")),
            ("store", json!(false)),
            ("max_tool_calls", json!(3)),
            ("temperature", json!(0)),
            ("model", json!("demo")),
            ("truncation", json!("disabled")),
            ("reasoning", json!({ "effort": null, "summary": null })),
            ("error", Value::Null),
            ("text", json!({ "format": { "type": "text" } })),
        ] {
            assert_eq!(reply[key], value, "{key}");
        }
        assert!(reply["top_p"].is_number() && reply["presence_penalty"].is_number());
    });
}

fn volume() -> Value {
    let schema = json!({ "type": "object", "properties": { "level": { "type": "integer" } },
        "required": ["level"], "additionalProperties": false });
    json!({ "type": "function", "name": "set_volume", "description": "Set the volume", "parameters": schema })
}

#[test]
fn tools_are_called_over_turns() {
    run(async {
        let server = server(ServerOptions::default());
        let mut input = vec![user("Set the volume to 36")];
        let request = |input: &[Value], more: Value| {
            let mut request = asks(json!({ "input": input, "tools": [volume()], "store": false }));
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            request
        };
        let call = json!([{ "type": "function_call", "name": "set_volume", "status": "completed",
            "arguments": r#"{"level":36}"# }]);
        let only = json!([{ "type": "function", "name": "set_volume" }]);
        for choice in [
            json!({}),
            json!({ "parallel_tool_calls": false }),
            json!({ "tool_choice": "required" }),
            json!({ "tool_choice": { "type": "function", "name": "set_volume" } }),
            json!({ "tool_choice": { "type": "allowed_tools", "mode": "required", "tools": only } }),
        ] {
            let reply = answered(&server, &request(&input, choice.clone())).await;
            let made = bare(&reply["output"][0]);
            assert_eq!(made["name"], "set_volume", "{choice}");
            let arguments: Value =
                serde_json::from_str(made["arguments"].as_str().unwrap()).unwrap();
            assert_eq!(arguments, json!({ "level": 36 }), "{choice}");
        }
        let reply = answered(&server, &request(&input, json!({}))).await;
        let mut call = call;
        call[0]["arguments"] = reply["output"][0]["arguments"].clone();
        answers_so(&server, &request(&input, json!({})), call, "completed").await;
        assert_eq!(reply["tools"][0]["strict"], Value::Null);
        let made = &reply["output"][0];
        input.push(made.clone());
        for output in [
            json!("{\"result\": \"ok\"}"),
            json!([{ "type": "input_text", "text": "{\"result\": \"ok\"}" }]),
        ] {
            let result = json!({ "type": "function_call_output", "call_id": made["call_id"], "output": output });
            let input = [&input[..], &[result]].concat();
            let said = json!([says("The volume is set to 36.", "completed")]);
            answers_so(&server, &request(&input, json!({})), said, "completed").await;
        }
    });
}

/// Reasoning, text and parallel calls are items in their order. They return to the template as one turn.
#[test]
fn items_of_all_kinds() {
    run(async {
        let pieces = [
            "<think>Let me",
            " see.</think>",
            "I call ",
            "two.",
            "<|tool_call_start|>[f(a=1), ",
            "mail__send(b=123456789012345678901234567890)]<|tool_call_end|>",
        ];
        let (server, script) = scripted(&pieces);
        let send =
            json!({ "type": "function", "name": "send", "parameters": null, "strict": false });
        let space = json!({ "type": "namespace", "name": "mail", "tools": [send, { "type": "web_search" }] });
        let request = asks(json!({ "tools": [space] }));
        let reasoning = json!([{ "type": "reasoning_text", "text": "Let me see." }]);
        let call = |name: &str, arguments: &str| {
            json!({
            "type": "function_call", "name": name, "arguments": arguments, "status": "completed" })
        };
        let mut sends = call("send", r#"{"b":123456789012345678901234567890}"#);
        sends["namespace"] = "mail".into();
        let reply = answered(&server, &request).await;
        let arguments = |at: usize| reply["output"][at]["arguments"].as_str().unwrap();
        sends["arguments"] = arguments(3).into();
        assert!(arguments(3).contains("123456789012345678901234567890"));
        let items = json!([
            { "type": "reasoning", "summary": [], "content": reasoning, "status": "completed" },
            says("I call two.", "completed"), call("f", arguments(2)), sends,
        ]);
        answers_so(&server, &request, items, "completed").await;
        script.script.lock().unwrap().1 = vec![String::new()];
        answers_so(&server, &request, json!([]), "completed").await;
        // The history has the same prompt as in the chat API.
        let mut input = vec![
            json!({ "role": "developer", "content": "A." }),
            json!({ "role": "developer", "content": "B." }),
            user("Hi"),
        ];
        input.extend(reply["output"].as_array().unwrap().clone());
        for (at, output) in [(2, json!("one")), (3, json!([]))] {
            let id = &reply["output"][at]["call_id"];
            input.push(json!({ "type": "function_call_output", "call_id": id, "output": output }));
        }
        // A turn of nothing but reasoning is left out.
        input.push(json!({ "type": "reasoning", "summary": [], "encrypted_content": "x" }));
        input.push(user("Go on."));
        let own = json!({ "instructions": "Zero.", "input": input }).to_string();
        let own = crate::api::ResponsesRequest::read(&own, crate::api::Unknown::Refuse, |_| None)
            .unwrap();
        let call = |at: usize, name: &str| {
            json!({ "id": reply["output"][at]["call_id"], "type": "function",
            "function": { "name": name, "arguments": arguments(at) } })
        };
        let same = json!({ "messages": [
            { "role": "system", "content": "Zero.\n\nA.\n\nB." }, user("Hi"),
            { "role": "assistant", "content": "I call two.", "reasoning_content": "Let me see.",
              "tool_calls": [call(2, "f"), call(3, "mail__send")] },
            { "role": "tool", "tool_call_id": call(2, "f")["id"], "content": "one" },
            { "role": "tool", "tool_call_id": call(3, "f")["id"], "content": "" },
            user("Go on."),
        ] });
        let same = crate::api::ChatRequest::from_json(&same.to_string()).unwrap();
        let text = |request: &crate::api::ChatRequest| {
            engine().render_chat(&request.conversation).unwrap()
        };
        assert_eq!(text(&own.chat), text(&same));
    });
}

#[test]
fn stored_responses_are_continued() {
    let request = |method: &str, id: &str| {
        Request::builder().method(method).uri(format!("{PATH}/{id}")).body(Body::empty()).unwrap()
    };
    run(async {
        let server = server(ServerOptions::default());
        let tools = json!({ "tools": [volume()], "input": "Set the volume to 36", "instructions": "Be brief." });
        for stream in [false, true] {
            let first = match stream {
                false => answered(&server, &asks(tools.clone())).await,
                true => assembled(&streamed(&server, asks(tools.clone())).await),
            };
            let id = first["id"].as_str().unwrap();
            assert!(id.starts_with("resp_") && first["store"] == true);
            assert_eq!(json_of(&server, request("GET", id)).await, (StatusCode::OK, first.clone()));
            let result = json!([{ "type": "function_call_output", "call_id": first["output"][0]["call_id"],
                "output": "{\"result\": \"ok\"}" }]);
            let next =
                asks(json!({ "previous_response_id": id, "input": result, "tools": [volume()] }));
            let second = answered(&server, &next).await;
            assert_eq!(bare(&second["output"][0]), says("The volume is set to 36.", "completed"));
            assert_eq!(
                (&second["previous_response_id"], &second["instructions"]),
                (&json!(id), &Value::Null)
            );
            let third = asks(json!({ "previous_response_id": second["id"], "store": false }));
            let third = answered(&server, &third).await;
            assert_eq!(third["status"], "completed");
            assert_eq!(
                json_of(&server, request("GET", third["id"].as_str().unwrap())).await.0,
                404
            );
            // A conversation does not need the response that it continued.
            let gone = json!({ "id": id, "object": "response", "deleted": true });
            assert_eq!(json_of(&server, request("DELETE", id)).await, (StatusCode::OK, gone));
            for (status, code, again) in [
                (404, "response_not_found", request("GET", id)),
                (404, "response_not_found", request("DELETE", id)),
                (400, "invalid_request", post(PATH, next.to_string())),
            ] {
                let (got, reply) = json_of(&server, again).await;
                assert_eq!((got.as_u16(), &reply["error"]["code"]), (status, &json!(code)));
                assert!(reply["error"]["message"].as_str().unwrap().contains(id), "{reply}");
            }
            let fourth = asks(json!({ "previous_response_id": second["id"] }));
            assert_eq!(answered(&server, &fourth).await["status"], "completed");
        }
        let again = Request::get(format!("{PATH}/x?stream=true")).body(Body::empty()).unwrap();
        assert_eq!(json_of(&server, again).await.0, 400);
    });
}

/// The oldest responses are forgotten.
#[test]
fn stored_responses_are_bounded() {
    use super::super::stored::{MOST_BYTES, MOST_CONVERSATION, MOST_RESPONSES, Stored};
    let stored = Stored::default();
    let response = |number: usize, bytes: usize| crate::api::StoredResponse {
        id: number.to_string(),
        response: "r".repeat(bytes),
        messages: String::new(),
    };
    for number in 0..MOST_RESPONSES + 3 {
        stored.keep(response(number, 1));
    }
    let there = |number: usize| stored.response(&number.to_string()).is_some();
    assert!(!there(2) && there(3) && there(MOST_RESPONSES + 2));
    stored.keep(response(5000, MOST_BYTES - 100));
    assert!(there(5000) && !there(4) && there(MOST_RESPONSES + 2));
    stored.keep(response(5001, MOST_BYTES / 2));
    assert!(there(5001) && !there(5000) && !there(MOST_RESPONSES + 2));
    stored.keep(response(5002, MOST_BYTES + 1));
    assert!(!there(5002));
    // A conversation that no request could have.
    let messages = "m".repeat(MOST_CONVERSATION + 1);
    stored.keep(crate::api::StoredResponse { messages, ..response(5003, 1) });
    assert!(!there(5003));
}
