//! Tests of the server in process: requests go to its routes without a network.

mod agent;
mod connections;
mod limits;
mod lora;
mod lost;
mod messages;
mod messages_errors;
mod responses;
mod responses_errors;
mod structure;
mod tools;

use std::sync::{Arc, Mutex, OnceLock};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::state::Generates;
use super::{Server, ServerOptions};
use crate::Engine;
use crate::engine::{GenerateRequest, Generation};
use crate::error::Error;
use crate::text::{AnswerFormat, Calls};

/// The engines of tests, which are never dropped.
static ENGINES: Mutex<Vec<Engine>> = Mutex::new(Vec::new());

/// A new engine of the demonstration model, with two sequences.
fn new_engine() -> Engine {
    let builder = Engine::builder().files(crate::demo::files()).context_length(256);
    let engine = pollster::block_on(builder.sequences(2).build()).unwrap();
    ENGINES.lock().unwrap().push(engine.clone());
    engine
}

/// The demonstration model, with two sequences.
fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(new_engine).clone()
}

/// Waits until the GPU has no work of a test. A process that exits before may die, since the software driver's threads
/// use memory that the exit frees.
fn wait_for_gpu() {
    let engines = ENGINES.lock().unwrap().clone();
    for engine in engines {
        let is_busy = || {
            let counts = engine.queue_counts();
            counts.running + counts.waiting > 0
        };
        while is_busy() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let device = engine.device();
        let submission = device.encoder().submit();
        pollster::block_on(device.wait_for(&submission)).unwrap();
    }
}

/// Answers every request with the same pieces.
struct Scripted {
    engine: Engine,
    script: Mutex<(AnswerFormat, Vec<String>)>,
}

impl Generates for Scripted {
    fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        assert!(!request.prompt.is_empty());
        let (format, pieces) = &*self.script.lock().unwrap();
        Ok(Generation::scripted(&self.engine, format.clone(), pieces))
    }
}

fn server(options: ServerOptions) -> Server {
    let server = Server::new(options);
    server.ready(engine());
    server
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let result = runtime.block_on(future);
    wait_for_gpu();
    result
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

async fn send(server: &Server, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let response = server.router().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, headers, String::from_utf8(body.into()).unwrap())
}

/// The answer to a request in JSON, and its status.
async fn json_of(server: &Server, request: Request<Body>) -> (StatusCode, Value) {
    let (status, _, body) = send(server, request).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}")))
}

/// Waits until the engine has left all answers that were cancelled: drivers crash if the process ends during a step.
async fn is_quiet() {
    let last = chat(json!({ "max_tokens": 1 })).to_string();
    let (status, _, body) =
        send(&server(ServerOptions::default()), post("/v1/chat/completions", last)).await;
    assert_eq!(status, 200, "{body}");
}

/// The events of a stream, without the last one.
fn events(body: &str) -> Vec<Value> {
    let data = body.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let mut all: Vec<&str> = data.collect();
    assert_eq!(all.pop(), Some("[DONE]"), "{body}");
    all.into_iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The events of a stream whose events are named by their type.
fn named_events(body: &str) -> Vec<Value> {
    let blocks = body.split("\n\n").filter(|block| !block.is_empty());
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(Some(name), data["type"].as_str().map(|t| format!("event: {t}")).as_deref());
        data
    };
    blocks.map(event).collect()
}

/// A server whose answers are these pieces. The model reasons, and its calls of any tool are read.
fn scripted(pieces: &[&str]) -> (Server, Arc<Scripted>) {
    let format = AnswerFormat { thinks: true, begins_in_reasoning: false, calls: Calls::Any };
    let pieces = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    let script = Arc::new(Scripted { engine: engine(), script: Mutex::new((format, pieces)) });
    let server = Server::new(ServerOptions::default());
    server.ready_with(engine(), script.clone());
    (server, script)
}

/// Values of wrong types and of all depths, for requests that must not break the server.
fn odd_values() -> Vec<Value> {
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let mut all =
        vec![json!(true), json!(-1), json!(1.5), json!(1e300), json!("x"), json!(""), deep];
    all.extend([
        json!([]),
        json!({}),
        json!([null]),
        json!([1]),
        json!(["x"]),
        json!([{}]),
        json!([[]]),
    ]);
    all.extend([json!([{ "type": 1 }]), json!([{ "type": "x" }]), json!([{ "role": "user" }])]);
    all.extend([json!({ "type": [] }), json!({ "type": "x" }), json!({ "format": 1 })]);
    all
}

