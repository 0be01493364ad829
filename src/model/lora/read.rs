//! Reads an adapter from its files.

use std::sync::Arc;

use super::LoraAdapter;
use super::error::LoraError;
use super::{gguf, peft};
use crate::formats::gguf::MAGIC;
use crate::formats::{ByteSource, ModelFiles, quoted};
use crate::model::ModelConfig;

/// PEFT's configuration.
pub const CONFIG: &str = "adapter_config.json";
/// PEFT's tensors.
pub const WEIGHTS: &str = "adapter_model.safetensors";

impl LoraAdapter {
    /// Reads an adapter for a model of this configuration, and checks it completely. The files are one of:
    ///
    /// - a folder or a table with `adapter_config.json` and `adapter_model.safetensors`, as PEFT writes them,
    /// - a safetensors file with `adapter_config.json` beside it,
    /// - a GGUF file of llama.cpp's `convert_lora_to_gguf.py`, or a folder with one of them.
    ///
    /// # Errors
    /// [`LoraError`] for files that are missing, invalid, or not used completely by the model. It never reads
    /// more bytes, and never allocates memory for more elements, than the files have.
    pub async fn read(files: &ModelFiles, config: &ModelConfig) -> Result<Self, LoraError> {
        match find(files).await? {
            Found::Gguf(source) => gguf::read(&source, config).await,
            Found::Peft { json, weights } => peft::read(&*json, &weights, config).await,
        }
    }
}

/// The files of an adapter.
enum Found {
    Gguf(Arc<dyn ByteSource>),
    Peft { json: Arc<dyn ByteSource>, weights: Arc<dyn ByteSource> },
}

async fn find(files: &ModelFiles) -> Result<Found, LoraError> {
    if let Some((name, source)) = files.only() {
        let mut start = [0; 9];
        let len = usize::try_from(source.len()).unwrap_or(usize::MAX).min(start.len());
        let start = start.get_mut(..len).unwrap_or_default();
        source.read_at(0, start).await?;
        return match &*start {
            start if start.starts_with(&MAGIC) => Ok(Found::Gguf(source.clone())),
            [_, _, _, _, _, _, _, 0, b'{', ..] => with_config(files, source.clone()),
            [b'{', ..] if name == CONFIG => folder(files),
            [] => Err(no_adapter(source.name(), "is empty")),
            _ => Err(no_adapter(
                source.name(),
                "is not an adapter: need a folder with adapter_config.json and adapter_model.safetensors, one of \
                 its files, or a GGUF adapter",
            )),
        };
    }
    if files.open(CONFIG)?.is_some() {
        return folder(files);
    }
    match &files.gguf_names()?[..] {
        [name] => Ok(Found::Gguf(files.require(name)?)),
        [] if files.open("config.json")?.is_some() => {
            Err(no_adapter(files.place(), "is a model, not an adapter: has no adapter_config.json"))
        }
        [] => Err(no_adapter(
            files.place(),
            "is not an adapter: has no adapter_config.json and no GGUF file",
        )),
        [one, other, ..] => {
            let (one, other) = (quoted(one), quoted(other));
            let problem =
                format!("has several GGUF files: name one of them, e.g. {one} or {other}");
            Err(no_adapter(files.place(), &problem))
        }
    }
}

fn folder(files: &ModelFiles) -> Result<Found, LoraError> {
    if let Some(weights) = files.open(WEIGHTS)? {
        return with_config(files, weights);
    }
    let problem = match files.open("adapter_model.bin")? {
        Some(_) => {
            "has adapter_model.bin, which is not supported: save the adapter with safe_serialization=True"
        }
        None => "has adapter_config.json but no adapter_model.safetensors",
    };
    Err(no_adapter(files.place(), problem))
}

fn with_config(files: &ModelFiles, weights: Arc<dyn ByteSource>) -> Result<Found, LoraError> {
    match files.open(CONFIG)? {
        Some(json) => Ok(Found::Peft { json, weights }),
        None => {
            let problem = "has no adapter_config.json beside it, which has the adapter's scale";
            Err(no_adapter(weights.name(), problem))
        }
    }
}

fn no_adapter(place: &str, problem: &str) -> LoraError {
    LoraError::NotAnAdapter { place: place.to_owned(), problem: problem.to_owned() }
}
