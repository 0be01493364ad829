//! LoRA adapters on a device: their passes and their factors.

use std::sync::Arc;

use super::passes::Passes;
use super::runner::Runner;
use crate::error::Error;
use crate::gpu::GpuError;
use crate::model::lora::{LoraAdapter, LoraCapacity};

impl Runner {
    /// Makes passes for adapters up to `capacity`, with these in their slots. Nothing uses them before
    /// [`AdaptedPasses::set`](super::passes::AdaptedPasses::set).
    ///
    /// # Errors
    /// [`Error::Gpu`] if they do not fit the device's memory or bindings.
    pub async fn adapt(
        &self,
        capacity: &LoraCapacity,
        adapters: impl IntoIterator<Item = (u32, Arc<LoraAdapter>)>,
    ) -> Result<Arc<Passes>, Error> {
        let (device, config) = (&self.device, &self.config);
        let rows = self.max_rows as usize;
        let weights = self.weights().with_lora(device, config, capacity, rows).await?;
        let passes = Passes::new(weights);
        self.compile_passes(&passes, &|_, _| {}).await?;
        for (slot, adapter) in adapters {
            passes.weights.write_lora(device, config, slot as usize, &adapter);
        }
        device.check()?;
        Ok(Arc::new(passes))
    }

    /// Writes an adapter into a slot. The capacity must hold it.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`].
    pub fn write_lora(&self, slot: u32, adapter: &LoraAdapter) -> Result<(), GpuError> {
        if let Some(passes) = self.adapted.passes() {
            passes.weights.write_lora(&self.device, &self.config, slot as usize, adapter);
        }
        self.device.check()
    }
}
