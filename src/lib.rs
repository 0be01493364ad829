//! Runs Liquid AI's LFM2 models on the GPU a person already has.

pub mod engine;
pub mod formats;
pub mod gpu;
pub mod kernels;
pub mod model;
pub mod state;
pub mod text;
