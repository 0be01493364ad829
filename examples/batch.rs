//! Three prompts at once.
//!
//! cargo run --example batch

use lfm2_wgpu::engine::{Engine, GenerateOptions, GenerateRequest};
use lfm2_wgpu::text::{Conversation, Message};

fn main() -> Result<(), lfm2_wgpu::Error> {
    pollster::block_on(async {
        let engine = Engine::builder().demo().sequences(3).build().await?;
        let mut requests = Vec::new();
        for question in ["What is 2 + 3?", "Tell me a joke", "What can you do?"] {
            let conversation = Conversation::new([Message::user(question)]);
            let (prompt, format) = engine.chat_prompt(&conversation)?;
            requests.push(GenerateRequest { prompt, format, options: GenerateOptions::default() });
        }
        for done in engine.generate_batch(requests).await {
            println!("{}", done?.answer.content);
        }
        Ok(())
    })
}
