//! Runs Liquid AI's LFM2 models on the GPU a person already has.

pub mod text;
