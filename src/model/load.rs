//! Makes a checkpoint's tensors on the GPU, then streams them there in bounded pieces.

use std::sync::Arc;

use super::layout::{self, Layout, PartLayout, Rows};
use super::weights::{AttentionWeights, Ffn, Layer, Operator, ShortConvWeights, Weights};
use super::{FfnKind, ModelConfig, OperatorKind, Recipe, ResolvedTensors, TensorId};
use crate::formats::{Checkpoint, ElementType, FormatError, TensorSlice};
use crate::gpu::{Device, GpuError, Tensor};
use crate::kernels::{Format, Matrix, MatrixPart};

/// Reason for a failure to load a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The checkpoint.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The GPU.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The caller's progress callback returned `false`.
    #[error("loading was cancelled")]
    Cancelled,
}

/// Progress of loading, in bytes of the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes on the GPU.
    pub loaded: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Called repeatedly while loading; `false` stops. `Send` natively, as in
/// [`MaybeSend`](crate::formats::source::MaybeSend).
#[cfg(not(target_arch = "wasm32"))]
pub type OnProgress<'a> = &'a mut (dyn FnMut(LoadProgress) -> bool + Send);
/// Called repeatedly while loading; `false` stops.
#[cfg(target_arch = "wasm32")]
pub type OnProgress<'a> = &'a mut dyn FnMut(LoadProgress) -> bool;

/// Content to be read into a tensor.
pub(super) enum Job {
    /// These rows of each expert, one after another, as elements of this type.
    Matrix { part: MatrixPart, experts: Arc<[Rows]>, target: ElementType },
    /// Tensors, one after another, in f32.
    Vector { data: Tensor<f32>, slices: Vec<TensorSlice> },
}

struct Maker<'a> {
    device: &'a Device,
    checkpoint: &'a Checkpoint,
    layout: Layout<'a>,
    jobs: Vec<Job>,
}

/// The content of the tensors, not read yet.
pub struct Unread<'a> {
    pub(super) device: &'a Device,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) jobs: Vec<Job>,
    pub(super) progress: LoadProgress,
}

/// Makes the tensors of all weights, stored as in the files or by `recipe`. Plans can be recorded
/// with them at once; [`Unread::load`] fills them.
///
/// # Errors
/// [`LoadError::Format`] if a tensor is missing, [`LoadError::Gpu`].
pub async fn make_weights<'a>(
    device: &'a Device,
    config: &ModelConfig,
    checkpoint: &'a Checkpoint,
    tensors: &'a ResolvedTensors,
    recipe: Option<&'a Recipe>,
) -> Result<(Weights, Unread<'a>), LoadError> {
    let total = tensors.size().weight_bytes;
    let layout = Layout { tensors, recipe };
    let mut l = Maker { device, checkpoint, layout, jobs: Vec::new() };
    let embedding = l.matrix("embed_tokens", TensorId::Embedding).await?;
    let lm_head = match tensors.get(TensorId::LmHead) {
        Some(_) if !config.tie_word_embeddings => {
            Some(l.matrix("lm_head", TensorId::LmHead).await?)
        }
        _ => None,
    };
    let embedding_norm = l.vector(&[TensorId::EmbeddingNorm]).await?;
    let mut layers = Vec::with_capacity(config.layers.len());
    let (mut convs, mut attentions) = (0, 0);
    for (i, layer) in config.layers.iter().enumerate() {
        let operator_norm = l.vector(&[TensorId::OperatorNorm(i)]).await?;
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
        let ffn_norm = l.vector(&[TensorId::FfnNorm(i)]).await?;
        let ffn = match (layer.ffn, &config.moe) {
            (FfnKind::Moe, Some(moe)) => l.moe(i, moe.num_experts).await?,
            _ => Ffn::Dense {
                w13: l.matrix("w1, w3", TensorId::W1(i)).await?,
                w2: l.matrix("w2", TensorId::W2(i)).await?,
            },
        };
        layers.push(Layer { operator_norm, operator, ffn_norm, ffn });
    }
    let progress = LoadProgress { loaded: 0, total };
    let unread = Unread { device, checkpoint, jobs: l.jobs, progress };
    Ok((Weights { embedding, lm_head, embedding_norm, layers }, unread))
}

