//! All integration tests in one binary: it links once.

mod formats;
mod shaders;
mod text;
mod tint;
