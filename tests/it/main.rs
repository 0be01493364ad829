//! All integration tests in one binary: it links once.

mod allocations;
mod formats;
mod shaders;
mod text;
mod tint;
