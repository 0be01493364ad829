//! Host side of `shaders/sample_prepare.wgsl`, `sample_histogram.wgsl`, `sample_draw.wgsl` and
//! `sample_select.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::bytes_of;
use crate::gpu::{
    Caps, Device, Dispatch, Extent, GpuError, Reads, Recorder, ShaderPart, Tensor, Variant,
};

pub(super) const WG: u32 = 256;

/// A workgroup's share of a row. It changes no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleShare {
    /// A span of 1,024 ids: 65,536 ids take 64 workgroups, 128,000 take 125.
    Span,
    /// All ids. A CPU driver spends more on the barriers of many workgroups than it gains by them.
    Row,
}

impl SampleShare {
    /// Both choices.
    pub const ALL: [Self; 2] = [Self::Span, Self::Row];

    /// The better choice for a device.
    #[must_use]
    pub fn by_capability(caps: &Caps) -> Self {
        if caps.software { Self::Row } else { Self::Span }
    }

    /// Workgroups that share a row of `vocab` ids.
    pub(super) fn spans(self, vocab: u32) -> u32 {
        vocab.div_ceil(self.ids())
    }

    /// Ids of a workgroup.
    pub(super) fn ids(self) -> u32 {
        match self {
            Self::Span => 1024,
            // More than any vocabulary.
            Self::Row => 1 << 30,
        }
    }
}

impl ShaderPart for SampleShare {
    const IMPORT: &'static str = "penalties";

    fn part_name(&self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Row => "row",
        }
    }
}

/// Written by `sample_select` instead of a token if a logit is NaN or infinite.
pub const NOT_FINITE: u32 = 0xffff_fffe;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PrepareParams {
    vocab: u32,
    context: u32,
    spans: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    vocab: u32,
    spans: u32,
    deficit_unit: f32,
}

fn variant(kernel: &'static str, share: SampleShare) -> Variant {
    Variant::new(kernel).int("WG", WG).int("SPAN", share.ids())
}

fn prepare_variant(share: SampleShare) -> Variant {
    variant("sample_prepare", share).import(share)
}

fn select_variant() -> Variant {
    Variant::new("sample_select").int("WG", WG)
}

pub(super) fn prepare_variants(_: &Caps) -> Vec<Variant> {
    SampleShare::ALL.map(prepare_variant).to_vec()
}

pub(super) fn histogram_variants(_: &Caps) -> Vec<Variant> {
    SampleShare::ALL.map(|share| variant("sample_histogram", share)).to_vec()
}

pub(super) fn draw_variants(_: &Caps) -> Vec<Variant> {
    SampleShare::ALL.map(|share| variant("sample_draw", share)).to_vec()
}

pub(super) fn select_variants(_: &Caps) -> Vec<Variant> {
    vec![select_variant()]
}

/// Intermediate results of sampling, for a number of logit rows.
#[derive(Debug)]
pub struct SampleBuffers {
    /// `[rows, spans, 2]`: the largest logit of each span.
    tops: Tensor<u32>,
    /// `[rows, 2, WG]`: all zero between steps.
    pub(crate) histogram: Tensor<u32>,
    /// `[rows, 1 + vocab]`: a number and as many tokens, or counts of tokens; all zero between steps.
    pub(crate) candidates: Tensor<u32>,
    /// `[rows, spans, 2]`: the draw of each span.
    draws: Tensor<u32>,
    /// `[rows, 2]`: the token of each row, and the bits of the smallest logit that may be drawn.
    drawn: Tensor<u32>,
}

impl SampleBuffers {
    fn sizes(rows: usize, vocab: usize) -> [usize; 5] {
        let spans = SampleShare::Span.spans(vocab as u32) as usize;
        [rows * spans * 2, rows * 2 * WG as usize, rows * (1 + vocab), rows * spans * 2, rows * 2]
    }

    /// Words of all buffers.
    #[must_use]
    pub fn words(rows: usize, vocab: usize) -> usize {
        Self::sizes(rows, vocab).iter().sum()
    }

