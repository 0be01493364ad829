//! Streams a checkpoint's tensors to the GPU in bounded pieces.

use super::weights::{AttentionWeights, Ffn, Layer, Operator, ShortConvWeights, Weights};
use super::{FfnKind, ModelConfig, OperatorKind, Recipe, ResolvedTensors, Slot, convert};
use crate::formats::{Checkpoint, ElementType, FormatError, TensorSlice};
use crate::gpu::{Context, GpuError, Tensor};
use crate::kernels::{Format, Matrix, Part, values};

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

/// Called now and then while loading; `false` stops. `Send` natively, as in
/// [`MaybeSend`](crate::formats::source::MaybeSend).
#[cfg(not(target_arch = "wasm32"))]
pub type OnProgress<'a> = &'a mut (dyn FnMut(LoadProgress) -> bool + Send);
/// Called now and then while loading; `false` stops.
#[cfg(target_arch = "wasm32")]
pub type OnProgress<'a> = &'a mut dyn FnMut(LoadProgress) -> bool;

/// Rows of one matrix as the checkpoint has them, and its size on the GPU. Kernels read four
/// columns at a time, so an FFN's width is filled up to a multiple of four with zeros: rows of w1
/// and w3 that give 0, and columns of w2 that take it.
struct Rows {
    /// Where they are, and the type they are to be stored as.
    slices: Vec<(TensorSlice, ElementType)>,
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
    recipe: Option<&'a Recipe>,
    progress: LoadProgress,
    /// Bytes uploaded since the staging memory was emptied.
    staged: u64,
    on_progress: OnProgress<'a>,
}

