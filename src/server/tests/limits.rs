//! Limits, keys, origins and errors.

use std::time::Duration;

use super::*;

fn error_of(reply: &Value) -> (&str, &str, &str) {
    let error = &reply["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    (text("type"), text("param"), text("code"))
}

/// Waits until no answer runs.
async fn is_idle(server: &Server) {
    let began = std::time::Instant::now();
    while server.shared.in_flight() > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "an answer did not end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Errors have OpenAI's shape, whatever the request was.
#[test]
fn errors_have_openais_shape() {
    run(async {
        let server = server(ServerOptions::default());
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        let long =
            chat(json!({ "messages": [{ "role": "user", "content": "word ".repeat(300) }] }));
        for (request, status, code) in [
            (get("/page"), 404, "unknown_url"),
            (get("/../../etc/passwd"), 404, "unknown_url"),
            (get("/v1/chat/completions"), 405, "method_not_allowed"),
            (get("/v1/models/other"), 404, "model_not_found"),
            (post("/v1/models/../../x", ""), 405, "method_not_allowed"),
            (post("/v1/embeddings", "{}"), 404, "no_embeddings"),
            (post("/v1/chat/completions", ""), 400, "invalid_request"),
            (post("/v1/chat/completions", "[]"), 400, "invalid_request"),
            (post("/v1/chat/completions", vec![0xff_u8, 0xfe]), 400, "invalid_request"),
            (
                post("/v1/chat/completions", chat(json!({ "model": "gpt" })).to_string()),
                404,
                "model_not_found",
            ),
            (
                post("/v1/chat/completions", chat(json!({ "best": 1 })).to_string()),
                400,
                "invalid_request",
            ),
            (
                post("/v1/chat/completions", chat(json!({ "temperature": -1 })).to_string()),
                400,
                "invalid_request",
            ),
            (post("/v1/chat/completions", long.to_string()), 400, "context_length_exceeded"),
            (
                post(
                    "/v1/completions",
                    json!({ "prompt": "" , "add_special_tokens": false }).to_string(),
                ),
                400,
                "invalid_request",
            ),
            (
                post("/v1/completions", json!({ "prompt": [99_999_999] }).to_string()),
                400,
                "invalid_request",
            ),
            (post("/detokenize", json!({ "tokens": ["a"] }).to_string()), 400, "invalid_request"),
            (
                post("/detokenize", json!({ "tokens": [99_999_999] }).to_string()),
                400,
                "invalid_request",
            ),
            (post("/tokenize", "{}"), 400, "invalid_request"),
            (
                post("/apply-template", chat(json!({ "model": "gpt" })).to_string()),
                404,
                "model_not_found",
            ),
            (post("/apply-template", "{}"), 400, "invalid_request"),
        ] {
            let name = format!("{} {}", request.method(), request.uri());
            let (got, reply) = json_of(&server, request).await;
            assert_eq!((got.as_u16(), error_of(&reply).2), (status, code), "{name}: {reply}");
            assert!(reply["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        }
        let get = Request::get("/v1/models/%ff").body(Body::empty()).unwrap();
        assert_eq!(json_of(&server, get).await.0, 400);
        for stop in [json!(vec!["a"; 65]), json!("a".repeat(1025))] {
            let request = post("/v1/chat/completions", chat(json!({ "stop": stop })).to_string());
            assert_eq!(error_of(&json_of(&server, request).await.1).1, "stop");
        }
        let plain = Request::post("/v1/chat/completions").header("content-type", "text/plain");
        let plain = plain.body(Body::from(chat(json!({})).to_string())).unwrap();
        assert_eq!(json_of(&server, plain).await.0, 415);
        let large = post("/v1/chat/completions", vec![b' '; (8 << 20) + 1]);
        assert_eq!(json_of(&server, large).await.0, 413);
    });
}

/// The field that is wrong is named in `param`.
#[test]
fn errors_name_the_field() {
    run(async {
        let server = server(ServerOptions { max_queue: 0, ..ServerOptions::default() });
        let long = "word ".repeat(300);
        for (path, request, field) in [
            ("/v1/chat/completions", chat(json!({ "messages": "hi" })), "messages"),
            ("/v1/chat/completions", chat(json!({ "messages": [] })), "messages"),
            (
                "/v1/chat/completions",
                chat(json!({ "messages": [{ "role": "x" }] })),
                "messages[0].role",
            ),
            (
                "/v1/chat/completions",
                chat(json!({ "messages": [{ "role": "user", "content": long }] })),
                "messages",
            ),
            ("/v1/chat/completions", chat(json!({ "stop": "" })), "stop"),
            ("/v1/chat/completions", chat(json!({ "tools": [{ "x": 1 }] })), "tools[0]"),
            ("/v1/chat/completions", chat(json!({ "top_p": 2 })), "top_p"),
            ("/v1/chat/completions", chat(json!({ "n": 3 })), "n"),
            ("/v1/completions", json!({ "prompt": [] }), "prompt"),
            ("/v1/completions", json!({ "prompt": [99_999_999] }), "prompt"),
            ("/v1/completions", json!({ "prompt": ["a", "b", "c"] }), "prompt"),
            ("/detokenize", json!({ "tokens": [99_999_999] }), "tokens"),
        ] {
            let (status, reply) = json_of(&server, post(path, request.to_string())).await;
            assert_eq!((status.as_u16(), error_of(&reply).1), (400, field), "{request}: {reply}");
        }
    });
}

#[test]
fn keys_and_origins_are_checked() {
    let with = |name: &str, value: &str| {
        let request = Request::get("/v1/models").header(name, value);
        request.body(Body::empty()).unwrap()
    };
    run(async {
        let keys = vec!["first".to_owned(), "second".to_owned()];
        let locked = server(ServerOptions { keys, ..ServerOptions::default() });
        for (name, value, status) in [
            ("x", "y", 401),
            ("authorization", "Bearer wrong", 401),
            ("authorization", "Basic first", 401),
            ("authorization", "Bearer first", 200),
            ("authorization", "bearer second", 200),
            ("x-api-key", "second", 200),
        ] {
            assert_eq!(json_of(&locked, with(name, value)).await.0, status, "{name}: {value}");
        }
        let both = Request::get("/v1/models").header("x-api-key", "first");
        let both = both.header("authorization", "Bearer another").body(Body::empty()).unwrap();
        assert_eq!(json_of(&locked, both).await.0, 200, "one of two keys is right");
        let health = Request::get("/health").body(Body::empty()).unwrap();
        assert_eq!(json_of(&locked, health).await.0, 200, "needs no key");
        // The page asks for the key itself.
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
            ("/index.css", "text/css; charset=utf-8"),
            ("/icon.svg", "image/svg+xml"),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let (status, headers, body) = send(&locked, request).await;
            assert_eq!((status.as_u16(), headers["content-type"].to_str().unwrap()), (200, kind));
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
            assert!(body.len() > 100, "{path}");
        }
        // A server for this machine, by the name of a site.
        let local = server(ServerOptions { local: true, ..ServerOptions::default() });
        for (host, status) in [
            ("evil.example:8080", 403),
            ("localhost.evil.example", 403),
            ("localhost:8080", 200),
            ("127.0.0.1:8080", 200),
            ("[::1]:8080", 200),
            ("192.168.1.2", 200),
        ] {
            assert_eq!(send(&local, with("host", host)).await.0, status, "{host}");
        }
        // A page of another site, also one whose name was made to resolve to this machine.
        let open = server(ServerOptions::default());
        let page = "https://app.example".to_owned();
        let allowing = server(ServerOptions { cors: vec![page], ..ServerOptions::default() });
        for (server, origin, status) in [
            (&open, "https://app.example", 403),
            (&open, "http://localhost.evil.example:8080", 403),
            (&open, "null", 403),
            (&open, "http://localhost:8080", 200),
            (&open, "http://127.0.0.1:3000", 200),
            (&open, "http://[::1]:8080", 200),
            (&allowing, "https://app.example", 200),
            (&allowing, "https://other.example", 403),
        ] {
            let (got, headers, _) = send(server, with("origin", origin)).await;
            assert_eq!(got, status, "{origin}");
            let allowed = headers.get("access-control-allow-origin").is_some();
            assert_eq!(allowed, origin == "https://app.example" && got == 200, "{origin}");
        }
        // The server's own page, at an IP address of a network. A name may be an attacker's.
        for (origin, host, status) in [
            ("http://192.168.1.2:8080", "192.168.1.2:8080", 200),
            ("http://192.168.1.3:8080", "192.168.1.2:8080", 403),
            ("http://192.168.1.2:8081", "192.168.1.2:8080", 403),
            ("http://evil.example:8080", "evil.example:8080", 403),
        ] {
            let request = Request::get("/v1/models").header("origin", origin).header("host", host);
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(send(&open, request).await.0, status, "{origin} at {host}");
        }
    });
}

#[test]
fn a_full_queue_is_told_at_once() {
    run(async {
        let options = ServerOptions { max_queue: 1, ..ServerOptions::default() };
        let server = server(options);
        let too_many = chat(json!({ "n": 4 }));
        let (status, reply) =
            json_of(&server, post("/v1/chat/completions", too_many.to_string())).await;
        assert_eq!((status.as_u16(), error_of(&reply).1), (400, "n"), "{reply}");
        let long = json!({ "stream": true, "n": 3, "ignore_eos": true, "max_tokens": 200 });
        let request = post("/v1/chat/completions", chat(long).to_string());
        let running = server.router().oneshot(request).await.unwrap();
        assert_eq!(running.status(), 200);
        let request = post("/v1/chat/completions", chat(json!({})).to_string());
        let (status, headers, _) = send(&server, request).await;
        assert_eq!((status.as_u16(), headers["retry-after"].to_str().unwrap()), (429, "1"));
        // Its reader is gone: the places are free again.
        drop(running);
        is_idle(&server).await;
        let request = post("/v1/chat/completions", chat(json!({ "temperature": 0 })).to_string());
        assert_eq!(json_of(&server, request).await.0, 200);
    });
}

#[test]
fn an_answer_that_takes_too_long_ends() {
    run(async {
        let timeout = Duration::from_millis(1);
        let server = server(ServerOptions { timeout, ..ServerOptions::default() });
        let fields = json!({ "ignore_eos": true, "max_tokens": 200 });
        let request = post("/v1/chat/completions", chat(fields.clone()).to_string());
        let (status, headers, _) = send(&server, request).await;
        assert_eq!((status.as_u16(), headers["x-should-retry"].to_str().unwrap()), (504, "false"));
        let mut streamed = chat(fields);
        streamed["stream"] = true.into();
        let (status, _, body) =
            send(&server, post("/v1/chat/completions", streamed.to_string())).await;
        assert_eq!(status, 200);
        assert_eq!(error_of(events(&body).last().unwrap()).2, "timeout", "{body}");
        is_idle(&server).await;
    });
}

#[test]
fn a_server_without_a_model_says_that_it_is_loading() {
    run(async {
        let server = Server::new(ServerOptions::default());
        let health = || Request::get("/health").body(Body::empty()).unwrap();
        assert_eq!(
            json_of(&server, health()).await,
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "loading" }))
        );
        let request = post("/v1/chat/completions", chat(json!({})).to_string());
        let (status, headers, _) = send(&server, request).await;
        assert_eq!(status, 503);
        assert!(headers.contains_key("retry-after") && headers.contains_key("x-request-id"));
        server.ready(engine());
        assert_eq!(json_of(&server, health()).await.0, 200);
        server.drain();
        assert_eq!(json_of(&server, health()).await.1["status"], "shutting_down");
        let request = post("/v1/chat/completions", chat(json!({})).to_string());
        assert_eq!(send(&server, request).await.0, 503);
        server.shared.drained().await;
    });
}

#[test]
fn unknown_fields_are_named_if_the_server_is_lenient() {
    run(async {
        let server = server(ServerOptions { lenient: true, ..ServerOptions::default() });
        let fields =
            json!({ "best": 1, "wörse": null, "wörst": 2, "model": "gpt", "max_tokens": 1 });
        let request = post("/v1/chat/completions", chat(fields).to_string());
        let (status, headers, body) = send(&server, request).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(headers["x-ignored-fields"], "best, w\\u{f6}rst");
        // A known field with a value that is not supported changes the answer.
        let request = post("/v1/chat/completions", chat(json!({ "echo": true })).to_string());
        assert_eq!(send(&server, request).await.0, 400);
    });
}

#[test]
fn requests_are_named_and_counted() {
    run(async {
        let server = server(ServerOptions::default());
        let request = Request::get("/health").header("x-request-id", "mine");
        let (_, headers, _) = send(&server, request.body(Body::empty()).unwrap()).await;
        assert_eq!(headers["x-request-id"], "mine");
        let fields = json!({ "max_tokens": 2, "ignore_eos": true });
        json_of(&server, post("/v1/chat/completions", chat(fields).to_string())).await;
        let unknown = Request::get("/secret/path").body(Body::empty()).unwrap();
        json_of(&server, unknown).await;
        let metrics = Request::get("/metrics").body(Body::empty()).unwrap();
        let (_, _, text) = send(&server, metrics).await;
        for line in [
            "lfm2_requests_total{route=\"/health\",status=\"200\"} 1",
            "lfm2_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 1",
            "lfm2_requests_total{route=\"unknown\",status=\"404\"} 1",
            "lfm2_answers_total{reason=\"length\"} 1",
            "lfm2_generated_tokens_total 2",
            "lfm2_time_to_first_token_seconds_count 1",
            "lfm2_inter_token_latency_seconds_count 1",
            "lfm2_answers_at_once 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("secret"));
    });
}
