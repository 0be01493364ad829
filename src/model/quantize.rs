//! Which type each tensor gets when a plain checkpoint's weights are to be stored smaller, and how.

use super::TensorId;
use crate::formats::ElementType;
use crate::formats::blocks::quantize;
use crate::kernels::{Format, values};

/// How a model's matrices are to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightChoice {
    /// Half precision.
    F16,
    /// 8 bits in blocks of 32 (Q8_0).
    Q8,
    /// 4 bits in blocks of 32 (Q4_0).
    Q4,
}

impl WeightChoice {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::F16, Self::Q8, Self::Q4];

    /// What `--weights` calls it.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        }
    }

    fn element_type(self) -> ElementType {
        match self {
            Self::F16 => ElementType::F16,
            Self::Q8 => ElementType::Q8_0,
            Self::Q4 => ElementType::Q4_0,
        }
    }
}

/// A part of a model that may be stored in a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPart {
    /// The embedding and the head.
    Head,
    /// Query, key, value and output projections.
    Attention,
    /// In and out projections of the short convolutions.
    Conv,
    /// Experts.
    Experts,
    /// Dense FFNs.
    Dense,
}

impl ModelPart {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Head, Self::Attention, Self::Conv, Self::Experts, Self::Dense];

    /// Its name, e.g. `experts`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Attention => "attention",
            Self::Conv => "conv",
            Self::Experts => "experts",
            Self::Dense => "dense",
        }
    }
}

/// What becomes of every tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The matrices.
    pub weights: WeightChoice,
    /// Parts that are stored in another way.
    pub keep: Vec<(ModelPart, WeightChoice)>,
}

impl Recipe {
    /// Matrices as `weights`. With 4 bits, the embedding, which is the head too, and the attentions'
    /// projections are in 8: for 3.6 % of the bytes that a token of LFM2-8B-A1B reads, attention in 8
    /// bits halved the demo model's divergence from its weights in bf16 (docs/performance.md).
    #[must_use]
    pub fn new(weights: WeightChoice) -> Self {
        let keep = match weights {
            WeightChoice::Q4 => {
                vec![(ModelPart::Head, WeightChoice::Q8), (ModelPart::Attention, WeightChoice::Q8)]
            }
            _ => Vec::new(),
        };
        Self { weights, keep }
    }

    /// As [`Recipe::new`], and these parts in their own way.
    #[must_use]
    pub fn keeping(mut self, keep: impl IntoIterator<Item = (ModelPart, WeightChoice)>) -> Self {
        for (part, choice) in keep {
            self.keep.retain(|(kept, _)| *kept != part);
            self.keep.push((part, choice));
        }
        self
    }

    /// The type that a tensor of type `own` with rows of `cols` elements gets. Norms, routers, taps
    /// and biases stay as they are; so do matrices whose rows are no whole blocks, and blocks.
    #[must_use]
    pub fn target(&self, id: TensorId, own: ElementType, cols: usize) -> ElementType {
        if !id.is_matrix() {
            return own;
        }
        let part = match id {
            TensorId::Embedding | TensorId::LmHead => ModelPart::Head,
            TensorId::Q(_) | TensorId::K(_) | TensorId::V(_) | TensorId::AttentionOut(_) => {
                ModelPart::Attention
            }
            TensorId::ConvInProj(_) | TensorId::ConvOutProj(_) => ModelPart::Conv,
            TensorId::ExpertW1(..) | TensorId::ExpertW2(..) | TensorId::ExpertW3(..) => {
                ModelPart::Experts
            }
            _ => ModelPart::Dense,
        };
        let kept = self.keep.iter().rev().find(|(p, _)| *p == part).map(|(_, choice)| *choice);
        let target = kept.unwrap_or(self.weights).element_type();
        let whole = (cols as u64).is_multiple_of(target.block().elements);
        let plain = matches!(own, ElementType::F32 | ElementType::F16 | ElementType::BF16);
        if whole && plain { target } else { own }
    }
}

/// Whole rows of type `own` as `target` stores them; `None` if there is no way from one to the
/// other.
#[must_use]
pub fn convert(own: ElementType, target: ElementType, bytes: &[u8]) -> Option<Vec<u8>> {
    if own == target {
        return Some(bytes.to_vec());
    }
    match target {
        // A plain format has one plane: the elements.
        ElementType::F32 | ElementType::F16 => {
            let mut planes = Vec::new();
            Format::of(target).pack(own, bytes, &mut planes);
            planes.pop()
        }
        _ => quantize(target, &values(own, bytes)),
    }
}
