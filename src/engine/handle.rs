//! The engine: a model on a device, shared by all who ask it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock};

use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_channel::oneshot;

use super::core::Core;
use super::runner::Runner;
use super::stepper::{Command, Stepper};
use super::{ModelText, Recommendation, SamplingOptions};
use crate::error::Error;
use crate::gpu::Device;
use crate::kernels::Choices;
use crate::model::{MemoryPlan, ModelConfig, ModelSize};
use crate::schedule::{CacheCounts, QueueCounts, Scheduler, SeqId};
use crate::text::{AnswerFormat, Conversation, SpecialTokenTexts, Tokenizer};

/// A model on a GPU. Cloning shares it; natively it is `Send + Sync`.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<Inner>,
}

/// Everything that the clones of an engine share.
pub(super) struct Inner {
    core: Arc<Core>,
    /// `None` when the engine ends.
    commands: Option<UnboundedSender<Command>>,
    next_id: AtomicU64,
    #[cfg(not(target_arch = "wasm32"))]
    thread: Option<std::thread::JoinHandle<()>>,
    config: ModelConfig,
    /// Storage format of most weights, and whether some are in blocks.
    weights: (&'static str, bool),
    pub size: ModelSize,
    pub memory: MemoryPlan,
    pub recommended: Recommendation,
    pub text: ModelText,
    /// The model's identity in saved states; computed for the first one.
    pub fingerprint: OnceLock<String>,
}

impl Inner {
    /// Starts the engine's loop: natively in a thread of its own, in a browser as a task.
    ///
    /// # Errors
    /// [`Error::EngineStopped`] if the system has no thread for it.
    pub fn new(
        core: Core,
        config: ModelConfig,
        size: ModelSize,
        memory: MemoryPlan,
        recommended: Recommendation,
        text: ModelText,
    ) -> Result<Self, Error> {
        let core = Arc::new(core);
        let weights = {
            let runner = core.runner();
            (runner.weights().format().name(), runner.weights().is_quantised())
        };
        let (sender, commands) = unbounded();
        let run = Stepper::new(core.clone()).run(commands);
        #[cfg(not(target_arch = "wasm32"))]
        let thread = {
            let builder = std::thread::Builder::new().name("lfm2-engine".to_owned());
            let started = builder.spawn(move || pollster::block_on(run));
            Some(started.map_err(|_| Error::EngineStopped)?)
        };
        #[cfg(target_arch = "wasm32")]
        wasm_bindgen_futures::spawn_local(run);
        Ok(Self {
            core,
            commands: Some(sender),
            next_id: AtomicU64::new(0),
            #[cfg(not(target_arch = "wasm32"))]
            thread,
            config,
            weights,
            size,
            memory,
            recommended,
            text,
            fingerprint: OnceLock::new(),
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The loop ends when nobody can send it commands. Then the model's memory is freed.
        self.commands = None;
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Engine {
    /// The device the model is on: another one after a loss.
    #[must_use]
    pub fn device(&self) -> Device {
        self.runner().device.clone()
    }

    /// Puts the model on another device of the application ([`Device::from_wgpu`]), usually because the one before was
    /// lost. All answers in progress continue there from their tokens; the prefix cache begins anew. The weights are read
    /// again from the model's files. Returns when the engine runs on it.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the model does not fit the device, and errors of reading the files: then nothing has changed.
    /// [`Error::EngineStopped`] if the engine was built to [fail](super::OnDeviceLost::Fail).
    pub async fn resume(&self, device: Device) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Resume { device, done });
        answer.await.unwrap_or(Err(Error::EngineStopped))
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.inner.config
    }

    /// The model's common name: that on the hub, else that of its folder or file; `demo` for the demonstration
    /// model.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.text.name()
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
        self.inner.weights.0
    }

    /// Whether some weights are in blocks of few bits.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.inner.weights.1
    }

    /// Kernel choices of this engine. With the same choices on the same adapter and driver, this
    /// version of the engine computes the same bits for the same tokens after every start.
    /// [`EngineBuilder::choices`](super::EngineBuilder::choices) takes them.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.runner().choices
    }