/// The request with each of its values replaced in turn, at every depth. Each comes with the value's place.
fn replaced(request: &Value, with: &Value) -> Vec<(String, Value)> {
    fn places(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, inner)| places(inner, &format!("{at}/{key}"), all));
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, inner)| places(inner, &format!("{at}/{i}"), all));
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    places(request, "", &mut all);
    let one = |at: String| {
        let mut request = request.clone();
        *request.pointer_mut(&at).unwrap() = with.clone();
        (at, request)
    };
    all.into_iter().skip(1).map(one).collect()
}

fn chat(more: Value) -> Value {
    let mut request = json!({ "messages": [{ "role": "user", "content": "What is 2 + 3?" }] });
    let fields = request.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    request
}

/// The texts of the answers that a stream's chunks make up.
fn streamed_texts(chunks: &[Value], n: usize) -> Vec<String> {
    let mut texts = vec![String::new(); n];
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()) {
        let text = choice["delta"]["content"].as_str().or(choice["text"].as_str());
        texts[choice["index"].as_u64().unwrap() as usize].push_str(text.unwrap_or_default());
    }
    texts
}

#[test]
fn a_conversation_is_answered_whole_and_streamed() {
    run(async {
        let server = server(ServerOptions::default());
        let request = chat(json!({ "temperature": 0, "model": "demo" }));
        let (status, whole) =
            json_of(&server, post("/v1/chat/completions", request.to_string())).await;
        assert_eq!(status, 200, "{whole}");
        assert_eq!(whole["choices"][0]["message"]["content"], "2 + 3 = 5.");
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        let usage = &whole["usage"];
        let sum =
            usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
        assert_eq!(usage["total_tokens"], sum);
        let options = json!({ "include_usage": true });
        let request = chat(json!({
            "temperature": 0, "stream": true, "stream_options": options, "n": 3, "logprobs": true,
        }));
        let (status, headers, body) =
            send(&server, post("/v1/chat/completions", request.to_string())).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(headers["content-type"], "text/event-stream");
        let chunks = events(&body);
        assert_eq!(streamed_texts(&chunks, 3), ["2 + 3 = 5."; 3]);
        for answer in 0..3 {
            let own: Vec<&Value> = chunks
                .iter()
                .filter_map(|chunk| chunk["choices"].get(0))
                .filter(|choice| choice["index"] == answer)
                .collect();
            assert_eq!(own[0]["delta"]["role"], "assistant");
            assert_eq!(own.last().unwrap()["finish_reason"], "stop");
            assert!(own[..own.len() - 1].iter().all(|choice| choice["finish_reason"].is_null()));
            let tokens = own.iter().filter_map(|choice| choice["logprobs"]["content"].as_array());
            let tokens = tokens.flatten().filter_map(|token| token["token"].as_str());
            assert_eq!(tokens.collect::<String>(), "2 + 3 = 5.");
        }
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"], json!([]));
        // The prompt counts once, the answers each.
        assert_eq!(last["usage"]["prompt_tokens"], usage["prompt_tokens"]);
        let each = usage["completion_tokens"].as_u64().unwrap();
        assert_eq!(last["usage"]["completion_tokens"], 3 * each);
        assert!(chunks.iter().all(|chunk| {
            chunk["id"].is_string()
                && chunk["created"].is_u64()
                && chunk["model"] == "demo"
                && chunk["object"] == "chat.completion.chunk"
        }));
    });
}

/// The prompt of several answers is computed once: the others begin with the first one's state.
#[test]
fn answers_to_one_request_share_their_prompt() {
    run(async {
        let server = server(ServerOptions::default());
        // Longer than a block of the cache, and unlike the prompts of other tests.
        let text = "one two three four five six seven ".repeat(12);
        let request = json!({
            "messages": [{ "role": "user", "content": text }], "n": 4, "max_tokens": 3, "seed": 5,
        });
        let before = engine().cache_counts();
        let (status, whole) =
            json_of(&server, post("/v1/chat/completions", request.to_string())).await;
        assert_eq!(status, 200, "{whole}");
        let after = engine().cache_counts();
        let prompt = whole["usage"]["prompt_tokens"].as_u64().unwrap();
        let computed =
            (after.prompt_tokens - before.prompt_tokens) - (after.hit_tokens - before.hit_tokens);
        assert!(computed <= prompt + 3 * 64, "{computed} of {prompt} computed");
        assert_eq!(whole["choices"].as_array().unwrap().len(), 4);
    });
}

