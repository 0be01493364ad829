//! LFM2: its configuration, the names of its tensors, loading and the forward pass. Knows no shader
//! and no device API.

pub mod config;
mod config_gguf;
mod config_json;
mod fields;
mod fill;
mod forward;
pub mod generation_config;
mod layout;
mod load;
pub mod lora;
mod memory;
#[cfg(not(target_arch = "wasm32"))]
pub mod merge;
pub mod names;
#[cfg(not(target_arch = "wasm32"))]
pub mod package;
mod published;
mod quantize;
mod resolve;
mod scratch;
mod weights;

pub use config::{
    ConfigError, FfnKind, LayerConfig, ModelConfig, ModelType, MoeConfig, OperatorKind,
};
pub use forward::{Forward, PassOutput};
pub use generation_config::GenerationConfig;
pub use load::{LoadError, LoadProgress, OnProgress, Unread, make_weights};
pub use lora::{LoraAdapter, LoraError, LoraFactors};
pub use memory::MemoryPlan;
pub use names::{TensorId, expected_tensors};
pub use published::{shape_names, synthetic_model};
pub use quantize::{ModelPart, Recipe, WeightChoice, convert};
pub use resolve::{ModelSize, ResolvedTensors, validate};
pub use scratch::{Scratch, ScratchShape, all_token_ids};
pub use weights::Weights;
