//! A scripted model behind a real address, for an agent that is started by hand: Codex, with `wire_api = "responses"`.
//!
//! `LFM2_AGENT_PORT=8090 cargo test --lib scripted_model_for_an_agent -- --ignored --nocapture` serves it until all
//! answers were asked for.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::server::Listener;

/// The demonstration model with a context of 32,768 tokens, since the first request of an agent has some 17,000. Nothing
/// is computed with it.
fn engine_with_room() -> Engine {
    let folder = tempfile::TempDir::new().unwrap();
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    for entry in std::fs::read_dir(demo).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let config = folder.path().join("config.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    json["max_position_embeddings"] = json!(32_768);
    std::fs::write(&config, json.to_string()).unwrap();
    let builder = Engine::builder().path(folder.path()).unwrap().context_length(32_768);
    pollster::block_on(builder.build()).unwrap()
}

/// Gives each request the next answer.
struct Replays {
    engine: Engine,
    answers: Mutex<VecDeque<&'static str>>,
}

impl Generates for Replays {
    fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or("Done.");
        println!("a prompt of {} tokens; answer: {answer}", request.prompt.len());
        let format = AnswerFormat { thinks: true, begins_in_reasoning: false, calls: Calls::Any };
        let pieces: Vec<String> = answer.chars().map(String::from).collect();
        Ok(Generation::scripted(&self.engine, format, &pieces))
    }
}

#[test]
#[ignore = "serves until an agent has asked"]
fn scripted_model_for_an_agent() {
    let port = std::env::var("LFM2_AGENT_PORT").expect("LFM2_AGENT_PORT is not set");
    let answers = VecDeque::from([
        "<think>I look first.</think><|tool_call_start|>[exec_command(cmd=\"ls\")]<|tool_call_end|>",
        "<|tool_call_start|>[exec_command(cmd=\"cat notes.txt\")]<|tool_call_end|>",
        "The notes say: water the plants.",
    ]);
    let engine = engine_with_room();
    let replays = Arc::new(Replays { engine: engine.clone(), answers: Mutex::new(answers) });
    let aliases = vec!["demo".to_owned()];
    let server = Server::new(ServerOptions { aliases, ..ServerOptions::default() });
    server.ready_with(engine, replays.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = format!("127.0.0.1:{port}");
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let running = server.clone();
        let running = tokio::spawn(async move { running.run(Listener::Tcp(listener)).await });
        while !replays.answers.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The agent reads the last answer.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.drain();
        running.await.unwrap();
    });
}
