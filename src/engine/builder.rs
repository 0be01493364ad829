//! Builds an engine: files, checks, memory plan, weights, plans. The order lets every refusal come
//! before the first upload.

use std::sync::Arc;

use super::core::Core;
use super::handle::Inner;
use super::loader::Loader;
use super::opened::DEFAULT_CONTEXT;
use super::planning::{Planned, Planning, Setup, warn_unknown};
use super::progress::{BuildProgress, Reporter};
use super::runner::Runner;
use super::{Engine, OpenedModel};
use crate::error::Error;
use crate::formats::source::MaybeSend;
use crate::formats::{ElementType, ModelFiles};
use crate::gpu::{Caps, Device, DeviceOptions, Variant, size};
use crate::kernels::{
    ATTENTION_ROWS, Activations, Choices, KvFormat, MatmulCoop, Multiply, PAGE, REPRODUCIBLE_ROWS,
    Reduce,
};
use crate::model::{
    MemoryPlan, Recipe, ResolvedTensors, Scratch, TensorId, all_token_ids, make_weights,
};
use crate::schedule::{Limits, Scheduler};
use crate::state::{MAX_REWIND, State};

/// Rows of a prefill chunk.
const DEFAULT_CHUNK: u32 = 512;
/// Rows of a prefill chunk in a step that also decodes, so that a long prompt delays the others' next token
/// by little. Such chunks use the kernels of few rows, whose results do not depend on the batch.
const CHUNK_BESIDE: u32 = 64;
/// Most tokens that are submitted ahead: fewer than a sequence can go back
/// ([`crate::state::MAX_REWIND`]).
const MAX_READ_AHEAD: u32 = 4;

impl Engine {
    /// Options of a new engine: model, device, sizes.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }
}

/// Options of an [`Engine`] before it is built.
#[derive(Default)]
pub struct EngineBuilder {
    files: Option<Arc<ModelFiles>>,
    model: Option<OpenedModel>,
    device: Option<Device>,
    device_options: DeviceOptions,
    context_length: Option<u32>,
    sequences: Option<u32>,
    chunk: Option<u32>,
    memory: Option<u64>,
    kv: Option<KvFormat>,
    choices: Option<Choices>,
    recipe: Option<Recipe>,
    activations: Option<Activations>,
    multiply: Option<Multiply>,
    read_ahead: Option<u32>,
    reproducible: bool,
    chat_template: Option<String>,
    on_device_lost: OnDeviceLost,
    reporter: Reporter,
}

/// Behaviour of an engine whose device is lost, e.g. because its driver was reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeviceLost {
    /// The answers in progress continue from their tokens on another device. The engine requests one like the first
    /// and loads the weights again from their files, which it keeps open. If the device is the application's
    /// ([`Device::from_wgpu`]), each answer reports the loss once, and continues when the application calls
    /// [`Engine::resume`].
    #[default]
    Continue,
    /// The answers in progress end with [`Error::Gpu`], and so do all later ones.
    Fail,
}

