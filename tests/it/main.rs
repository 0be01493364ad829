//! All integration tests in one binary: it links once.

mod allocations;
mod benches;
mod dx12;
mod formats;
mod goldens;
mod gpu;
#[cfg(feature = "reference")]
mod kernels;
mod kv;
#[cfg(all(feature = "demo-model", feature = "reference"))]
mod load;
#[cfg(feature = "reference")]
mod lora;
#[cfg(feature = "reference")]
mod model_check;
mod quantised;
mod reproducible;
mod saved;
#[cfg(all(feature = "demo-model", feature = "reference", feature = "server"))]
mod server_load;
mod shaders;
mod text;
mod tidy;
mod tint;