    /// Tokens that are submitted ahead of the one that is read.
    #[must_use]
    pub fn read_ahead(&self) -> u32 {
        self.inner.core.read_ahead
    }

    /// Sequences that run at once.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.runner().state.n_slots as usize
    }

    /// Context length of a sequence in positions.
    #[must_use]
    pub fn context_length(&self) -> usize {
        self.runner().state.context as usize
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
        self.inner.core.ends.contains(&token)
    }

    /// Tokens that end an answer.
    pub(super) fn ends(&self) -> &[u32] {
        &self.inner.core.ends
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`Error::NoTextFile`] if the model has none.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.inner.text.tokenizer()
    }

    /// The text of the chat template; `None` if there is none that can be used.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.inner.text.chat_template()
    }

    /// The special tokens by their texts. If the model's files name no end of text, it is a token that ends an answer.
    #[must_use]
    pub fn special_tokens(&self) -> SpecialTokenTexts {
        let mut special = self.inner.text.special_tokens().clone();
        if special.eos_token.is_none() {
            let end = self.inner.core.ends.first();
            let text = end.zip(self.tokenizer().ok()).and_then(|(end, t)| t.token_text(*end));
            special.eos_token = text.map(str::to_owned);
        }
        special
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

    /// The text of a conversation's prompt.
    ///
    /// # Errors
    /// As [`Engine::render`].
    pub fn render_chat(&self, conversation: &Conversation) -> Result<String, Error> {
        Ok(self.inner.text.chat_text(conversation)?.0)
    }

    /// The token ids of a conversation's prompt, and the format of its answer, for a [`GenerateRequest`](super::GenerateRequest).
    ///
    /// # Errors
    /// As [`Engine::render`] and [`Engine::tokenizer`].
    pub fn chat_prompt(
        &self,
        conversation: &Conversation,
    ) -> Result<(Vec<u32>, AnswerFormat), Error> {
        self.inner.text.chat(conversation)
    }

    /// Forgets the state of all earlier prompts and answers that no answer in progress uses.
    pub fn clear_cache(&self) {
        self.scheduler().clear_cache();
    }

    /// Counts of the prefix cache so far.
    #[must_use]
    pub fn cache_counts(&self) -> CacheCounts {
        self.scheduler().counts()
    }

    /// The answers that run and wait now.
    #[must_use]
    pub fn queue_counts(&self) -> QueueCounts {
        self.scheduler().queue()
    }

    /// Number of times that the engine has lost its device, or moved to another, and continued.
    #[must_use]
    pub fn device_losses(&self) -> u64 {
        self.inner.core.devices_lost.load(Ordering::Relaxed)
    }

    /// Refuses an empty prompt and tokens that the model does not have.
    pub(super) fn check_prompt(&self, prompt: &[u32]) -> Result<(), Error> {
        let vocab = self.config().vocab_size;
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        match prompt.iter().position(|id| *id as usize >= vocab) {
            Some(index) => Err(Error::TokenOutOfRange { index, id: prompt[index], vocab }),
            None => Ok(()),
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    pub(super) fn runner(&self) -> Arc<Runner> {
        self.inner.core.runner()
    }

    pub(super) fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.inner.core.between_steps()
    }

    /// Waits until state can be leased; the caller leases before its next await. Natively [`Engine::scheduler`] waits.
    pub(super) async fn step_ends(&self) {
        #[cfg(target_arch = "wasm32")]
        self.inner.core.step_ends().await;
    }

    /// A name for a new sequence.
    pub(super) fn next_id(&self) -> SeqId {
        SeqId(self.inner.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends a command to the loop. If the loop has ended, the answer's events tell it.
    pub(super) fn send(&self, command: Command) {
        if let Some(commands) = &self.inner.commands {
            let _ = commands.unbounded_send(command);
        }
    }

    /// Tells the loop that slots or pages may have become free.
    pub(super) fn wake(&self) {
        self.send(Command::Wake);
    }
}
