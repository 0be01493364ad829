//! What LFM2 is: its configuration, the names of its tensors, and (from here on) its forward
//! pass. Knows no shader and no device API.

pub mod config;
mod config_json;
mod fields;
pub mod generation_config;
pub mod names;
mod resolve;

pub use config::{
    ConfigError, FfnKind, LayerConfig, ModelConfig, ModelType, MoeConfig, OperatorKind,
};
pub use generation_config::GenerationConfig;
pub use names::{Slot, expected_slots};
pub use resolve::{ModelSize, ResolvedTensors, validate};
