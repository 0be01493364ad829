//! Streams a checkpoint's tensors to the GPU in bounded pieces.

use half::{bf16, f16};

use super::weights::{AttentionWeights, Ffn, Layer, Operator, ShortConvWeights, Weights};
use super::{FfnKind, ModelConfig, OperatorKind, ResolvedTensors, Slot};
use crate::formats::{Checkpoint, ElementType, FormatError, TensorSlice};
use crate::gpu::{Context, GpuError, Tensor};
use crate::kernels::{Format, Matrix, Part};

/// Bytes of a checkpoint that are read at a time.
const PIECE_BYTES: usize = 8 << 20;
/// Uploaded bytes after which the driver's staging memory is emptied.
const FLUSH_BYTES: u64 = 32 << 20;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The checkpoint.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The GPU.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The caller's progress callback said stop.
    #[error("loading was cancelled")]
    Cancelled,
}

/// How far loading is, in bytes of the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes on the GPU.
    pub loaded: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Called now and then while loading; `false` stops.
pub type OnProgress<'a> = &'a mut (dyn FnMut(LoadProgress) -> bool + Send);

/// Rows of one matrix as the checkpoint has them, and its size on the GPU. Kernels read four
/// columns at a time, so an FFN's width is filled up to a multiple of four with zeros: rows of w1
/// and w3 that give 0, and columns of w2 that take it.
struct Rows {
    slices: Vec<TensorSlice>,
    /// Row `2 r` is row `r` of the first slice, row `2 r + 1` of the second; else the slices' rows
    /// follow one another.
    in_turn: bool,
    rows: usize,
    cols: usize,
}

struct Loader<'a> {
    context: &'a Context,
    checkpoint: &'a Checkpoint,
    tensors: &'a ResolvedTensors,
    progress: LoadProgress,
    /// Bytes uploaded since the staging memory was emptied.
    staged: u64,
    on_progress: OnProgress<'a>,
}

/// Loads all weights. At most a few pieces of 8 MiB are in memory at a time.
///
/// # Errors
/// [`LoadError::Format`] if the files cannot be read any more, [`LoadError::Gpu`],
/// [`LoadError::Cancelled`].
pub async fn load_weights(
    context: &Context,
    config: &ModelConfig,
    checkpoint: &Checkpoint,
    tensors: &ResolvedTensors,
    on_progress: OnProgress<'_>,
) -> Result<Weights, LoadError> {
    let total = tensors.size().weight_bytes;
    let mut l = Loader {
        context,
        checkpoint,
        tensors,
        progress: LoadProgress { loaded: 0, total },
        staged: 0,
        on_progress,
    };
    let embedding = l.matrix("embed_tokens", &[l.stack(&[Slot::Embedding])?]).await?;
    let lm_head = match l.tensors.get(Slot::LmHead) {
        Some(_) if !config.tie_word_embeddings => {
            Some(l.matrix("lm_head", &[l.stack(&[Slot::LmHead])?]).await?)
        }
        _ => None,
    };
    let embedding_norm = l.vector(&[Slot::EmbeddingNorm]).await?;
    let mut layers = Vec::with_capacity(config.layers.len());
    let (mut convs, mut attentions) = (0, 0);
    for (i, layer) in config.layers.iter().enumerate() {
        let operator_norm = l.vector(&[Slot::OperatorNorm(i)]).await?;
        let operator = match layer.operator {
            OperatorKind::ShortConv => {
                convs += 1;
                Operator::ShortConv(l.short_conv(i, convs - 1).await?)
            }
            OperatorKind::FullAttention => {
                attentions += 1;
                Operator::Attention(l.attention(i, attentions - 1).await?)
            }
        };
        let ffn_norm = l.vector(&[Slot::FfnNorm(i)]).await?;
        let ffn = match (layer.ffn, &config.moe) {
            (FfnKind::Moe, Some(moe)) => l.moe(i, moe.num_experts).await?,
            _ => Ffn::Dense {
                w13: l.matrix("w1, w3", &[l.in_turn(Slot::W1(i), Slot::W3(i))?]).await?,
                w2: l.matrix("w2", &[l.stack(&[Slot::W2(i)])?]).await?,
            },
        };
        layers.push(Layer { operator_norm, operator, ffn_norm, ffn });
    }
    context.flush_uploads();
    Ok(Weights { embedding, lm_head, embedding_norm, layers })
}

