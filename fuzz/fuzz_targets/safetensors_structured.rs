//! Nearly valid safetensors checkpoints: the reader, the index, and the mapping of tensors to the model's slots.
#![no_main]

use std::sync::Arc;

use lfm2_fuzz::safetensors::Description;
use lfm2_fuzz::{held, one_line, tensors};
use lfm2_wgpu::formats::Checkpoint;

libfuzzer_sys::fuzz_target!(|description: Description| {
    let (files, config) = description.write();
    held(|| match pollster::block_on(Checkpoint::open(files.clone())) {
        Ok(checkpoint) => {
            tensors::check(&checkpoint, &files);
            tensors::check_model(config, &Arc::new(checkpoint));
        }
        Err(error) => one_line(&error),
    });
});
