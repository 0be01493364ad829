//! All integration tests in one binary: it links once.

mod allocations;
mod formats;
mod goldens;
mod shaders;
mod text;
mod tint;