    /// `[rows, 2]`: the token of each row, and a word for tests.
    #[must_use]
    pub fn drawn(&self) -> &Tensor<u32> {
        &self.drawn
    }

    /// Makes the buffers.
    ///
    /// # Errors
    /// [`GpuError::Limit`], [`GpuError::OutOfMemory`].
    pub async fn new(device: &Device, rows: usize, vocab: usize) -> Result<Self, GpuError> {
        let [tops, histogram, candidates, draws, drawn] = Self::sizes(rows, vocab);
        Ok(Self {
            tops: device.tensor("sample tops", tops).await?,
            histogram: device.tensor("sample histogram", histogram).await?,
            candidates: device.tensor("sample candidates", candidates).await?,
            draws: device.tensor("sample draws", draws).await?,
            drawn: device.tensor("drawn tokens", drawn).await?,
        })
    }
}

/// Draws the next token of each logit row: biases and penalties, then the largest logit or a draw from those
/// that top-k, top-p and min-p keep.
pub struct Sample<'a> {
    /// `[n_slots, context]`.
    pub history: &'a Tensor<u32>,
    /// `[logit_rows, vocab]`, in place.
    pub logits: &'a Tensor<f32>,
    /// `[masks, ceil(vocab / 32)]`: tokens that may be drawn. The first mask is that of all tokens.
    pub allowed: &'a Tensor<u32>,
    /// Made for at least as many rows of as many ids.
    pub buffers: &'a SampleBuffers,
    /// `[n_slots]`.
    pub next_token: &'a Tensor<u32>,
    /// Number of ids.
    pub vocab: u32,
    /// Positions of a slot.
    pub context: u32,
    /// A workgroup's share of a row.
    pub share: SampleShare,
}

impl Sample<'_> {
    /// Appends the dispatches. A step runs two if it is greedy, three if it draws, and four if top-k or top-p
    /// is on.
    pub fn record(&self, r: &mut Recorder) {
        let Self { vocab, context, share, .. } = *self;
        let b = self.buffers;
        let spans = share.spans(vocab);
        // The least power of two: `vocab` deficits, each below 1/8, fit 32 bits.
        let bits = (35 - vocab.next_power_of_two().ilog2()).min(24);
        let params = bytes_of(&Params { vocab, spans, deficit_unit: (-(bits as f32)).exp2() });
        let (history, allowed) = (self.history.bind("history"), self.allowed.bind("allowed"));
        let (logits, tops) = (self.logits.bind("logits"), b.tops.bind("tops"));
        let (histogram, draws) = (b.histogram.bind("histogram"), b.draws.bind("draws"));
        let candidates = b.candidates.bind("candidates");
        let (drawn, next_token) = (b.drawn.bind("drawn"), self.next_token.bind("next_token"));
        let mut prepared = vec![history, allowed.clone(), logits.clone(), tops.clone()];
        if let SampleShare::Row = share {
            prepared.push(b.candidates.bind("counts"));
        }
        let rows = Extent::LogitRows { per: 1 };
        let (spread, one) = (Extent::Const(spans), Extent::Const(1));
        for (variant, params, bindings, grid) in [
            (
                prepare_variant(share),
                bytes_of(&PrepareParams { vocab, context, spans }),
                prepared,
                [spread, rows, one],
            ),
            (
                variant("sample_histogram", share),
                params.clone(),
                vec![logits.clone(), allowed.clone(), tops.clone(), histogram.clone()],
                [spread, Extent::TruncatedRows, one],
            ),
            (
                variant("sample_draw", share),
                params.clone(),
                vec![
                    logits.clone(),
                    allowed,
                    tops.clone(),
                    histogram.clone(),
                    candidates.clone(),
                    draws.clone(),
                ],
                [spread, Extent::DrawnRows, one],
            ),
            (
                select_variant(),
                params,
                vec![logits, tops, histogram, candidates, draws, drawn, next_token],
                [rows, one, one],
            ),
        ] {
            let (macs_per_row, reads) = (0, Reads::default());
            r.push(Dispatch { variant, params, bindings, grid, macs_per_row, reads });
        }
    }
}
