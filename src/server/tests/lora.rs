//! LoRA adapters: by name, id or model, and in lists.

use super::*;
use crate::model::TensorId;
use crate::model::lora::{LoraAdapter, LoraFactors, adapted_shape};

/// A server whose engine has the adapters `first` and `second`.
fn with_adapters(options: ServerOptions) -> Server {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let engine = new_engine();
        for (name, sign) in [("first", 1.0), ("second", -1.0)] {
            let adapter = adapter(&engine, sign);
            pollster::block_on(engine.load_lora(name, adapter, 1.0)).unwrap();
        }
        engine
    });
    let server = Server::new(options);
    server.ready(engine.clone());
    server
}

/// A change of the first layer that is large enough for other texts.
fn adapter(engine: &Engine, sign: f32) -> LoraAdapter {
    let ids = [TensorId::ConvOutProj(0), TensorId::AttentionOut(0)];
    let shapes = ids.map(|id| Some((id, adapted_shape(engine.config(), id)?)));
    let (id, [rows, cols]) = shapes.into_iter().flatten().next().unwrap();
    let values = |n: usize, by: f32| (0..n).map(|i| by * (i as f32 * 1.7).sin()).collect();
    let (a, b) = (values(2 * cols, 0.2), values(2 * rows, sign));
    let factors = [(id, LoraFactors { rank: 2, scale: 2.0, a, b })];
    LoraAdapter { factors: factors.into_iter().collect() }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// The text and the model of a short greedy answer.
async fn answer(server: &Server, more: Value) -> (String, String) {
    let mut request = chat(json!({ "temperature": 0, "max_tokens": 8 }));
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, whole) = json_of(server, post("/v1/chat/completions", request.to_string())).await;
    assert_eq!(status, 200, "{more}: {whole}");
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    (text, whole["model"].as_str().unwrap().to_owned())
}

#[test]
fn a_request_chooses_an_adapter() {
    run(async {
        let server = with_adapters(ServerOptions::default());
        let plain = answer(&server, json!({})).await;
        assert_eq!(plain, ("2 + 3 = 5.".to_owned(), "demo".to_owned()));
        let first = answer(&server, json!({ "lora": "first" })).await;
        let second = answer(&server, json!({ "lora": "second", "model": "demo" })).await;
        assert!(first.0 != plain.0 && second.0 != plain.0 && first.0 != second.0);
        assert_eq!((&*first.1, &*second.1), ("demo", "demo"));
        for (more, text, model) in [
            (json!({ "lora": null }), &plain.0, "demo"),
            (json!({ "lora": [] }), &plain.0, "demo"),
            (json!({ "lora": { "name": "first", "scale": 0 } }), &plain.0, "demo"),
            (json!({ "lora": { "name": "first", "scale": 1 } }), &first.0, "demo"),
            (
                json!({ "lora": [{ "id": 0, "scale": 0 }, { "id": 1, "scale": 1 }] }),
                &second.0,
                "demo",
            ),
            (json!({ "model": "second" }), &second.0, "second"),
            (json!({ "model": "first", "lora": "first" }), &first.0, "first"),
        ] {
            let answer = answer(&server, more.clone()).await;
            assert_eq!((&answer.0, &*answer.1), (text, model), "{more}");
        }
        // All APIs have the same fields.
        let input = "What is 2 + 3?";
        let (_, reply) = json_of(
            &server,
            post(
                "/v1/responses",
                json!({ "input": input, "model": "second", "temperature": 0, "max_output_tokens": 8 })
                    .to_string(),
            ),
        )
        .await;
        assert_eq!(reply["output"][0]["content"][0]["text"], second.0, "{reply}");
        assert_eq!(reply["model"], "second");
        let mut request = chat(json!({ "temperature": 0, "max_tokens": 8, "lora": "first" }));
        let (_, reply) = json_of(&server, post("/v1/messages", request.to_string())).await;
        assert_eq!(
            (&reply["content"][0]["text"], &reply["model"]),
            (&json!(first.0), &json!("demo"))
        );
        request["stream"] = true.into();
        let (_, _, body) = send(&server, post("/v1/chat/completions", request.to_string())).await;
        assert_eq!(streamed_texts(&events(&body), 1), [first.0]);
        let text = |more: Value| {
            let mut request = json!({ "prompt": input, "temperature": 0, "max_tokens": 4 });
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            post("/v1/completions", request.to_string())
        };
        let (_, plain) = json_of(&server, text(json!({}))).await;
        let (_, named) = json_of(&server, text(json!({ "model": "first" }))).await;
        let (_, numbered) =
            json_of(&server, text(json!({ "lora": [{ "id": 0, "scale": 1 }] }))).await;
        assert_ne!(named["choices"][0]["text"], plain["choices"][0]["text"]);
        assert_eq!(named["choices"][0]["text"], numbered["choices"][0]["text"]);
        assert_eq!((&named["model"], &numbered["model"]), (&json!("first"), &json!("demo")));
    });
}

