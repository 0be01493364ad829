//! What a sequence leaves on the GPU between steps: keys and values in pages, conv state in rings.

/// Positions in a page of the KV pool. `shaders/lib/prelude.wgsl` has the same constant.
pub const PAGE: u32 = 64;
