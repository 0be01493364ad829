//! Runs Liquid AI's LFM2 models on GPUs through WebGPU.
//!
//! An [`Engine`] is a model on a device; a [`engine::Session`] is one sequence on it; a
//! [`engine::Generation`] is an answer that streams and can be dropped at any time.
#![cfg_attr(
    target_arch = "wasm32",
    allow(
        clippy::arc_with_non_send_sync,
        reason = "shared between threads natively; a browser's handles stay in theirs"
    )
)]

pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
pub mod engine;
mod error;
pub mod formats;
pub mod gpu;
pub mod grammar;
#[cfg(all(feature = "hub", not(target_arch = "wasm32")))]
pub mod hub;
pub mod kernels;
pub mod model;
#[cfg(feature = "reference")]
pub mod reference;
pub(crate) mod schedule;
#[cfg(feature = "reference")]
pub mod selftest;
#[cfg(all(feature = "server", not(target_arch = "wasm32")))]
pub mod server;
pub mod state;
pub mod text;

#[cfg(feature = "demo-model")]
pub mod demo;

// The README's example must compile.
#[cfg(all(doctest, feature = "demo-model"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub use engine::{Engine, GenerateOptions, SamplingOptions, Session};
pub use error::Error;
pub use wgpu;
