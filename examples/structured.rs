//! Reads data from a text: the answer is JSON of a schema.
//!
//! `cargo run --example structured`

use lfm2_wgpu::grammar::Structure;
use lfm2_wgpu::text::{Conversation, Message};
use lfm2_wgpu::{Engine, Error, GenerateOptions};
use serde_json::{Value, json};

fn main() -> Result<(), Error> {
    pollster::block_on(async {
        let engine = Engine::builder().demo().build().await?;
        let schema = json!({
            "type": "object",
            "properties": {
                "country": { "enum": ["France", "Germany", "Japan"] },
                "capital": { "enum": ["Berlin", "Paris", "Tokyo"] },
                "sure": { "type": "boolean" },
            },
            "required": ["country", "capital", "sure"],
            "additionalProperties": false,
        });
        let question = Conversation::new([Message::user("What is the capital of France?")]);
        let (_, format) = engine.chat_prompt(&question)?;
        let allowed = engine.structure(&Structure::JsonSchema(schema), &format)?;
        let options = GenerateOptions { allowed: Some(allowed), ..GenerateOptions::default() };
        let answer = engine.session().respond(&question, &options)?.text().await?;
        // The answer is valid, unless the context ended it.
        let data: Value = serde_json::from_str(&answer).unwrap_or_default();
        println!("The capital of {} is {}: {answer}", data["country"], data["capital"]);
        Ok(())
    })
}