impl Maker<'_> {
    async fn short_conv(&mut self, i: usize, index: usize) -> Result<ShortConvWeights, LoadError> {
        Ok(ShortConvWeights {
            index,
            in_proj: self.matrix("conv.in_proj", TensorId::ConvInProj(i)).await?,
            in_proj_bias: self.optional(TensorId::ConvInProjBias(i)).await?,
            taps: self.vector(&[TensorId::ConvTaps(i)]).await?,
            taps_bias: self.optional(TensorId::ConvTapsBias(i)).await?,
            out_proj: self.matrix("conv.out_proj", TensorId::ConvOutProj(i)).await?,
            out_proj_bias: self.optional(TensorId::ConvOutProjBias(i)).await?,
        })
    }

    async fn attention(&mut self, i: usize, index: usize) -> Result<AttentionWeights, LoadError> {
        Ok(AttentionWeights {
            index,
            qkv: self.matrix("q, k, v", TensorId::Q(i)).await?,
            qk_norms: self.vector(&[TensorId::QNorm(i), TensorId::KNorm(i)]).await?,
            out_proj: self.matrix("out_proj", TensorId::AttentionOut(i)).await?,
        })
    }

    async fn moe(&mut self, i: usize, experts: usize) -> Result<Ffn, LoadError> {
        let router = Matrix::of_floats(&self.vector(&[TensorId::Router(i)]).await?, experts);
        let expert_bias = match self.optional(TensorId::ExpertBias(i)).await? {
            Some(bias) => bias,
            None => self.device.tensor("expert_bias", experts).await?,
        };
        Ok(Ffn::Moe {
            router,
            expert_bias,
            w13: self.matrix("experts w1, w3", TensorId::ExpertW1(i, 0)).await?,
            w2: self.matrix("experts w2", TensorId::ExpertW2(i, 0)).await?,
        })
    }

    fn missing(&self, id: TensorId) -> LoadError {
        let problem = format!("tensor {} is missing", id.hub_name());
        FormatError::File { file: self.checkpoint.name().to_owned(), problem }.into()
    }

    /// The matrix that begins with a tensor.
    async fn matrix(&mut self, name: &str, first: TensorId) -> Result<Matrix, LoadError> {
        let experts = self.layout.matrix(first).ok_or_else(|| self.missing(first))?;
        let experts: Arc<[Rows]> = experts.into();
        let (rows, cols) = experts.first().map_or((0, 0), |e| (e.rows, e.cols));
        let mut parts = Vec::new();
        for layout in layout::parts(&experts, self.device.caps().max_part()) {
            let PartLayout { target, rows, planes } = layout;
            let data: Tensor<u32> = self.device.tensor(name, planes.words).await?;
            let (format, first_row) = (Format::of(target), rows.start);
            let part = MatrixPart { format, first_row, rows: rows.len(), data, planes };
            let experts = experts.clone();
            self.jobs.push(Job::Matrix { part: part.clone(), experts, target });
            parts.push(part);
        }
        Ok(Matrix { experts: experts.len(), rows, cols, parts, lora: None })
    }

    /// One or more tensors in sequence, in f32.
    async fn vector(&mut self, ids: &[TensorId]) -> Result<Tensor<f32>, LoadError> {
        let slice =
            |s: &TensorId| self.layout.tensors.get(*s).copied().ok_or_else(|| self.missing(*s));
        let slices = ids.iter().map(slice).collect::<Result<Vec<_>, _>>()?;
        let name = ids.first().map(TensorId::hub_name).unwrap_or_default();
        let len = slices.iter().map(|s| s.rows * s.cols).sum();
        let data = self.device.tensor(&name, len).await?;
        self.jobs.push(Job::Vector { data: data.clone(), slices });
        Ok(data)
    }

    async fn optional(&mut self, id: TensorId) -> Result<Option<Tensor<f32>>, LoadError> {
        match self.layout.tensors.get(id) {
            Some(_) => Ok(Some(self.vector(&[id]).await?)),
            None => Ok(None),
        }
    }
}
