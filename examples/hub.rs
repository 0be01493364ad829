//! Answers with a model by its name on the hub: from the cache shared with `huggingface_hub`, or
//! downloaded.
//!
//! ```sh
//! cargo run --release --example hub -- LiquidAI/LFM2.5-350M-GGUF:Q4_0 "What is WebGPU?"
//! ```

use std::error::Error;
use std::io::Write;

use lfm2_wgpu::hub::{Hub, Progress};
use lfm2_wgpu::text::{Conversation, Message};
use lfm2_wgpu::{Engine, GenerateOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or("LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0".to_owned());
    let question = arguments.next().unwrap_or("What is WebGPU?".to_owned());

    // `pull` blocks: a program with a window calls it on another thread. Cached files are not
    // downloaded again; an interrupted download resumes.
    let model = Hub::open()?.pull(&name, |progress: Progress<'_>| {
        let percent = 100 * progress.done / progress.total.max(1);
        eprint!("\r{percent:3} % of {}", progress.file);
        true // `false` stops the download
    })?;
    eprintln!("\r{}", model.path().display());

    pollster::block_on(answer(model.path(), &question))
}

async fn answer(model: &std::path::Path, question: &str) -> Result<(), Box<dyn Error>> {
    let engine = Engine::builder().path(model)?.build().await?;
    eprintln!("{}, {}", engine.name(), engine.recommendation());
    let session = engine.session();
    let conversation = Conversation::new([Message::user(question)]);
    let mut answer = session.respond(&conversation, &GenerateOptions::default())?;
    while let Some(delta) = answer.next().await {
        print!("{}", delta?.text);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
