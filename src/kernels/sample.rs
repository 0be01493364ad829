//! Host side of `shaders/sample_prepare.wgsl`, `sample_threshold.wgsl` and `sample_draw.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{Reduce, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 256;

/// Written by `sample_draw` instead of a token if a logit is NaN or infinite.
pub const NOT_FINITE: u32 = 0xffff_fffe;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PrepareParams {
    vocab: u32,
    context: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct VocabParams {
    vocab: u32,
}

const GRID: [Extent; 3] = [Extent::LogitRows { per: 1 }, Extent::Const(1), Extent::Const(1)];

fn prepare_variant() -> Variant {
    Variant::new("sample_prepare").int("WG", WG)
}

fn threshold_variant(reduce: Reduce) -> Variant {
    Variant::new("sample_threshold").import(reduce).int("WG", WG)
}

fn draw_variant() -> Variant {
    Variant::new("sample_draw").int("WG", WG)
}

pub(super) fn prepare_variants(_: &Caps) -> Vec<Variant> {
    vec![prepare_variant()]
}

pub(super) fn threshold_variants(caps: &Caps) -> Vec<Variant> {
    // Here a workgroup shares a row, so the serial choices do not apply.
    Reduce::available(caps).into_iter().filter(|r| !r.is_serial()).map(threshold_variant).collect()
}

pub(super) fn draw_variants(_: &Caps) -> Vec<Variant> {
    vec![draw_variant()]
}

/// Applies logit biases, and penalties on tokens of the sequence.
pub struct SamplePrepare<'a> {
    /// `[n_slots, context]`.
    pub history: &'a Tensor<u32>,
    /// `[n_slots, vocab]`, all zero.
    pub counts: &'a Tensor<u32>,
    /// `[logit_rows, vocab]`.
    pub logits: &'a Tensor<f32>,
    /// Number of ids.
    pub vocab: u32,
    /// Positions of a slot.
    pub context: u32,
}

impl SamplePrepare<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        r.push(Dispatch {
            variant: prepare_variant(),
            params: bytes_of(&PrepareParams { vocab: self.vocab, context: self.context }),
            bindings: vec![
                self.history.bind("history"),
                self.counts.bind("counts"),
                self.logits.bind("logits"),
            ],
            grid: GRID,
            macs_per_row: 0,
            reads: Reads::default(),
        });
    }
}

/// Finds the smallest logit that may be drawn.
pub struct SampleThreshold<'a> {
    /// `[logit_rows, vocab]`.
    pub logits: &'a Tensor<f32>,
    /// `[ceil(vocab / 32)]`.
    pub allowed: &'a Tensor<u32>,
    /// `[logit_rows]`.
    pub cut: &'a Tensor<f32>,
    /// Number of ids.
    pub vocab: u32,
    /// Summation within a workgroup: [`Reduce::Tree`] or [`Reduce::Subgroup`].
    pub reduce: Reduce,
}

impl SampleThreshold<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        r.push(Dispatch {
            variant: threshold_variant(self.reduce),
            params: bytes_of(&VocabParams { vocab: self.vocab }),
            bindings: vec![
                self.logits.bind("logits"),
                self.allowed.bind("allowed"),
                self.cut.bind("cut"),
            ],
            grid: GRID,
            macs_per_row: 0,
            reads: Reads::default(),
        });
    }
}

/// Draws the next token.
pub struct SampleDraw<'a> {
    /// `[logit_rows, vocab]`.
    pub logits: &'a Tensor<f32>,
    /// `[ceil(vocab / 32)]`.
    pub allowed: &'a Tensor<u32>,
    /// `[logit_rows]`.
    pub cut: &'a Tensor<f32>,
    /// `[n_slots]`.
    pub next_token: &'a Tensor<u32>,
    /// Number of ids.
    pub vocab: u32,
}

impl SampleDraw<'_> {
    /// Appends the dispatch.
    pub fn record(&self, r: &mut Recorder) {
        r.push(Dispatch {
            variant: draw_variant(),
            params: bytes_of(&VocabParams { vocab: self.vocab }),
            bindings: vec![
                self.logits.bind("logits"),
                self.allowed.bind("allowed"),
                self.cut.bind("cut"),
                self.next_token.bind("next_token"),
            ],
            grid: GRID,
            macs_per_row: 0,
            reads: Reads::default(),
        });
    }
}
