//! The demonstration model of assets/demo, compiled in.

use crate::formats::ModelFiles;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../assets/demo/", $name)).as_slice())),*]
    };
}

/// The model's files.
#[must_use]
pub fn files() -> ModelFiles {
    ModelFiles::embedded(
        "embedded",
        embedded![
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
        ],
    )
}