impl Loader<'_> {
    async fn short_conv(&mut self, i: usize, index: usize) -> Result<ShortConvWeights, LoadError> {
        Ok(ShortConvWeights {
            index,
            in_proj: self.matrix("conv.in_proj", &[self.stack(&[Slot::ConvInProj(i)])?]).await?,
            in_proj_bias: self.optional(Slot::ConvInProjBias(i)).await?,
            taps: self.vector(&[Slot::ConvTaps(i)]).await?,
            taps_bias: self.optional(Slot::ConvTapsBias(i)).await?,
            out_proj: self.matrix("conv.out_proj", &[self.stack(&[Slot::ConvOutProj(i)])?]).await?,
            out_proj_bias: self.optional(Slot::ConvOutProjBias(i)).await?,
        })
    }

    async fn attention(&mut self, i: usize, index: usize) -> Result<AttentionWeights, LoadError> {
        let qkv = self.stack(&[Slot::Q(i), Slot::K(i), Slot::V(i)])?;
        Ok(AttentionWeights {
            index,
            qkv: self.matrix("q, k, v", &[qkv]).await?,
            qk_norms: self.vector(&[Slot::QNorm(i), Slot::KNorm(i)]).await?,
            out_proj: self.matrix("out_proj", &[self.stack(&[Slot::AttentionOut(i)])?]).await?,
        })
    }

    async fn moe(&mut self, i: usize, experts: usize) -> Result<Ffn, LoadError> {
        let router = self.vector(&[Slot::Router(i)]).await?;
        let expert_bias = match self.optional(Slot::ExpertBias(i)).await? {
            Some(bias) => bias,
            None => self.context.tensor("expert_bias", experts).await?,
        };
        let w13 = (0..experts)
            .map(|e| self.in_turn(Slot::ExpertW1(i, e), Slot::ExpertW3(i, e)))
            .collect::<Result<Vec<_>, _>>()?;
        let w2 = (0..experts)
            .map(|e| self.stack(&[Slot::ExpertW2(i, e)]))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Ffn::Moe {
            router,
            expert_bias,
            w13: self.matrix("experts w1, w3", &w13).await?,
            w2: self.matrix("experts w2", &w2).await?,
        })
    }

    fn slice(&self, slot: Slot) -> Result<TensorSlice, LoadError> {
        let slice = self.tensors.get(slot).ok_or_else(|| FormatError::File {
            file: self.checkpoint.name().to_owned(),
            problem: format!("tensor {} is missing", slot.hub_name()),
        })?;
        Ok(*slice)
    }

    fn stack(&self, slots: &[Slot]) -> Result<Rows, LoadError> {
        let slices = slots.iter().map(|s| self.slice(*s)).collect::<Result<Vec<_>, _>>()?;
        let rows = slices.iter().map(|s| s.rows).sum();
        let cols = padded_width(slices.first().map_or(0, |s| s.cols));
        Ok(Rows { slices, in_turn: false, rows, cols })
    }

    fn in_turn(&self, first: Slot, second: Slot) -> Result<Rows, LoadError> {
        let slices = vec![self.slice(first)?, self.slice(second)?];
        let (rows, cols) = (2 * padded_width(slices[0].rows), slices[0].cols);
        Ok(Rows { slices, in_turn: true, rows, cols })
    }

    /// A matrix of one or more experts, kept at its own width; a mixture of types is kept in f32,
    /// which holds all of them.
    async fn matrix(&mut self, name: &str, experts: &[Rows]) -> Result<Matrix, LoadError> {
        let types = || experts.iter().flat_map(|e| &e.slices).map(|s| s.element_type);
        let first = types().next().unwrap_or(ElementType::F32);
        let format = match first {
            _ if types().any(|t| t != first) => Format::F32,
            ElementType::F16 => Format::F16,
            ElementType::BF16 => Format::Bf16,
            _ => Format::F32,
        };
        let (rows, cols) = experts.first().map_or((0, 0), |e| (e.rows, e.cols));
        let max_bytes = self.context.caps().max_part();
        let mut parts = Vec::new();
        for (first_row, n) in Matrix::split(format, experts.len(), rows, cols, max_bytes) {
            let words = experts.len() * n * format.row_bytes(cols) / 4;
            let data: Tensor<u32> = self.context.tensor(name, words).await?;
            for (e, source) in experts.iter().enumerate() {
                self.fill(&data, e * n, source, first_row..first_row + n, format).await?;
            }
            parts.push(Part { first_row, rows: n, data });
        }
        Ok(Matrix { format, experts: experts.len(), rows, cols, parts })
    }

    /// Writes rows `range` of `source` to `data` from its row `at` on.
    async fn fill(
        &mut self,
        data: &Tensor<u32>,
        at: usize,
        source: &Rows,
        range: std::ops::Range<usize>,
        format: Format,
    ) -> Result<(), LoadError> {
        let row_words = format.row_bytes(source.cols) / 4;
        // Even, so that a gate row and its up row come in one piece.
        let step = (PIECE_BYTES / (row_words * 4).max(1)).max(2) & !1;
        let mut row = range.start;
        while row < range.end {
            let n = step.min(range.end - row);
            let bytes = self.rows(source, row..row + n, format).await?;
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
            self.context.write(data, (at + row - range.start) * row_words, &words);
            row += n;
            self.advance(bytes.len() as u64)?;
        }
        Ok(())
    }

    /// Rows `range` of `source` as `format` stores them, zeros where it is filled up.
    async fn rows(
        &self,
        source: &Rows,
        range: std::ops::Range<usize>,
        format: Format,
    ) -> Result<Vec<u8>, LoadError> {
        let row_bytes = format.row_bytes(source.cols);
        let mut out = vec![0; range.len() * row_bytes];
        let mut first = 0;
        for (i, slice) in source.slices.iter().enumerate() {
            // The slice's rows within `range`, and where each of them goes.
            let (wanted, step, offset) = if source.in_turn {
                (range.start / 2..range.end / 2, 2, i)
            } else {
                let wanted = range.start.max(first) - first..range.end.max(first) - first;
                (wanted, 1, first.saturating_sub(range.start))
            };
            let (start, end) = (wanted.start.min(slice.rows), wanted.end.min(slice.rows));
            let bytes = self.read(slice, start, end - start, format).await?;
            let have = format.row_bytes(slice.cols);
            for (r, row) in bytes.chunks_exact(have.max(1)).enumerate() {
                let at = (offset + r * step) * row_bytes;
                out[at..at + have].copy_from_slice(row);
            }
            first += slice.rows;
        }
        Ok(out)
    }

    /// Rows of a slice as `format` stores them.
    async fn read(
        &self,
        slice: &TensorSlice,
        row: usize,
        n: usize,
        format: Format,
    ) -> Result<Vec<u8>, LoadError> {
        let elements = n * slice.cols;
        let mut bytes = vec![0; slice.element_type.bytes_of(elements as u64).unwrap_or(0) as usize];
        self.checkpoint.read(slice, (row * slice.cols) as u64, &mut bytes).await?;
        let same = matches!(
            (slice.element_type, format),
            (ElementType::F32, Format::F32)
                | (ElementType::F16, Format::F16)
                | (ElementType::BF16, Format::Bf16)
        );
        if same {
            return Ok(bytes);
        }
        Ok(bytemuck::cast_slice(&to_f32(&bytes, slice.element_type)).to_vec())
    }

    /// One or more tensors, one after another, in f32.
    async fn vector(&mut self, slots: &[Slot]) -> Result<Tensor<f32>, LoadError> {
        let mut values = Vec::new();
        for slot in slots {
            let slice = self.slice(*slot)?;
            let bytes = self.read(&slice, 0, slice.rows, Format::F32).await?;
            values.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes));
            self.advance(slice.bytes())?;
        }
        let name = slots.first().map(Slot::hub_name).unwrap_or_default();
        Ok(self.context.tensor_of(&name, &values).await?)
    }

    async fn optional(&mut self, slot: Slot) -> Result<Option<Tensor<f32>>, LoadError> {
        match self.tensors.get(slot) {
            Some(_) => Ok(Some(self.vector(&[slot]).await?)),
            None => Ok(None),
        }
    }

    fn advance(&mut self, bytes: u64) -> Result<(), LoadError> {
        self.staged += bytes;
        if self.staged >= FLUSH_BYTES {
            self.context.flush_uploads();
            self.staged = 0;
        }
        let p = &mut self.progress;
        p.loaded = (p.loaded + bytes).min(p.total);
        if (self.on_progress)(*p) { Ok(()) } else { Err(LoadError::Cancelled) }
    }
}

/// An FFN's width on the GPU: the next multiple of four.
pub(super) fn padded_width(width: usize) -> usize {
    width.next_multiple_of(4)
}

fn to_f32(bytes: &[u8], element_type: ElementType) -> Vec<f32> {
    let pairs = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match element_type {
        ElementType::F16 => pairs.map(|b| f16::from_bits(b).to_f32()).collect(),
        ElementType::BF16 => pairs.map(|b| bf16::from_bits(b).to_f32()).collect(),
        _ => bytemuck::pod_collect_to_vec(bytes),
    }
}
