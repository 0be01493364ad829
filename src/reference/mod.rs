//! Reference implementations of every kernel on the CPU, called its twins.
//!
//! They are plain loops over slices that can be checked against the formula; sums are in f64, and
//! results are rounded to f32 once. Tests and `lfm2 selftest` compare the GPU with them; the engine
//! never calls them. They use only std and `half`, since a twin that shared code with its kernel would
//! share its errors.
//!
//! A twin trusts its caller, a test: shapes that do not match panic in slice indexing.

mod attention;
mod embed;
mod kv_q8;
mod logprobs;
mod lora;
mod matvec;
mod moe_combine;
mod moe_group;
mod qk_norm_rope_append;
mod rms_norm;
mod route;
mod sample;
mod short_conv;
mod weights;

pub use attention::{AttentionHeads, attention};
pub use embed::embed;
pub use kv_q8::{decode_kv_q8, encode_kv_q8, q8_scale};
pub use logprobs::{largest, log_softmax};
pub use lora::Lora;
pub use matvec::{After, Jobs, Product, matvec};
pub use moe_combine::moe_combine;
pub use moe_group::{Groups, Tile, moe_group};
pub use qk_norm_rope_append::{QkNormRope, Stored, qk_norm_rope_append};
pub use rms_norm::rms_norm;
pub use route::{Router, Routes, route};
pub use sample::{
    DrawScores, Options, biases, draw_scores, gumbel, kept_from, penalties, random_bits,
};
pub use short_conv::{ConvShape, short_conv};
pub use weights::{
    decode_bf16, decode_f16, decode_f32, encode_bf16, encode_f16, encode_f32, round_f16,
};

/// Positions in a page of the KV pool.
pub const PAGE: usize = 64;

/// The rows of one sequence in a pass, at consecutive positions. The rows of a pass are those of its
/// sequences, one sequence after another.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its slot, the index of its conv rings and token history.
    pub slot: usize,
    /// Position of its first row.
    pub position: usize,
    /// Number of rows.
    pub rows: usize,
    /// Pages of the KV pool by `position / PAGE`.
    pub pages: Vec<usize>,
    /// Rows whose convolution inputs are kept in a further column of the ring, and that column.
    pub snapshot_columns: Vec<(usize, usize)>,
}

impl Sequence {
    /// Row of the KV pool that holds `position`.
    #[must_use]
    pub fn pool_row(&self, position: usize) -> usize {
        self.pages[position / PAGE] * PAGE + position % PAGE
    }
}

/// Every row of a pass as `(row, sequence, position)`.
fn rows(sequences: &[Sequence]) -> impl Iterator<Item = (usize, &Sequence, usize)> {
    sequences
        .iter()
        .flat_map(|s| (s.position..s.position + s.rows).map(move |position| (s, position)))
        .enumerate()
        .map(|(row, (s, position))| (row, s, position))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `1 / sqrt(mean(x^2) + eps)`.
fn inverse_rms(x: &[f32], eps: f32) -> f64 {
    let squares: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
