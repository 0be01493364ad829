//! Runs Liquid AI's LFM2 models on the GPU a person already has.

pub mod formats;
pub mod model;
pub mod text;
