//! The engine for C: the functions of `include/lfm2.h`, which `docs/c.md` documents. This crate only converts values.
//! The engine is responsible for the model.
#![deny(unsafe_code)]

#[cfg(panic = "abort")]
compile_error!(
    "a panic must become LFM2_INTERNAL_ERROR and not end the app: use panic = \"unwind\""
);

#[allow(unsafe_code, reason = "pointers of C")]
mod abi;
mod failure;
mod model;
#[allow(unsafe_code, reason = "pointers of C")]
mod pointers;
mod signal;
mod stream;
mod talk;
