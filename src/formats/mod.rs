//! Model files to tensors on the CPU: byte sources, the safetensors and GGUF readers, checkpoints, and
//! package manifests.
//!
//! This module does not use the GPU and trusts no input: it checks every length and offset of a file
//! against the file's real size before it allocates or reads anything. Every error names the file and, if
//! there is one, the tensor.
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

pub mod blocks;
pub mod checkpoint;
mod element;
mod error;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod files;
pub mod gguf;
mod json;
pub mod package;
mod place;
mod plain_text;
mod quote;
pub mod safetensors;
pub mod source;
pub mod synthetic;

pub use checkpoint::{Checkpoint, Naming, TensorSlice};
pub use element::{Block, ElementType};
pub use error::{FormatError, KeyError};
#[cfg(not(target_arch = "wasm32"))]
pub use file::FileSource;
pub use files::{ModelFiles, ModelKind};
pub use gguf::Metadata;
pub(crate) use json::Object;
pub use json::json_bytes;
pub use package::{Manifest, OnBytes, PackageFile, PackageRecipe};
pub use place::model_name;
pub(crate) use place::names_of;
pub use plain_text::{plain_text, without_mark};
pub(crate) use quote::{one_line, quoted};
pub use safetensors::TensorInfo;
pub use source::{ByteSource, BytesSource, SourceError, read_small};
