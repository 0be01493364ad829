//! The one integration binary: linking wgpu once is enough.

mod formats;
mod text;
