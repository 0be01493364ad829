//! Host side of `shaders/logprobs_spans.wgsl` and `logprobs.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::sample::WG;
use super::{LogprobsMode, SampleShare, bytes_of};
use crate::gpu::{
    Caps, Device, Dispatch, Extent, GpuError, Reads, Recorder, ShaderPart, Tensor, Variant,
};

/// Most tokens with log-probabilities beside a row's own, as in OpenAI's API.
pub const MAX_TOP_LOGPROBS: u32 = 20;

/// Words of a row's log-probabilities: its token and that token's log-probability, then the same for the most
/// probable tokens.
pub const LOGPROBS_WORDS: usize = 2 + 2 * MAX_TOP_LOGPROBS as usize;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SpansParams {
    vocab: u32,
    spans: u32,
    mode: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    vocab: u32,
    spans: u32,
}

/// Whether `logprobs_spans` copies the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Copy,
    None,
}

impl ShaderPart for Keep {
    const IMPORT: &'static str = "keep";

    fn part_name(&self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::None => "none",
        }
    }
}

fn spans_variant(share: SampleShare, keep: Keep) -> Variant {
    let variant = Variant::new("logprobs_spans").int("WG", WG).int("SPAN", share.ids());
    variant.int("MAX_TOP", MAX_TOP_LOGPROBS).import(keep)
}

fn rows_variant() -> Variant {
    Variant::new("logprobs").int("WG", WG).int("MAX_TOP", MAX_TOP_LOGPROBS)
}

pub(super) fn spans_variants(_: &Caps) -> Vec<Variant> {
    let keeps = |share| [Keep::Copy, Keep::None].map(|keep| spans_variant(share, keep));
    SampleShare::ALL.into_iter().flat_map(keeps).collect()
}

pub(super) fn rows_variants(_: &Caps) -> Vec<Variant> {
    vec![rows_variant()]
}

/// Results of log-probabilities, and what they are computed from, for a number of logit rows.
#[derive(Debug)]
pub struct LogprobsBuffers {
    /// `[rows, spans, LOGPROBS_WORDS]`: results of each span.
    spans: Tensor<u32>,
    /// `[rows, vocab]`: the logits, if sampling changes them.
    kept: Option<Tensor<f32>>,
    /// `[rows, LOGPROBS_WORDS]`.
    pub logprobs: Tensor<u32>,
}

impl LogprobsBuffers {
    fn sizes(rows: usize, vocab: usize) -> [usize; 3] {
        let spans = SampleShare::Span.spans(vocab as u32) as usize;
        [rows * spans * LOGPROBS_WORDS, rows * vocab, rows * LOGPROBS_WORDS]
    }

    /// Words of all buffers, with copies of the logits.
    #[must_use]
    pub fn words(rows: usize, vocab: usize) -> usize {
        Self::sizes(rows, vocab).iter().sum()
    }

    /// Makes the buffers. `keep`: with copies of the logits.
    ///
    /// # Errors
    /// [`GpuError::Limit`], [`GpuError::OutOfMemory`].
    pub async fn new(
        device: &Device,
        rows: usize,
        vocab: usize,
        keep: bool,
    ) -> Result<Self, GpuError> {
        let [spans, kept, logprobs] = Self::sizes(rows, vocab);
        let kept = match keep {
            true => Some(device.tensor("kept logits", kept).await?),
            false => None,
        };
        Ok(Self {
            spans: device.tensor("logprobs spans", spans).await?,
            kept,
            logprobs: device.tensor("logprobs", logprobs).await?,
        })
    }
}

/// The log-probabilities that the batch's logit rows want.
pub struct Logprobs<'a> {
    /// `[logit_rows, vocab]`.
    pub logits: &'a Tensor<f32>,
    /// `[masks, ceil(vocab / 32)]`: tokens that may be drawn. The first mask is that of all tokens.
    pub allowed: &'a Tensor<u32>,
    /// `[logit_rows, 2]`: drawn tokens.
    pub drawn: &'a Tensor<u32>,
    /// Made for at least as many rows of as many ids; with copies if the logits are changed before
    /// [`Logprobs::record`].
    pub buffers: &'a LogprobsBuffers,
    /// Number of ids.
    pub vocab: u32,
    /// A workgroup's share of a row.
    pub share: SampleShare,
}

impl Logprobs<'_> {
    /// Appends the dispatch that reads the logits, of the rows that want this distribution.
    pub fn record_spans(&self, r: &mut Recorder, mode: LogprobsMode) {
        let Self { vocab, share, buffers, .. } = self;
        let keep = if buffers.kept.is_some() { Keep::Copy } else { Keep::None };
        let n_spans = share.spans(*vocab);
        let params = SpansParams { vocab: *vocab, spans: n_spans, mode: mode.word() };
        let rows = match mode {
            LogprobsMode::Raw => Extent::RawLogprobRows,
            LogprobsMode::Processed => Extent::ProcessedLogprobRows,
        };
        let mut bindings = vec![
            self.logits.bind("logits"),
            self.allowed.bind("allowed"),
            buffers.spans.bind("spans"),
        ];
        bindings.extend(buffers.kept.as_ref().map(|kept| kept.bind("kept")));
        r.push(Dispatch {
            variant: spans_variant(*share, keep),
            params: bytes_of(&params),
            bindings,
            grid: [Extent::Const(n_spans), rows, Extent::Const(1)],
            macs_per_row: 0,
            reads: Reads::default(),
        });
    }

    /// Appends the dispatch that makes the log-probabilities, behind that of the drawn tokens.
    pub fn record(&self, r: &mut Recorder) {
        let buffers = self.buffers;
        let params = Params { vocab: self.vocab, spans: self.share.spans(self.vocab) };
        r.push(Dispatch {
            variant: rows_variant(),
            params: bytes_of(&params),
            bindings: vec![
                buffers.kept.as_ref().unwrap_or(self.logits).bind("logits"),
                buffers.spans.bind("spans"),
                self.drawn.bind("drawn"),
                buffers.logprobs.bind("logprobs"),
            ],
            grid: [Extent::LogprobRows, Extent::Const(1), Extent::Const(1)],
            macs_per_row: 0,
            reads: Reads::default(),
        });
    }
}