/// Loads all weights, as the files have them or as `recipe` says. At most a few pieces of 8 MiB are
/// in memory at a time.
///
/// # Errors
/// [`LoadError::Format`] if the files cannot be read any more, [`LoadError::Gpu`],
/// [`LoadError::Cancelled`].
pub async fn load_weights(
    context: &Context,
    config: &ModelConfig,
    checkpoint: &Checkpoint,
    tensors: &ResolvedTensors,
    recipe: Option<&Recipe>,
    on_progress: OnProgress<'_>,
) -> Result<Weights, LoadError> {
    let total = tensors.size().weight_bytes;
    let mut l = Loader {
        context,
        checkpoint,
        tensors,
        recipe,
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

    /// A slot's tensor and the type it is to be stored as.
    fn stored(&self, slot: Slot) -> Result<(TensorSlice, ElementType), LoadError> {
        let slice = self.slice(slot)?;
        let own = slice.element_type;
        Ok((slice, self.recipe.map_or(own, |recipe| recipe.target(slot, own, slice.cols))))
    }

    fn stack(&self, slots: &[Slot]) -> Result<Rows, LoadError> {
        let slices = slots.iter().map(|s| self.stored(*s)).collect::<Result<Vec<_>, _>>()?;
        let rows = slices.iter().map(|(s, _)| s.rows).sum();
        let cols = padded_width(slices.first().map_or(0, |(s, _)| s.cols));
        Ok(Rows { slices, in_turn: false, rows, cols })
    }

    fn in_turn(&self, first: Slot, second: Slot) -> Result<Rows, LoadError> {
        let slices = vec![self.stored(first)?, self.stored(second)?];
        let (rows, cols) = (2 * padded_width(slices[0].0.rows), slices[0].0.cols);
        Ok(Rows { slices, in_turn: true, rows, cols })
    }

    /// A matrix of one or more experts, each run of its tensors kept in the format of their type;
    /// rows of different types that take turns are kept in f32, which holds all of them.
    async fn matrix(&mut self, name: &str, experts: &[Rows]) -> Result<Matrix, LoadError> {
        let (rows, cols) = experts.first().map_or((0, 0), |e| (e.rows, e.cols));
        let max_bytes = self.context.caps().max_part();
        let mut parts = Vec::new();
        for (target, run) in runs(experts) {
            let format = Format::of(target);
            for (first_row, n) in Matrix::split(format, experts.len(), run, cols, max_bytes) {
                let planes = format.planes(experts.len() * n * cols);
                let data: Tensor<u32> = self.context.tensor(name, planes.words).await?;
                let part = Part { format, first_row, rows: n, data, planes };
                let mut writer = PartWriter::new(&part);
                for source in experts {
                    self.fill(&mut writer, source, first_row..first_row + n, target).await?;
                }
                writer.finish(self.context);
                parts.push(part);
            }
        }
        Ok(Matrix { experts: experts.len(), rows, cols, parts })
    }

    /// Appends rows `range` of `source` to a part.
    async fn fill(
        &mut self,
        writer: &mut PartWriter,
        source: &Rows,
        range: std::ops::Range<usize>,
        target: ElementType,
    ) -> Result<(), LoadError> {
        // Even, so that a gate row and its up row come in one piece.
        let step = (PIECE_BYTES / bytes_of(ElementType::F16, source.cols).max(1)).max(2) & !1;
        let mut row = range.start;
        while row < range.end {
            let n = step.min(range.end - row);
            let (planes, read) = self.rows(source, row..row + n, target).await?;
            writer.append(self.context, &planes);
            row += n;
            self.advance(read)?;
        }
        Ok(())
    }

    /// Rows `range` of `source` as the planes of `target`'s format, zeros where a matrix is filled
    /// up; and how many bytes of the file they are.
    async fn rows(
        &self,
        source: &Rows,
        range: std::ops::Range<usize>,
        target: ElementType,
    ) -> Result<(Vec<Vec<u8>>, u64), LoadError> {
        let format = Format::of(target);
        let packed = |own: ElementType, bytes: &[u8]| {
            if own == target {
                return Ok(format.pack(target, bytes));
            }
            let converted = convert(own, target, bytes).ok_or_else(|| FormatError::File {
                file: self.checkpoint.name().to_owned(),
                problem: format!("{own} cannot become {target}"),
            })?;
            Ok::<_, LoadError>(format.pack(target, &converted))
        };
        let mut first = 0;
        let mut wanted = Vec::new();
        for (i, (slice, _)) in source.slices.iter().enumerate() {
            // The slice's rows within `range`, and where each of them goes.
            let (rows, step, offset) = if source.in_turn {
                (range.start / 2..range.end / 2, 2, i)
            } else {
                let rows = range.start.max(first) - first..range.end.max(first) - first;
                (rows, 1, first.saturating_sub(range.start))
            };
            let rows = rows.start.min(slice.rows)..rows.end.min(slice.rows);
            if !rows.is_empty() {
                wanted.push((slice, rows, step, offset));
            }
            first += slice.rows;
        }
        // Rows of one type are put together as the file has them, of several as f32.
        let one = wanted.first().map(|(s, ..)| s.element_type);
        let one = one.filter(|t| wanted.iter().all(|(s, ..)| s.element_type == *t));
        let element_type = one.unwrap_or(ElementType::F32);
        let row_bytes = bytes_of(element_type, source.cols);
        if let [(slice, rows, 1, 0)] = &wanted[..]
            && (slice.cols, rows.len()) == (source.cols, range.len())
        {
            let bytes = self.read(slice, rows.start, rows.len()).await?;
            return Ok((packed(element_type, &bytes)?, bytes.len() as u64));
        }
        let mut out = vec![0; range.len() * row_bytes];
        let mut read = 0;
        for (slice, rows, step, offset) in wanted {
            let mut bytes = self.read(slice, rows.start, rows.len()).await?;
            read += bytes.len() as u64;
            if slice.element_type != element_type {
                bytes = bytemuck::cast_slice(&values(slice.element_type, &bytes)).to_vec();
            }
            let have = bytes_of(element_type, slice.cols);
            for (r, row) in bytes.chunks_exact(have.max(1)).enumerate() {
                let at = (offset + r * step) * row_bytes;
                out[at..at + have].copy_from_slice(row);
            }
        }
        Ok((packed(element_type, &out)?, read))
    }

    /// Rows of a slice as the file has them.
    async fn read(&self, slice: &TensorSlice, row: usize, n: usize) -> Result<Vec<u8>, LoadError> {
        let mut bytes = vec![0; bytes_of(slice.element_type, n * slice.cols)];
        self.checkpoint.read(slice, (row * slice.cols) as u64, &mut bytes).await?;
        Ok(bytes)
    }

    /// One or more tensors, one after another, in f32.
    async fn vector(&mut self, slots: &[Slot]) -> Result<Tensor<f32>, LoadError> {
        let mut all = Vec::new();
        for slot in slots {
            let slice = self.slice(*slot)?;
            let bytes = self.read(&slice, 0, slice.rows).await?;
            all.extend(values(slice.element_type, &bytes));
            self.advance(slice.bytes())?;
        }
        let name = slots.first().map(Slot::hub_name).unwrap_or_default();
        Ok(self.context.tensor_of(&name, &all).await?)
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

/// Bytes of whole blocks; the tensors' shapes have been checked.
fn bytes_of(element_type: ElementType, elements: usize) -> usize {
    let block = element_type.block();
    elements.div_ceil(block.elements as usize) * block.bytes as usize
}

/// Ranges of rows of a matrix that are stored as one type.
fn runs(experts: &[Rows]) -> Vec<(ElementType, std::ops::Range<usize>)> {
    let Some(first) = experts.first() else { return Vec::new() };
    let targets = |e: &Rows| e.slices.iter().map(|(_, target)| *target).collect::<Vec<_>>();
    let all: Vec<ElementType> = experts.iter().flat_map(targets).collect();
    let one = all.first().filter(|t| all.iter().all(|other| other == *t));
    if let Some(one) = one {
        return vec![(*one, 0..first.rows)];
    }
    if first.in_turn || experts.len() > 1 {
        return vec![(ElementType::F32, 0..first.rows)];
    }
    let mut runs: Vec<(ElementType, std::ops::Range<usize>)> = Vec::new();
    let mut row = 0;
    for (slice, target) in &first.slices {
        let end = row + slice.rows;
        match runs.last_mut() {
            Some((last, range)) if last == target => range.end = end,
            _ => runs.push((*target, row..end)),
        }
        row = end;
    }
    runs
}

/// Writes a part from its first row to its last: each plane grows by what a piece of rows has of
/// it. Half a word is kept until the next piece.
struct PartWriter {
    data: Tensor<u32>,
    /// Next word, and bytes that do not make one yet.
    planes: Vec<(usize, Vec<u8>)>,
}

impl PartWriter {
    fn new(part: &Part) -> Self {
        let starts = std::iter::once(0).chain(part.planes.at.iter().map(|at| *at as usize));
        let planes = starts.take(part.format.block().1.len()).map(|at| (at, Vec::new())).collect();
        Self { data: part.data.clone(), planes }
    }

    fn append(&mut self, context: &Context, pieces: &[Vec<u8>]) {
        for ((at, rest), piece) in self.planes.iter_mut().zip(pieces) {
            if !rest.is_empty() {
                rest.extend_from_slice(piece);
            }
            let all: &[u8] = if rest.is_empty() { piece } else { rest };
            let (words, more) = all.split_at(all.len() & !3);
            context.write_bytes(&self.data, *at, words);
            *at += words.len() / 4;
            *rest = more.to_vec();
        }
    }

    fn finish(mut self, context: &Context) {
        let padding: Vec<Vec<u8>> =
            self.planes.iter().map(|(_, rest)| vec![0; (4 - rest.len() % 4) % 4]).collect();
        self.append(context, &padding);
    }
}
