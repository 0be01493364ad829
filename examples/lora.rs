//! Answers a question with and without a LoRA adapter: a folder of PEFT, or a GGUF file.
//!
//! ```sh
//! cargo run --release --example lora -- MODEL ADAPTER "What is WebGPU?"
//! ```

use std::error::Error;

use lfm2_wgpu::engine::LoraChoice;
use lfm2_wgpu::formats::ModelFiles;
use lfm2_wgpu::model::lora::LoraAdapter;
use lfm2_wgpu::text::{Conversation, Message};
use lfm2_wgpu::{Engine, GenerateOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, adapter, question] = &arguments[..] else {
        return Err("usage: lora MODEL ADAPTER QUESTION".into());
    };
    pollster::block_on(async {
        let engine = Engine::builder().path(model)?.build().await?;
        // It is checked completely against the model before it is loaded.
        let files = ModelFiles::path(adapter)?;
        let adapter = LoraAdapter::read(&files, engine.config()).await?;
        engine.load_lora("mine", adapter, 1.0).await?;
        let session = engine.session();
        let question = Conversation::new([Message::user(question)]);
        let plain = GenerateOptions::default();
        let lora = Some(LoraChoice { name: "mine".to_owned(), scale: None });
        let adapted = GenerateOptions { lora, ..GenerateOptions::default() };
        for (name, options) in [("without", plain), ("with", adapted)] {
            println!("{name} it: {}", session.respond(&question, &options)?.text().await?);
        }
        Ok(())
    })
}
