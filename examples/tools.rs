//! An agent's loop: the model calls local functions, and answers with their results.
//!
//! cargo run --release --example tools -- "distance from Prague to Rome?"

use lfm2_wgpu::text::{Conversation, Message, ToolCall};
use lfm2_wgpu::{Engine, Error, GenerateOptions};
use serde_json::{Value, json};

/// Most answers to one question: a model may call tools for ever.
const MOST_TURNS: usize = 8;

/// Runs a call. An error is a result too: the model may try again.
fn run(call: &ToolCall) -> String {
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    match call.name.as_str() {
        "get_distance" => match (arguments["start"].as_str(), arguments["end"].as_str()) {
            (Some("Prague"), Some("Rome")) => json!({ "kilometres": 1299 }).to_string(),
            (start, end) => {
                json!({ "error": format!("no way from {start:?} to {end:?}") }).to_string()
            }
        },
        other => json!({ "error": format!("there is no tool {other}") }).to_string(),
    }
}

fn main() -> Result<(), Error> {
    let question = std::env::args().nth(1).unwrap_or("distance from Prague to Rome?".to_owned());
    pollster::block_on(async {
        let engine = Engine::builder().demo().build().await?;
        let session = engine.session();
        let mut conversation = Conversation::new([Message::user(question)]);
        conversation.tools = Some(vec![json!({ "type": "function", "function": {
            "name": "get_distance",
            "description": "Get the distance between two cities",
            "parameters": {
                "type": "object",
                "properties": { "start": { "type": "string" }, "end": { "type": "string" } },
                "required": ["start", "end"],
            },
        } })]);
        for _ in 0..MOST_TURNS {
            let options = GenerateOptions::default();
            let answer = session.respond(&conversation, &options)?.answer().await?;
            println!("{}", answer.content);
            conversation.messages.push(Message::try_from(answer.to_message())?);
            if answer.tool_calls.is_empty() {
                break;
            }
            for call in &answer.tool_calls {
                println!("{}({})", call.name, call.arguments);
                conversation.messages.push(Message::tool(run(call)));
            }
        }
        Ok(())
    })
}
