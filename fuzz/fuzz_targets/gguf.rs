//! Any bytes as one or several GGUF files: the reader, and all code that reads the metadata.
#![no_main]

use std::sync::Arc;

use lfm2_fuzz::{files, held, one_line, tensors};
use lfm2_wgpu::engine::ModelText;
use lfm2_wgpu::formats::{Checkpoint, ModelFiles};
use lfm2_wgpu::model::{GenerationConfig, ModelConfig};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parts = files::split(data, "m.gguf");
    let (table, name) = (files::table(&parts), parts[0].0);
    held(|| {
        if let Err(error) = open(&table, name) {
            one_line(&error);
        }
    });
});

fn open(files: &ModelFiles, name: &str) -> Result<(), lfm2_wgpu::Error> {
    let source = files.require(name)?;
    let (checkpoint, metadata) = pollster::block_on(Checkpoint::open_gguf(files, name, source))?;
    tensors::check(&checkpoint, files);
    ModelText::from_gguf("dir", &metadata, 300)?;
    let config = ModelConfig::from_gguf(&metadata, &checkpoint)?;
    GenerationConfig::from_gguf(&metadata, config.vocab_size)?;
    tensors::check_model(&config, &Arc::new(checkpoint));
    Ok(())
}
