//! Quantisation of a plain checkpoint's weights: the type of each tensor, and the conversion.

use super::TensorId;
use crate::formats::ElementType;
use crate::formats::blocks::quantize;
use crate::kernels::{Format, values};

/// Storage format of a model's matrices.
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

    /// Its name for `--weights`.
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

/// A part of a model that may have a storage format of its own.
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

/// The storage format of every tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The matrices.
    pub weights: WeightChoice,
    /// Parts with another format.
    pub keep: Vec<(ModelPart, WeightChoice)>,
}

impl Recipe {
    /// A recipe for matrices in `weights`. With 4 bits, the embedding (which is also the head) and
    /// the attention projections are in 8 bits: 8-bit attention adds 3.6 % to the bytes that a
    /// token of LFM2-8B-A1B reads, and halved the demo model's divergence from its bf16 weights
    /// (docs/performance.md).
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

    /// As [`Recipe::new`], with these parts in their own formats.
    #[must_use]
    pub fn keeping(mut self, keep: impl IntoIterator<Item = (ModelPart, WeightChoice)>) -> Self {
        for (part, choice) in keep {
            self.keep.retain(|(kept, _)| *kept != part);
            self.keep.push((part, choice));
        }
        self
    }

    /// The type that a tensor of type `own` with rows of `cols` elements gets. Norms, routers, taps
    /// and biases keep their type; so do matrices in blocks, and those whose rows are not whole
    /// blocks.
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

/// Converts whole rows from type `own` to `target`; `None` if there is no conversion.
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
