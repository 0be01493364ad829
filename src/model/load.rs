//! Makes a checkpoint's tensors on the GPU, then streams them there in bounded pieces.

use std::sync::Arc;

use super::weights::{AttentionWeights, Ffn, Layer, Operator, ShortConvWeights, Weights};
use super::{FfnKind, ModelConfig, OperatorKind, Recipe, ResolvedTensors, Slot};
use crate::formats::{Checkpoint, ElementType, FormatError, TensorSlice};
use crate::gpu::{Context, GpuError, Tensor};
use crate::kernels::{Format, Matrix, Part};

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
pub(super) struct Rows {
    /// Where they are, and the type they are to be stored as.
    pub slices: Vec<(TensorSlice, ElementType)>,
    /// Row `2 r` is row `r` of the first slice, row `2 r + 1` of the second; else the slices' rows
    /// follow one another.
    pub in_turn: bool,
    pub rows: usize,
    pub cols: usize,
}

/// What is to be read into a tensor.
pub(super) enum Job {
    /// These rows of each expert, one after another, as elements of this type.
    Matrix { part: Part, experts: Arc<[Rows]>, target: ElementType },
    /// Tensors, one after another, in f32.
    Vector { data: Tensor<f32>, slices: Vec<TensorSlice> },
}

struct Maker<'a> {
    context: &'a Context,
    checkpoint: &'a Checkpoint,
    tensors: &'a ResolvedTensors,
    recipe: Option<&'a Recipe>,
    jobs: Vec<Job>,
}

/// What a checkpoint's tensors on the GPU still lack: their content.
pub struct Unread<'a> {
    pub(super) context: &'a Context,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) jobs: Vec<Job>,
    pub(super) progress: LoadProgress,
}

/// Makes the tensors of all weights, to be stored as the files have them or as `recipe` says. Plans
/// can be recorded with them at once; [`Unread::load`] fills them.
///
/// # Errors
/// [`LoadError::Format`] if a tensor is missing, [`LoadError::Gpu`].
pub async fn make_weights<'a>(
    context: &'a Context,
    config: &ModelConfig,
    checkpoint: &'a Checkpoint,
    tensors: &'a ResolvedTensors,
    recipe: Option<&'a Recipe>,
) -> Result<(Weights, Unread<'a>), LoadError> {
    let total = tensors.size().weight_bytes;
    let mut l = Maker { context, checkpoint, tensors, recipe, jobs: Vec::new() };
    let embedding = l.matrix("embed_tokens", vec![l.stack(&[Slot::Embedding])?]).await?;
    let lm_head = match l.tensors.get(Slot::LmHead) {
        Some(_) if !config.tie_word_embeddings => {
            Some(l.matrix("lm_head", vec![l.stack(&[Slot::LmHead])?]).await?)
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
                w13: l.matrix("w1, w3", vec![l.in_turn(Slot::W1(i), Slot::W3(i))?]).await?,
                w2: l.matrix("w2", vec![l.stack(&[Slot::W2(i)])?]).await?,
            },
        };
        layers.push(Layer { operator_norm, operator, ffn_norm, ffn });
    }
    let progress = LoadProgress { loaded: 0, total };
    let unread = Unread { context, checkpoint, jobs: l.jobs, progress };
    Ok((Weights { embedding, lm_head, embedding_norm, layers }, unread))
}

impl Maker<'_> {
    async fn short_conv(&mut self, i: usize, index: usize) -> Result<ShortConvWeights, LoadError> {
        Ok(ShortConvWeights {
            index,
            in_proj: self.matrix("conv.in_proj", vec![self.stack(&[Slot::ConvInProj(i)])?]).await?,
            in_proj_bias: self.optional(Slot::ConvInProjBias(i)).await?,
            taps: self.vector(&[Slot::ConvTaps(i)]).await?,
            taps_bias: self.optional(Slot::ConvTapsBias(i)).await?,
            out_proj: self
                .matrix("conv.out_proj", vec![self.stack(&[Slot::ConvOutProj(i)])?])
                .await?,
            out_proj_bias: self.optional(Slot::ConvOutProjBias(i)).await?,
        })
    }

    async fn attention(&mut self, i: usize, index: usize) -> Result<AttentionWeights, LoadError> {
        let qkv = self.stack(&[Slot::Q(i), Slot::K(i), Slot::V(i)])?;
        Ok(AttentionWeights {
            index,
            qkv: self.matrix("q, k, v", vec![qkv]).await?,
            qk_norms: self.vector(&[Slot::QNorm(i), Slot::KNorm(i)]).await?,
            out_proj: self.matrix("out_proj", vec![self.stack(&[Slot::AttentionOut(i)])?]).await?,
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
            w13: self.matrix("experts w1, w3", w13).await?,
            w2: self.matrix("experts w2", w2).await?,
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
    async fn matrix(&mut self, name: &str, experts: Vec<Rows>) -> Result<Matrix, LoadError> {
        let experts: Arc<[Rows]> = experts.into();
        let (rows, cols) = experts.first().map_or((0, 0), |e| (e.rows, e.cols));
        let max_bytes = self.context.caps().max_part();
        let mut parts = Vec::new();
        for (target, run) in runs(&experts) {
            let format = Format::of(target);
            for (first_row, n) in Matrix::split(format, experts.len(), run, cols, max_bytes) {
                let planes = format.planes(experts.len() * n * cols);
                let data: Tensor<u32> = self.context.tensor(name, planes.words).await?;
                let part = Part { format, first_row, rows: n, data, planes };
                let experts = experts.clone();
                self.jobs.push(Job::Matrix { part: part.clone(), experts, target });
                parts.push(part);
            }
        }
        Ok(Matrix { experts: experts.len(), rows, cols, parts })
    }

    /// One or more tensors, one after another, in f32.
    async fn vector(&mut self, slots: &[Slot]) -> Result<Tensor<f32>, LoadError> {
        let slices = slots.iter().map(|s| self.slice(*s)).collect::<Result<Vec<_>, _>>()?;
        let name = slots.first().map(Slot::hub_name).unwrap_or_default();
        let len = slices.iter().map(|s| s.rows * s.cols).sum();
        let data = self.context.tensor(&name, len).await?;
        self.jobs.push(Job::Vector { data: data.clone(), slices });
        Ok(data)
    }

    async fn optional(&mut self, slot: Slot) -> Result<Option<Tensor<f32>>, LoadError> {
        match self.tensors.get(slot) {
            Some(_) => Ok(Some(self.vector(&[slot]).await?)),
            None => Ok(None),
        }
    }
}

/// An FFN's width on the GPU: the next multiple of four.
pub(super) fn padded_width(width: usize) -> usize {
    width.next_multiple_of(4)
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
