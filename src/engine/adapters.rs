//! Loading and removing LoRA adapters of an engine.

use std::sync::Arc;

use super::Engine;
use super::answer::LoraChoice;
use super::loras::{LoraInfo, LoraOfSeq};
use crate::error::Error;
use crate::model::lora::LoraAdapter;

impl Engine {
    /// Loads a LoRA adapter, also while answers are generated. Answers use it by its name
    /// ([`GenerateOptions::lora`](super::GenerateOptions::lora)); each of a batch may have another one or none.
    /// `scale`: factor of its addition, usually 1. The GPU keeps the factors in f32, in memory beyond
    /// [`Engine::memory`]. The first adapter takes some time: kernels with adapters are compiled.
    ///
    /// # Errors
    /// [`Error::Lora`] if the name is empty or taken; [`Error::Option`] for a scale that is not finite;
    /// [`Error::Gpu`] if there is no memory for it. Then nothing has changed.
    pub async fn load_lora(
        &self,
        name: &str,
        adapter: impl Into<Arc<LoraAdapter>>,
        scale: f32,
    ) -> Result<(), Error> {
        let core = self.core();
        let loaded = core.loras.reserve(name, adapter.into(), scale)?;
        loop {
            let runner = core.runner();
            core.loras.put(&runner, Some(&loaded)).await?;
            // The device may have been replaced meanwhile.
            if Arc::ptr_eq(&runner, &core.runner()) {
                return core.loras.publish(loaded);
            }
        }
    }

    /// Removes a LoRA adapter. Answers in progress go on with it; its memory is freed when they have ended.
    ///
    /// # Errors
    /// [`Error::Lora`] if there is none of this name.
    pub fn unload_lora(&self, name: &str) -> Result<(), Error> {
        let core = self.core();
        core.loras.remove(name)?;
        core.loras.free_unused(&core.runner());
        Ok(())
    }

    /// The loaded LoRA adapters, in the order of their loading.
    #[must_use]
    pub fn loras(&self) -> Vec<LoraInfo> {
        self.core().loras.infos()
    }

    /// The adapter of a request.
    pub(super) fn lora(&self, choice: Option<&LoraChoice>) -> Result<Option<LoraOfSeq>, Error> {
        choice.map(|choice| self.core().loras.choose(choice)).transpose()
    }
}
