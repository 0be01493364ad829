//! Sessions, batches and sampling on a loaded model.
//!
//! ```no_run
//! # async fn example() -> Result<(), lfm2_wgpu::Error> {
//! use lfm2_wgpu::{Engine, GenerateOptions, text::{Conversation, Message}};
//!
//! let engine = Engine::builder().directory("LFM2.5-8B-A1B")?.build().await?;
//! let mut session = engine.session()?;
//! let conversation = Conversation::new([Message::user("What is WebGPU?")]);
//! let mut answer = session.respond(&conversation, &GenerateOptions::default())?;
//! while let Some(delta) = answer.next().await {
//!     print!("{}", delta?.text);
//! }
//! # Ok(()) }
//! ```

mod builder;
mod ends;
mod generation;
mod inspect;
mod opened;
mod planning;
mod progress;
mod recommended;
mod request;
mod runner;
mod sampling;
mod session;
mod speed;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use builder::EngineBuilder;
pub use generation::{Delta, FinishReason, GenerateOptions, Generation, PrefillProgress};
pub use inspect::Trace;
pub use opened::{ModelText, OpenedModel};
pub use progress::BuildProgress;
pub use recommended::Recommendation;
pub use request::{ChatRequest, piece, summary};
pub use sampling::SamplingOptions;
pub use session::Session;
pub use speed::DeviceSpeed;
pub use stats::Timings;

use crate::error::Error;
use crate::gpu::Device;
pub use crate::kernels::Choices;
use crate::model::{MemoryPlan, ModelConfig, ModelSize};
use crate::state::Pages;
use crate::text::{Conversation, Tokenizer};
use runner::Runner;

/// A model on a GPU. Cloning shares it; natively it is `Send + Sync`.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    runner: Runner,
    free: Mutex<Free>,
    size: ModelSize,
    memory: MemoryPlan,
    ends: Vec<u32>,
    recommended: Recommendation,
    text: ModelText,
    read_ahead: u32,
}

/// What sequences take and give back.
struct Free {
    slots: Vec<u32>,
    pages: Pages,
}

impl Engine {
    /// Begins an engine: model, device, sizes.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// A new sequence on the engine.
    ///
    /// # Errors
    /// [`Error::NoFreeSequence`] if all are taken.
    pub fn session(&self) -> Result<Session, Error> {
        Session::new(self.clone())
    }

    /// Answers a few tokens that nobody sees, so that no driver compiles or allocates while a person
    /// waits for the first answer. Needs a free sequence.
    ///
    /// # Errors
    /// [`Error::NoFreeSequence`], and as [`Generation::next`].
    pub async fn warm_up(&self) -> Result<(), Error> {
        let mut session = self.session()?;
        // More rows than `matvec` takes, so that the kernels of long prompts run too.
        let few = self.inner.runner.choices.matvec_rows as usize;
        let prompt = vec![0; (2 * few).min(self.context_length() - 1)];
        let options =
            GenerateOptions { max_tokens: Some(2), ignore_end: true, ..GenerateOptions::default() };
        session.generate(&prompt, &options)?.text().await?;
        Ok(())
    }

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

    /// What people call the model: its name on the hub, else that of its folder or file.
    #[must_use]
    pub fn name(&self) -> String {
        crate::formats::model_name(self.place())
    }

    /// Where the model came from: its directory, or `embedded`.
    #[must_use]
    pub fn place(&self) -> &str {
        self.inner.text.place()
    }

    /// Parameters and bytes of the weights.
    #[must_use]
    pub fn size(&self) -> ModelSize {
        self.inner.size
    }

    /// What the model takes on the GPU.
    #[must_use]
    pub fn memory(&self) -> &MemoryPlan {
        &self.inner.memory
    }

    /// How most of the weights are stored, e.g. `BF16` or `Q4`.
    #[must_use]
    pub fn weight_format(&self) -> &'static str {
        self.inner.runner.weights.format().name()
    }

    /// Whether some weights are in blocks of few bits.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.inner.runner.weights.is_quantised()
    }

    /// How this engine chose between ways to compute: with the same choices, on the same adapter and
    /// driver, this version of the engine computes the same bits of the same tokens, however often it
    /// is started. [`EngineBuilder::choices`] takes them.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.inner.runner.choices
    }

    /// Tokens that are asked of the GPU ahead of the one that is read.
    #[must_use]
    pub fn read_ahead(&self) -> u32 {
        self.inner.read_ahead
    }

    /// Positions of a sequence.
    #[must_use]
    pub fn context_length(&self) -> usize {
        self.inner.runner.state.context as usize
    }

    /// The sampling that the model's authors recommend.
    #[must_use]
    pub fn recommended_sampling(&self) -> SamplingOptions {
        self.inner.recommended.sampling.clone()
    }

    /// The same, and whether a file of the model says so or the table of published models.
    #[must_use]
    pub fn recommendation(&self) -> &Recommendation {
        &self.inner.recommended
    }

    /// Whether a token ends an answer: one that the model's files name as an end, or that its own
    /// template writes behind an answer.
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

    /// The token ids of a conversation, up to where the assistant's answer begins (unless the
    /// conversation itself says no to that).
    ///
    /// # Errors
    /// As [`Engine::render`] and [`Engine::tokenizer`].
    pub fn encode_chat(&self, conversation: &Conversation) -> Result<Vec<u32>, Error> {
        self.inner.text.encode_chat(conversation)
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.inner.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
