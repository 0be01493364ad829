//! The engine: a model on a device, shared by its sessions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::runner::Runner;
use super::{ModelText, Recommendation, SamplingOptions};
use crate::error::Error;
use crate::gpu::Device;
use crate::kernels::Choices;
use crate::model::{MemoryPlan, ModelConfig, ModelSize};
use crate::state::Pages;
use crate::text::{Conversation, Tokenizer};

/// A model on a GPU. Cloning shares it; natively it is `Send + Sync`.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<Inner>,
}

/// Everything that the clones of an engine share.
pub(super) struct Inner {
    pub runner: Runner,
    pub free: Mutex<Free>,
    pub size: ModelSize,
    pub memory: MemoryPlan,
    pub ends: Vec<u32>,
    pub recommended: Recommendation,
    pub text: ModelText,
    pub read_ahead: u32,
}

/// Slots and pages that no sequence uses.
pub(super) struct Free {
    pub slots: Vec<u32>,
    pub pages: Pages,
}

impl Engine {
    /// The device the model is on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.inner.runner.device
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.inner.runner.config
    }

    /// The model's common name: that on the hub, else that of its folder or file.
    #[must_use]
    pub fn name(&self) -> String {
        crate::formats::model_name(self.place())
    }

    /// The model's source: its directory or file, or `embedded`.
    #[must_use]
    pub fn place(&self) -> &str {
        self.inner.text.place()
    }

    /// Parameters and bytes of the weights.
    #[must_use]
    pub fn size(&self) -> ModelSize {
        self.inner.size
    }

    /// The model's memory on the GPU by purpose.
    #[must_use]
    pub fn memory(&self) -> &MemoryPlan {
        &self.inner.memory
    }

    /// Storage format of most weights, e.g. `BF16` or `Q4`.
    #[must_use]
    pub fn weight_format(&self) -> &'static str {
        self.inner.runner.weights.format().name()
    }

    /// Whether some weights are in blocks of few bits.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.inner.runner.weights.is_quantised()
    }

    /// Kernel choices of this engine. With the same choices on the same adapter and driver, this
    /// version of the engine computes the same bits for the same tokens after every start.
    /// [`EngineBuilder::choices`](super::EngineBuilder::choices) takes them.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.inner.runner.choices
    }

    /// Tokens that are submitted ahead of the one that is read.
    #[must_use]
    pub fn read_ahead(&self) -> u32 {
        self.inner.read_ahead
    }

    /// Context length of a sequence in positions.
    #[must_use]
    pub fn context_length(&self) -> usize {
        self.inner.runner.state.context as usize
    }

    /// The sampling that the model's authors recommend.
    #[must_use]
    pub fn recommended_sampling(&self) -> SamplingOptions {
        self.inner.recommended.sampling.clone()
    }

    /// The same with its source: a file of the model, or the table of published models.
    #[must_use]
    pub fn recommendation(&self) -> &Recommendation {
        &self.inner.recommended
    }

    /// Whether a token ends an answer: one that the model's files name as an end, or that its own
    /// template writes after an answer.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.inner.ends.contains(&token)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`Error::NoTextFile`] if the model has none.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.inner.text.tokenizer()
    }

    /// Renders a conversation by the model's chat template.
    ///
    /// # Errors
    /// [`Error::Text`] if there is no template, or it refuses the conversation.
    pub fn render(
        &self,
        conversation: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<String, Error> {
        self.inner.text.render(conversation, add_generation_prompt)
    }

    /// The token ids of a conversation up to the beginning of the assistant's answer, or without
    /// that beginning if the conversation says so.
    ///
    /// # Errors
    /// As [`Engine::render`] and [`Engine::tokenizer`].
    pub fn encode_chat(&self, conversation: &Conversation) -> Result<Vec<u32>, Error> {
        self.inner.text.encode_chat(conversation)
    }

    pub(super) fn free(&self) -> MutexGuard<'_, Free> {
        self.inner.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
