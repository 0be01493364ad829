//! LoRA adapters in the cases of products: factors of two adapters, for every third row one of them or none.

use super::{Fill, Rng};
use crate::gpu::{Device, GpuError, Recorder, Tensor};
use crate::kernels::{
    Batch, ExpertChoice, LoraMatrix, LoraShape, LoraShrink, Norm, OfExpert, Reduce, SeqLora,
};
use crate::reference;

/// Factors of all slots, and the adapter of each row.
pub(super) struct Factors {
    shape: LoraShape,
    top_k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    slots: Vec<Option<usize>>,
    scales: Vec<f32>,
}

impl Factors {
    /// Those of a case with `items` rows; `None` if its rank is 0.
    pub fn of(shape: LoraShape, items: usize, top_k: usize, rng: &mut Rng) -> Option<Self> {
        if shape.rank == 0 {
            return None;
        }
        let slots = shape.slots;
        let a = Fill::Normal.values(rng, slots * shape.a_len());
        let b = Fill::Normal.values(rng, slots * shape.b_len());
        let slots = (0..items).map(|row| [Some(1), None, Some(0)][row % 3]).collect();
        let scales = (0..items).map(|row| 0.5 - row as f32).collect();
        Some(Self { shape, top_k, a, b, slots, scales })
    }

    /// The same with magnitudes, for bounds of errors.
    pub fn magnitudes(&self) -> Self {
        let abs = |v: &[f32]| v.iter().map(|v| v.abs()).collect();
        let (a, b, scales) = (abs(&self.a), abs(&self.b), abs(&self.scales));
        Self { a, b, scales, slots: self.slots.clone(), ..*self }
    }

    pub fn twin(&self) -> reference::Lora<'_> {
        let LoraShape { rank, experts, .. } = self.shape;
        let Self { a, b, slots, scales, top_k, .. } = self;
        reference::Lora { a, b, rank, experts, top_k: *top_k, slots, scales }
    }

    /// The factors on the GPU.
    pub async fn matrix(&self, device: &Device) -> Result<LoraMatrix, GpuError> {
        let matrix = LoraMatrix::new(device, self.shape).await?;
        let (a, b) = (self.shape.a_len(), self.shape.b_len());
        for slot in 0..self.shape.slots {
            let at = self.shape.slot_at(slot);
            device.write(&matrix.data, at, &self.a[slot * a..][..a]);
            device.write(&matrix.data, at + a, &self.b[slot * b..][..b]);
        }
        Ok(matrix)
    }

    /// Gives the rows of a batch, each of which is a sequence, their adapters.
    pub fn assign(&self, batch: &mut Batch) {
        for (seq, (slot, scale)) in batch.seqs.iter_mut().zip(self.slots.iter().zip(&self.scales)) {
            seq.lora = slot.map(|slot| SeqLora { slot: slot as u32, scale: *scale });
        }
    }
}

/// Inputs of a product's adapters.
pub(super) struct Shrink<'a> {
    pub lora: Option<&'a LoraMatrix>,
    pub x: &'a Tensor<f32>,
    pub norm: Option<Norm<'a>>,
    /// Set if the kernel chooses experts.
    pub choice: Option<ExpertChoice<'a>>,
    /// `[rows, top_k]`, if experts are given.
    pub ids: Option<&'a Tensor<u32>>,
    pub top_k: u32,
    pub own_rows: bool,
}

impl Shrink<'_> {
    /// Appends the kernel, if there are adapters.
    pub fn record(&self, r: &mut Recorder, reduce: Reduce) {
        let Some(lora) = self.lora else { return };
        let experts = match (self.choice, self.ids) {
            (Some(choice), _) => OfExpert::Chosen(choice),
            (None, Some(ids)) => OfExpert::Listed { ids, top_k: self.top_k },
            (None, None) => OfExpert::None,
        };
        let (x, norm, own_rows) = (self.x, self.norm, self.own_rows);
        LoraShrink { lora, x, norm, experts, own_rows, reduce }.record(r);
    }
}
