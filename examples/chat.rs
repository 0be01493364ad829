//! A minimal chat: reads one question per line, streams the answers and keeps the conversation.
//!
//! `cargo run --example chat [CHECKPOINT_DIRECTORY]`. The default is the built-in model.

use std::io::{BufRead, Write};

use lfm2_wgpu::text::{Conversation, Message};
use lfm2_wgpu::{Engine, Error, GenerateOptions};

fn main() -> Result<(), Error> {
    // The library is async and needs an executor; pollster is a minimal one.
    pollster::block_on(chat())
}

async fn chat() -> Result<(), Error> {
    let builder = match std::env::args().nth(1) {
        Some(directory) => Engine::builder().directory(directory)?,
        None => Engine::builder().demo(),
    };
    let engine = builder.build().await?;
    println!("{} on {}", engine.place(), engine.device().adapter().name);

    // The engine keeps the state of earlier turns, so that each turn computes only the new tokens.
    let session = engine.session();
    let mut conversation = Conversation::new([]);
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        conversation.messages.push(Message::user(line));
        let mut answer = session.respond(&conversation, &GenerateOptions::default())?;
        let mut text = String::new();
        // Dropping `answer` stops the generation.
        while let Some(delta) = answer.next().await {
            let delta = delta?;
            print!("{}", delta.text);
            let _ = std::io::stdout().flush();
            text.push_str(&delta.text);
        }
        let timings = answer.timings();
        println!("\n[{} tokens, {:.1} t/s]", timings.predicted_n, timings.predicted_per_second());
        conversation.messages.push(Message::assistant(text));
    }
    Ok(())
}