#[test]
fn a_wrong_adapter_is_refused() {
    run(async {
        let server = with_adapters(ServerOptions::default());
        for (more, status, param, words) in [
            (json!({ "lora": "third" }), 400, "lora", "the adapters are first, second"),
            (json!({ "lora": [{ "id": 2, "scale": 1 }] }), 400, "lora", "the id 2 is not loaded"),
            (
                json!({ "lora": [{ "id": 0, "scale": 1 }, { "id": 1, "scale": 1 }] }),
                400,
                "lora",
                "one adapter at a time",
            ),
            (json!({ "lora": "first", "model": "second" }), 400, "lora", "give one of them"),
            (json!({ "lora": { "name": "first", "scale": "x" } }), 400, "lora.scale", "finite"),
            (json!({ "model": "third" }), 404, "model", "\"third\" is not loaded"),
        ] {
            for path in ["/v1/chat/completions", "/v1/completions"] {
                let mut request = match path {
                    "/v1/completions" => json!({ "prompt": "Hi" }),
                    _ => chat(json!({})),
                };
                request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                let (got, reply) = json_of(&server, post(path, request.to_string())).await;
                assert_eq!((got.as_u16(), &reply["error"]["param"]), (status, &json!(param)));
                let message = reply["error"]["message"].as_str().unwrap();
                assert!(message.contains(words), "{message}");
            }
        }
        // Without any adapter.
        let plain = super::server(ServerOptions::default());
        let request = chat(json!({ "lora": "first" })).to_string();
        let (status, reply) = json_of(&plain, post("/v1/chat/completions", request)).await;
        assert_eq!((status.as_u16(), &reply["error"]["param"]), (400, &json!("lora")));
        let (_, none) = json_of(&plain, get("/lora-adapters")).await;
        assert_eq!(none, json!([]));
    });
}

#[test]
fn adapters_are_listed() {
    run(async {
        let aliases = vec!["alias".to_owned()];
        let server = with_adapters(ServerOptions { aliases, ..ServerOptions::default() });
        let (_, list) = json_of(&server, get("/v1/models")).await;
        let all: Vec<(&str, &Value)> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| (model["id"].as_str().unwrap(), &model["parent"]))
            .collect();
        let (none, demo) = (Value::Null, json!("demo"));
        assert_eq!(all, [("demo", &none), ("alias", &none), ("first", &demo), ("second", &demo)]);
        assert_eq!((&list["first_id"], &list["last_id"]), (&json!("demo"), &json!("second")));
        let (status, one) = json_of(&server, get("/v1/models/second")).await;
        assert_eq!((status.as_u16(), &one["parent"]), (200, &demo));
        let (_, adapters) = json_of(&server, get("/lora-adapters")).await;
        let one =
            |id, name| json!({ "id": id, "path": name, "scale": 1.0, "name": name, "rank": 2 });
        assert_eq!(adapters, json!([one(0, "first"), one(1, "second")]));
    });
}