impl EngineBuilder {
    /// Takes the model from a Hugging Face checkpoint directory.
    ///
    /// # Errors
    /// [`Error::Source`] if there is no such directory.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn directory(self, path: impl Into<std::path::PathBuf>) -> Result<Self, Error> {
        Ok(self.files(ModelFiles::directory(path)?))
    }

    /// Takes the model from a path: a checkpoint directory, a GGUF file (of a split model the
    /// first), or a directory that holds one.
    ///
    /// # Errors
    /// [`Error::Source`] if there is no such directory or file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn path(self, path: impl Into<std::path::PathBuf>) -> Result<Self, Error> {
        Ok(self.files(ModelFiles::path(path)?))
    }

    /// Takes the model from named files.
    #[must_use]
    pub fn files(mut self, files: ModelFiles) -> Self {
        self.files = Some(Arc::new(files));
        self
    }

    /// Takes a model that is already open, for example to check a prompt first.
    #[must_use]
    pub fn model(mut self, model: OpenedModel) -> Self {
        self.model = Some(model);
        self
    }

    /// Takes the demonstration model that is compiled in.
    #[cfg(feature = "demo-model")]
    #[must_use]
    pub fn demo(self) -> Self {
        self.files(crate::demo::files())
    }

    /// Uses an existing device, for example the application's own.
    #[must_use]
    pub fn gpu(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Adapter and limits to request if no device is given.
    #[must_use]
    pub fn gpu_options(mut self, options: DeviceOptions) -> Self {
        self.device_options = options;
        self
    }

    /// Context length of each sequence in positions; 0 is the model's own. Default: the least of
    /// 32,768, the model's own, and the longest that fits the device's limits.
    #[must_use]
    pub fn context_length(mut self, positions: u32) -> Self {
        self.context_length = Some(positions);
        self
    }

    /// Sequences that run at once; more requests wait. They share the memory of keys and values, which holds
    /// this many contexts if they fit [`EngineBuilder::memory`], and at least one. Default 1.
    #[must_use]
    pub fn sequences(mut self, sequences: u32) -> Self {
        self.sequences = Some(sequences);
        self
    }

    /// Most tokens of a prompt in a pass; a longer prompt is cut into chunks of this many. Default 512.
    #[must_use]
    pub fn chunk(mut self, rows: u32) -> Self {
        self.chunk = Some(rows);
        self
    }

    /// Bytes of GPU memory that the engine may take. Default: the memory that the adapter reports,
    /// if it reports any.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Storage format of keys and values. Default: f32 with f32 weights, else f16.
    #[must_use]
    pub fn kv_format(mut self, kv: KvFormat) -> Self {
        self.kv = Some(kv);
        self
    }

    /// Precision of activations in products of few rows with quantised weights. Default: float;
    /// int8 for models that were trained with it ([`OpenedModel::trained_for_int8`]).
    #[must_use]
    pub fn activations(mut self, activations: Activations) -> Self {
        self.activations = Some(activations);
        self
    }

    /// Unit that multiplies in products of many rows. Default: lanes for weights in f32, else
    /// matrix units if the device has them.
    #[must_use]
    pub fn multiply(mut self, multiply: Multiply) -> Self {
        self.multiply = Some(multiply);
        self
    }

    /// Tokens that are submitted before the host has read the token they follow, so that the GPU
    /// does not wait for the host. The text is the same; at the end of an answer as many tokens
    /// were computed in vain. Default 1; 0 on a software adapter, which runs on the host's own
    /// cores.
    #[must_use]
    pub fn read_ahead(mut self, tokens: u32) -> Self {
        self.read_ahead = Some(tokens);
        self
    }

    /// Computes each token with the same bits in every pass: alone, beside other answers, in chunks of any length,
    /// behind a cached prefix, and again after its pages were given up; on one device and driver, with the same other
    /// options. Passes then have at most 64 rows: prompts are cut into chunks of 64, at most 64 sequences run at once,
    /// and no pass uses matrix units or `flash_attention`, so prompts take longer. Default: off; then the last bits of
    /// a prompt's tokens depend on its chunks.
    #[must_use]
    pub fn reproducible(mut self, reproducible: bool) -> Self {
        self.reproducible = reproducible;
        self
    }

    /// Quantises plain weights (f32, f16, bf16) while they are loaded.
    #[must_use]
    pub fn weights(mut self, recipe: Recipe) -> Self {
        self.recipe = Some(recipe);
        self
    }

    /// Sets the kernel choices that are otherwise made for the device and the model, for example to
    /// those of another engine. `activations` and `multiply` override them.
    #[must_use]
    pub fn choices(mut self, choices: Choices) -> Self {
        self.choices = Some(choices);
        self
    }

    /// Renders conversations by this template instead of the model's own.
    #[must_use]
    pub fn chat_template(mut self, source: impl Into<String>) -> Self {
        self.chat_template = Some(source.into());
        self
    }

    /// Sets the behaviour after the loss of the device.
    #[must_use]
    pub fn on_device_lost(mut self, behaviour: OnDeviceLost) -> Self {
        self.on_device_lost = behaviour;
        self
    }

    /// Calls `progress` while kernels are compiled and weights are loaded; its `false` cancels the
    /// build.
    #[must_use]
    pub fn on_progress(
        mut self,
        progress: impl FnMut(BuildProgress) -> bool + MaybeSend + 'static,
    ) -> Self {
        self.reporter = Reporter::new(progress);
        self
    }

    /// Checks the files, plans the memory, loads the weights and compiles the kernels.
    ///
    /// # Errors
    /// Any problem of the files, the options or the device. Nothing is uploaded before the files
    /// have been checked and the plan fits.
    pub async fn build(mut self) -> Result<Engine, Error> {
        let model = match (self.model.take(), &self.files) {
            (Some(model), _) => model,
            (None, Some(files)) => OpenedModel::open(files).await?,
            (None, None) => {
                let need = "a directory, files or the demonstration model".to_owned();
                return Err(Error::Option { option: "model", got: "none".to_owned(), need });
            }
        };
        let device = match self.device.take() {
            Some(device) => device,
            None => Device::request(&self.device_options).await?,
        };
        let known = device.adapter().memory;
        let ahead = u32::from(!device.caps().software);
        let read_ahead =
            in_range("read_ahead", self.read_ahead.unwrap_or(ahead), 0, MAX_READ_AHEAD)?;
        let Planned { state, scratch, memory, chunk, attention_rows } =
            self.plan(&model, device.caps(), known)?;
        warn_unknown(&memory, self.memory.or(known));
        // Choices are checked before the weights are loaded: a refusal must not come after
        // gigabytes.
        let choices = Choices { attention_rows, ..self.choose(&model, device.caps())? };
        let OpenedModel { config, checkpoint, tensors, text, ends, recommended, .. } = model;
        let text = match &self.chat_template {
            Some(source) => text.with_chat_template(source)?,
            None => text,
        };
        let all_tokens = match text.tokenizer() {
            Ok(t) => t.token_mask(config.vocab_size),
            Err(_) => all_token_ids(config.vocab_size),
        };
        let size = tensors.size();
        let recipe = self.recipe;
        let loader = Loader {
            config,
            checkpoint,
            tensors,
            recipe,
            choices,
            reproducible: self.reproducible,
            state,
            scratch,
            all_tokens: all_tokens.clone(),
        };
        let runner = loader.runner(&device, self.reporter).await?;
        let scheduler = Scheduler::new(Limits {
            slots: state.n_slots,
            pages: state.n_pages,
            snapshots: state.n_snapshots,
            page: PAGE,
            columns: state.dims.snapshot_columns(),
            chunk,
            chunk_beside: chunk.min(CHUNK_BESIDE),
            scored: runner.inspected_rows() as u32,
            rewind: MAX_REWIND,
        });
        let config = loader.config.clone();
        let loader = match self.on_device_lost {
            OnDeviceLost::Continue => Some(loader),
            OnDeviceLost::Fail => None,
        };
        let core = Core::new(runner, scheduler, loader, (ends, all_tokens), read_ahead);
        let inner = Inner::new(core, config, size, memory, recommended, text)?;
        Ok(Engine { inner: Arc::new(inner) })
    }

    /// The requested choices, else those that suit the device and the model.
    ///
    /// # Errors
    /// [`Error::Option`] for a choice that the device does not have.
    pub(super) fn choose(&self, model: &OpenedModel, caps: &Caps) -> Result<Choices, Error> {
        let mut choices = self.choices.unwrap_or_else(|| {
            let mut own = Choices::by_capability(caps);
            if self.f32_weights(&model.tensors) {
                own.multiply = Multiply::Lanes;
            }
            if model.trained_for_int8() && model.tensors.is_quantised(self.recipe.as_ref()) {
                own.activations = Activations::Int8;
            }
            own
        });
        choices.activations = self.activations.unwrap_or(choices.activations);
        choices.multiply = self.multiply.unwrap_or(choices.multiply);
        if choices.multiply == Multiply::MatrixUnits && !MatmulCoop::available(caps) {
            return Err(Error::Option {
                option: "multiply",
                got: "matrix units".to_owned(),
                need: "a device with cooperative matrices that kernels can use".to_owned(),
            });
        }
        let wrong = |option, got: String, need: &str| {
            Err(Error::Option { option, got, need: need.to_owned() })
        };
        // Scratch memory is planned for at most this many rows.
        let most = Choices::by_capability(caps).matvec_rows;
        let Choices { matvec_rows, attention_rows, .. } = choices;
        for (option, rows) in [("matvec_rows", matvec_rows), ("attention_rows", attention_rows)] {
            in_range(option, rows, 1, most)?;
        }
        if !Reduce::available(caps).contains(&choices.reduce) {
            return wrong("reduce", format!("{:?}", choices.reduce), "one that the device has");
        }
        // Serial kernels do not use matrix units.
        if choices.multiply == Multiply::MatrixUnits && choices.reduce.is_serial() {
            choices.reduce = Reduce::shared_rows(caps);
        }
        if !self.reproducible {
            return Ok(choices);
        }
        if self.multiply == Some(Multiply::MatrixUnits) {
            return wrong("multiply", "matrix units".to_owned(), "lanes, since it is reproducible");
        }
        Ok(choices.reproducible(caps))
    }

    /// The memory plan of `model` on a device with `caps` and `known` bytes of memory.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::ModelTooLarge`].
    pub fn memory_plan(
        &self,
        model: &OpenedModel,
        caps: &Caps,
        known: Option<u64>,
    ) -> Result<MemoryPlan, Error> {
        Ok(self.plan(model, caps, known)?.memory)
    }

    /// The kernel variants that generation with `model` uses on a device with `caps`, each once. `device`
    /// only records plans: it loads no weights and allocates no memory for tensors.
    ///
    /// # Errors
    /// As [`EngineBuilder::build`].
    pub async fn variants(
        &self,
        model: &OpenedModel,
        device: &Device,
        caps: Caps,
    ) -> Result<Vec<Variant>, Error> {
        Ok(self.recording_runner(model, device, caps).await?.variants())
    }

    /// A runner that only records plans, as [`EngineBuilder::variants`] describes.
    pub(super) async fn recording_runner(
        &self,
        model: &OpenedModel,
        device: &Device,
        caps: Caps,
    ) -> Result<Runner, Error> {
        let device = device.for_planning(caps);
        let Planned { state, scratch, attention_rows, .. } = self.plan(model, &caps, None)?;
        let choices = Choices { attention_rows, ..self.choose(model, &caps)? };
        let (config, recipe) = (model.config.clone(), self.recipe.as_ref());
        let (weights, _) =
            make_weights(&device, &config, &model.checkpoint, &model.tensors, recipe).await?;
        let gpu_state = State::new(&device, &state).await?;
        let n_slots = state.n_slots as usize;
        let buffers = Scratch::new(&device, &scratch, n_slots, &[]).await?;
        let rows = scratch.rows as u32;
        Runner::new(device, config, weights, gpu_state, buffers, choices, rows).await
    }

    /// Whether the weights will be stored in f32; such a model is computed in f32 throughout. The
    /// stored type decides, so that a package behaves like its recipe applied while loading.
    fn f32_weights(&self, tensors: &ResolvedTensors) -> bool {
        tensors.get(TensorId::Embedding).is_some_and(|slice| {
            let own = slice.element_type;
            let stored =
                self.recipe.as_ref().map(|r| r.target(TensorId::Embedding, own, slice.cols));
            stored.unwrap_or(own) == ElementType::F32
        })
    }

    /// Computes all sizes and refuses a plan that does not fit.
    fn plan(&self, model: &OpenedModel, caps: &Caps, known: Option<u64>) -> Result<Planned, Error> {
        let config = &model.config;
        let chunk = in_range("chunk", self.chunk.unwrap_or(DEFAULT_CHUNK), 1, 4096)?;
        let own = self.choices.map_or(ATTENTION_ROWS, |choices| choices.attention_rows);
        let (most, chunk, attention_rows) = match self.reproducible {
            true => (REPRODUCIBLE_ROWS, chunk.min(REPRODUCIBLE_ROWS), REPRODUCIBLE_ROWS),
            false => (256, chunk, own),
        };
        let n_slots = in_range("sequences", self.sequences.unwrap_or(1), 1, most)?;
        let own = if self.f32_weights(&model.tensors) { KvFormat::F32 } else { KvFormat::F16 };
        let kv_format = self.kv.unwrap_or(own);
        if !kv_format.takes(config.head_dim) {
            let dims = config.head_dim;
            return Err(Error::Option {
                option: "kv",
                got: kv_format.option().to_owned(),
                need: format!("f16 or f32: blocks of 32 do not fit this model's heads of {dims}"),
            });
        }
        let (tensors, reproducible) = (&model.tensors, self.reproducible);
        let planning =
            Planning { config, tensors, caps, n_slots, chunk, attention_rows, reproducible };
        let context = match self.context_length {
            Some(n) => {
                let n = if n == 0 { planning.models_own() } else { n };
                planning.check_context(n, kv_format)?;
                n
            }
            None => DEFAULT_CONTEXT.min(planning.longest(kv_format)),
        };
        let setup = Setup { context, kv: kv_format, recipe: self.recipe.clone() };
        let Some(have) = self.memory.or(known) else { return Ok(planning.plan(&setup)) };
        if let Some(fitting) = planning.fitting(&setup, have) {
            return Ok(fitting);
        }
        // A shorter context is chosen only if none was requested, and it is shown.
        if self.context_length.is_none()
            && let Some(fitting) = planning.shorter(&setup, have)
        {
            let shorter = fitting.state.context;
            let have = size(have);
            log::warn!("context {shorter} instead of {context}: {have} of GPU memory are allowed");
            return Ok(fitting);
        }
        let memory = planning.least(&setup).memory;
        Err(Error::ModelTooLarge {
            need: memory.total(),
            weights: memory.weights,
            kv: memory.kv,
            other: memory.state + memory.activations,
            context,
            have,
            advice: planning.advice(&setup, have),
        })
    }
}

fn in_range(option: &'static str, value: u32, low: u32, high: u32) -> Result<u32, Error> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    Err(Error::Option { option, got: value.to_string(), need: format!("{low} to {high}") })
}
