//! The layout of LoRA adapters on the GPU, which the import `lora` reads.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Device, GpuError, Tensor};

/// The low-rank factors of one matrix `[experts, rows, cols]`, for the adapters in all slots: `W' = W + scale B A`.
/// Slot by slot A `[experts, rank, cols]` and B `[experts, rows, rank]`, then the results `[products, rank]` of
/// [`LoraShrink`](super::LoraShrink).
#[derive(Clone, Debug)]
pub struct LoraMatrix {
    /// Factors and results.
    pub data: Tensor<f32>,
    /// Its sizes.
    pub shape: LoraShape,
}

/// Sizes of a [`LoraMatrix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoraShape {
    /// Matrices, one for each expert.
    pub experts: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub cols: usize,
    /// Rank of the factors, a multiple of [`LoraShape::RANKS`]. Adapters of a lower one have zeros.
    pub rank: usize,
    /// Adapters at once.
    pub slots: usize,
    /// Products of a pass: its rows times the experts of a row.
    pub products: usize,
}

impl LoraShape {
    /// The rank is a multiple of this.
    pub const RANKS: usize = 4;

    /// Elements of A in a slot.
    #[must_use]
    pub fn a_len(&self) -> usize {
        self.experts * self.rank * self.cols
    }

    /// Elements of B in a slot.
    #[must_use]
    pub fn b_len(&self) -> usize {
        self.experts * self.rows * self.rank
    }

    /// First element of a slot's A; its B follows.
    #[must_use]
    pub fn slot_at(&self, slot: usize) -> usize {
        slot * (self.a_len() + self.b_len())
    }

    /// Elements in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slot_at(self.slots) + self.products * self.rank
    }

    /// Whether it has no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn params(&self) -> LoraParams {
        LoraParams {
            rank4: (self.rank / 4) as u32,
            slot4: (self.slot_at(1) / 4) as u32,
            b4: (self.a_len() / 4) as u32,
            v4: (self.slot_at(self.slots) / 4) as u32,
            rows: self.rows as u32,
        }
    }
}

/// Parameters of the import `lora`, counted in `vec4`s.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub(super) struct LoraParams {
    pub rank4: u32,
    pub slot4: u32,
    b4: u32,
    pub v4: u32,
    rows: u32,
}

impl LoraParams {
    /// Those of a matrix's factors, if it has any.
    pub fn of(lora: Option<&LoraMatrix>) -> Self {
        lora.map(|lora| lora.shape.params()).unwrap_or_default()
    }
}

impl LoraMatrix {
    /// Factors of zeros.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`], or [`GpuError::Limit`] if they do not fit a binding.
    pub async fn new(device: &Device, shape: LoraShape) -> Result<Self, GpuError> {
        Ok(Self { data: device.tensor("LoRA adapters", shape.len()).await?, shape })
    }
}
