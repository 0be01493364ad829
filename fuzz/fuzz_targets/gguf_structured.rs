//! Nearly valid GGUF models: the reader, split files, the configuration from the metadata, and the mapping of
//! tensors to the model's slots.
#![no_main]

use std::sync::Arc;

use lfm2_fuzz::gguf::Description;
use lfm2_fuzz::{held, one_line, tensors};
use lfm2_wgpu::formats::{Checkpoint, ModelFiles};
use lfm2_wgpu::model::{GenerationConfig, ModelConfig};

libfuzzer_sys::fuzz_target!(|description: Description| {
    let (files, name) = description.write();
    held(|| {
        if let Err(error) = open(&files, &name) {
            one_line(&error);
        }
    });
});

fn open(files: &ModelFiles, name: &str) -> Result<(), lfm2_wgpu::Error> {
    let source = files.require(name)?;
    let (checkpoint, metadata) = pollster::block_on(Checkpoint::open_gguf(files, name, source))?;
    tensors::check(&checkpoint, files);
    let keys: Vec<&str> = metadata.keys().collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
    let config = ModelConfig::from_gguf(&metadata, &checkpoint)?;
    GenerationConfig::from_gguf(&metadata, config.vocab_size)?;
    tensors::check_model(&config, &Arc::new(checkpoint));
    Ok(())
}
