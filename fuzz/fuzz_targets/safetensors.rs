//! Any bytes as the files of a safetensors checkpoint, including an index and its shards.
#![no_main]

use std::sync::Arc;

use lfm2_fuzz::{files, held, one_line, tensors};
use lfm2_wgpu::formats::Checkpoint;
use lfm2_wgpu::model::ModelConfig;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parts = files::split(data, "model.safetensors");
    let table = files::table(&parts);
    held(|| match pollster::block_on(Checkpoint::open(table.clone())) {
        Ok(checkpoint) => {
            tensors::check(&checkpoint, &table);
            let config = files::find(&parts, "config.json").unwrap_or_default();
            if let Ok(config) = ModelConfig::from_json("config.json", config) {
                tensors::check_model(&config, &Arc::new(checkpoint));
            }
        }
        Err(error) => one_line(&error),
    });
});
