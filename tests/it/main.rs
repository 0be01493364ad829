//! All integration tests in one binary: it links once.

mod allocations;
mod formats;
mod goldens;
mod gpu;
#[cfg(feature = "reference")]
mod kernels;
mod kv;
mod quantised;
mod shaders;
mod text;
mod tidy;
mod tint;