/// The scores of a prompt equal those of the engine's own scoring, whole and streamed, beside another prompt.
#[test]
fn echoed_prompts_are_scored() {
    run(async {
        let server = server(ServerOptions::default());
        let engine = engine();
        let text =
            "What is the capital of France? It is Paris, and that of Italy is Rome. ".repeat(3);
        let ids = engine.tokenizer().unwrap().encode(&text, true).unwrap();
        let mut sequence = engine.sequence().unwrap();
        let own = sequence.logprobs(&ids[..ids.len() - 1], &ids[1..], 2, 64).await.unwrap();
        drop(sequence);
        let request = json!({
            "prompt": [text, ids], "echo": true, "logprobs": 2, "max_tokens": 1, "temperature": 0,
        });
        let (status, whole) = json_of(&server, post("/v1/completions", request.to_string())).await;
        assert_eq!(status, 200, "{whole}");
        let mut streamed = request;
        streamed["stream"] = true.into();
        let (_, _, body) = send(&server, post("/v1/completions", streamed.to_string())).await;
        let chunks = events(&body);
        let texts = streamed_texts(&chunks, 2);
        for (index, choice) in whole["choices"].as_array().unwrap().iter().enumerate() {
            assert_eq!(choice["index"], index);
            assert!(choice["text"].as_str().unwrap().starts_with(&text), "{choice}");
            assert_eq!(choice["text"], texts[index]);
            let scored = &choice["logprobs"];
            let logprobs = scored["token_logprobs"].as_array().unwrap();
            assert_eq!(logprobs.len(), ids.len() + 1, "the prompt, and one token");
            assert!(logprobs[0].is_null() && scored["top_logprobs"][0].is_null());
            for (at, own) in own.iter().enumerate() {
                let given = logprobs[at + 1].as_f64().unwrap();
                assert!((given - f64::from(own.logprob)).abs() < 1e-3, "{at}: {given} {own:?}");
                let top = scored["top_logprobs"][at + 1].as_object().unwrap();
                let most = top.values().filter_map(Value::as_f64).fold(f64::MIN, f64::max);
                assert!((most - f64::from(own.top[0].1)).abs() < 1e-3, "{at}: {top:?} {own:?}");
            }
            let own_chunks = chunks.iter().map(|chunk| &chunk["choices"][0]);
            let own_chunks = own_chunks.filter(|choice| choice["index"] == index);
            let streamed: Vec<Value> = own_chunks
                .filter_map(|choice| choice["logprobs"]["token_logprobs"].as_array().cloned())
                .flatten()
                .collect();
            assert_eq!(streamed.len(), logprobs.len());
        }
        // Only the prompt: no token of an answer.
        let request = json!({ "prompt": ids, "echo": true, "logprobs": 0, "max_tokens": 0 });
        let (_, only) = json_of(&server, post("/v1/completions", request.to_string())).await;
        assert_eq!(only["choices"][0]["text"], text);
        assert_eq!(only["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), ids.len());
        assert_eq!(only["usage"]["completion_tokens"], 0);
    });
}

#[test]
fn tokens_and_templates_have_routes() {
    run(async {
        let server = server(ServerOptions::default());
        for (path, request, key, expected) in [
            ("/tokenize", json!({ "prompt": "What is" }), "count", json!(3)),
            ("/tokenize", json!({ "content": "What is" }), "count", json!(2)),
            (
                "/tokenize",
                json!({ "prompt": "What is", "add_special_tokens": false }),
                "count",
                json!(2),
            ),
            ("/tokenize", chat(json!({})), "max_model_len", json!(256)),
        ] {
            let (status, reply) = json_of(&server, post(path, request.to_string())).await;
            assert_eq!((status, &reply[key]), (StatusCode::OK, &expected), "{path} {request}");
        }
        let request = json!({ "prompt": "Grüße 😀" });
        let (_, tokens) = json_of(&server, post("/tokenize", request.to_string())).await;
        let request = json!({ "tokens": tokens["tokens"] });
        let (_, text) = json_of(&server, post("/detokenize", request.to_string())).await;
        assert_eq!(text["prompt"], "<|startoftext|>Grüße 😀");
        // The answer continues the last message.
        let request = json!({ "messages": [
            { "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Well, n" },
        ] });
        let (_, prompt) = json_of(&server, post("/apply-template", request.to_string())).await;
        assert!(prompt["prompt"].as_str().unwrap().ends_with("assistant\nWell, n"), "{prompt}");
        let mut anew = request;
        anew["continue_final_message"] = false.into();
        let (_, prompt) = json_of(&server, post("/apply-template", anew.to_string())).await;
        assert!(prompt["prompt"].as_str().unwrap().ends_with("assistant\n"), "{prompt}");
    });
}
