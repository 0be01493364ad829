//! The engine's functions for JavaScript. This crate only converts values: TypeScript (`web/src`) is responsible for
//! network, files and the API, the engine for the model.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::arc_with_non_send_sync, reason = "a browser's handles stay in their thread")]

mod host;
mod saved;
mod source;
mod structure;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use host::Gpu;
use js_sys::{Array, Function, Promise, Reflect};
use lfm2_wgpu::api::{ChatRequest, summary};
use lfm2_wgpu::engine::{
    BuildProgress, Delta, EngineBuilder, Generation, LoraInfo, OnDeviceLost, OpenedModel,
};
use lfm2_wgpu::formats::ModelFiles;
use lfm2_wgpu::gpu::GpuError;
use lfm2_wgpu::kernels::Activations;
use lfm2_wgpu::model::MemoryPlan;
use lfm2_wgpu::model::lora::LoraAdapter;
use lfm2_wgpu::{Engine, Error, SamplingOptions};
use serde_json::json;
use sha2::Digest;
use structure::{StructureLibrary, StructureModule};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Prints a panic to the console before it ends the module.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        let text = JsValue::from_str(&panic.to_string());
        let console = Reflect::get(&js_sys::global(), &"console".into()).unwrap_or_default();
        if let Ok(error) = Reflect::get(&console, &"error".into())
            && let Some(error) = error.dyn_ref::<Function>()
        {
            let _ = error.call1(&console, &text);
        }
    }));
}

/// A model on the browser's GPU.
#[wasm_bindgen]
pub struct WebEngine {
    engine: Engine,
    /// Whether the device belongs to the engine, and not to the page.
    own: bool,
}

#[wasm_bindgen]
impl WebEngine {
    /// Loads the model in `files`: `{name, size, read(offset, length): Promise<Uint8Array>}`, with its own chat
    /// template or `chat_template`. `on_progress` gets a phase, `compile` (in kernels) or `upload` (in bytes of
    /// the weights), the amount done and the total, and returns whether to continue. `own`: whether the device of
    /// `gpu` belongs to the engine, and not to the page.
    #[allow(clippy::too_many_arguments, reason = "JavaScript calls it")]
    pub async fn load(
        place: String,
        files: Array,
        context_length: Option<u32>,
        parallel: Option<u32>,
        chat_template: Option<String>,
        activations: Option<String>,
        on_progress: Function,
        gpu: Gpu,
        own: bool,
    ) -> Result<WebEngine, JsValue> {
        let files = ModelFiles::from_sources(&place, sources(&files)?);
        let builder = Engine::builder().files(files);
        let builder = sized(builder, context_length, parallel);
        // `recover` of the package loads the model again, with its progress.
        let mut builder = builder.on_device_lost(OnDeviceLost::Fail);
        if let Some(source) = chat_template {
            builder = builder.chat_template(source);
        }
        if let Some(word) = activations {
            builder = builder.activations(activations_of(&word)?);
        }
        let builder = builder.on_progress(move |progress| {
            let (phase, done, total) = match progress {
                BuildProgress::Kernels { done, total } => ("compile", done as f64, total as f64),
                BuildProgress::Weights { loaded, total } => ("upload", loaded as f64, total as f64),
                // Unknown phases do not stop it.
                _ => return true,
            };
            let told =
                on_progress.call3(&JsValue::NULL, &phase.into(), &done.into(), &total.into());
            told.is_ok_and(|goes_on| goes_on.is_truthy())
        });
        let device = if own { gpu.own().await? } else { gpu.pages().await? };
        let wgpu_device = device.wgpu_device().clone();
        let built = builder.gpu(device).build().await;
        // Otherwise the uploaded data would stay until the browser's garbage collection.
        let engine = built
            .inspect_err(|_| {
                if own {
                    wgpu_device.destroy()
                }
            })
            .map_err(error)?;
        Ok(Self { engine, own })
    }

    /// Runs every kernel once.
    #[wasm_bindgen(js_name = warmUp)]
    pub async fn warm_up(&self) -> Result<(), JsValue> {
        self.engine.warm_up().await.map_err(error)
    }

    /// A description of the loaded model, as JSON.
    pub fn info(&self) -> String {
        let device = self.engine.device();
        let adapter = device.adapter();
        json!({
            "contextLength": self.engine.context_length(),
            "parameters": self.engine.size().total_parameters,
            "weightFormat": self.engine.weight_format(),
            "features": adapter.features,
            "choices": self.engine.choices(),
            "memory": memory_json(self.engine.memory()),
            "sampling": sampling_json(&self.engine.recommended_sampling()),
        })
        .to_string()
    }

    /// GPU statistics so far, as JSON.
    pub fn counters(&self) -> String {
        let counters = self.engine.device().counters();
        json!({
            "dispatches": counters.dispatches,
            "submissions": counters.submissions,
            "readbackBytes": counters.readback_bytes,
            "allocatedBytes": counters.allocated_bytes,
            "peakAllocatedBytes": counters.peak_allocated_bytes,
        })
        .to_string()
    }

    /// Whether a request of the chat API waits for the library that parses grammars: it needs it, and the engine has none.
    #[wasm_bindgen(js_name = needsStructure)]
    pub fn needs_structure(&self, request: &str) -> Result<bool, JsValue> {
        if self.engine.has_grammar_library() {
            return Ok(false);
        }
        Ok(ChatRequest::from_json(request).map_err(error)?.needs_grammar())
    }

    /// Gives the engine the library that parses grammars.
    #[wasm_bindgen(js_name = useStructure)]
    pub fn use_structure(&self, module: StructureModule) {
        self.engine.use_grammar_library(Arc::new(StructureLibrary::new(module)));
    }

    /// Throws if a request of the chat API is invalid.
    pub fn check(&self, request: &str) -> Result<(), JsValue> {
        let request = ChatRequest::from_json(request).map_err(error)?;
        request.check_single(&self.engine).map_err(error)
    }

    /// Answers a request of the chat API, beside other requests. `on_piece` gets the settled output of each step as
    /// JSON, often an empty object, and returns whether to continue, or a promise of that. The answer also ends when
    /// `stop` resolves, while it waits for its turn or for a step. The result is the summary as JSON.
    pub async fn chat(
        &self,
        request: String,
        on_piece: Function,
        stop: Promise,
    ) -> Result<String, JsValue> {
        let request = ChatRequest::from_json(&request).map_err(error)?;
        answer(&self.engine, &request, &on_piece, stop).await
    }

    /// Saves the state of the longest beginning of a request's prompt that is cached. Returns its length in tokens, 0
    /// if nothing is cached and nothing was written. `write` gets the file's bytes in pieces, and returns a promise.
    pub async fn save(
        &self,
        request: String,
        file: String,
        write: Function,
    ) -> Result<usize, JsValue> {
        let request = ChatRequest::from_json(&request).map_err(error)?;
        let tokens = self.engine.encode_chat(&request.conversation).map_err(error)?;
        let lora = request.lora(&self.engine).map_err(error)?;
        saved::save(&self.engine, (&tokens, lora.as_ref()), &file, &write).await
    }

    /// Reads a saved state into the prefix cache, from a file as in `load`. Returns its length in tokens.
    pub async fn restore(&self, file: JsValue) -> Result<usize, JsValue> {
        let (_, source) = source::open(file)?;
        self.engine.restore(&*source).await.map_err(error)
    }

    /// Loads a LoRA adapter from files as in `load`.
    #[wasm_bindgen(js_name = loadLora)]
    pub async fn load_lora(&self, name: String, files: Array, scale: f32) -> Result<(), JsValue> {
        let files = ModelFiles::from_sources(&name, sources(&files)?);
        let adapter = LoraAdapter::read(&files, self.engine.config()).await.map_err(error)?;
        self.engine.load_lora(&name, adapter, scale).await.map_err(error)
    }

    /// Removes a LoRA adapter.
    #[wasm_bindgen(js_name = unloadLora)]
    pub fn unload_lora(&self, name: &str) -> Result<(), JsValue> {
        self.engine.unload_lora(name).map_err(error)
    }

    /// The loaded LoRA adapters as JSON.
    pub fn loras(&self) -> String {
        let info =
            |lora: &LoraInfo| json!({ "name": lora.name, "rank": lora.rank, "scale": lora.scale });
        let all: Vec<_> = self.engine.loras().iter().map(info).collect();
        json!(all).to_string()
    }

    /// Destroys the device, which frees its GPU memory at once, unless the device is the page's.
    pub fn destroy(&self) {
        if self.own {
            self.engine.device().wgpu_device().destroy();
        }
    }
}

/// The memory of a model on the browser's GPU, as JSON, or the reason why it cannot run. Reads all of its files
/// except the weights.
#[wasm_bindgen]
pub async fn inspect(
    place: String,
    files: Array,
    context_length: Option<u32>,
    parallel: Option<u32>,
    gpu: host::Gpu,
) -> Result<String, JsValue> {
    let sources = sources(&files)?;
    let files = Arc::new(ModelFiles::from_sources(&place, sources));
    let model = OpenedModel::open(&files).await.map_err(error)?;
    let builder = sized(Engine::builder(), context_length, parallel);
    let adapters = gpu.adapters().await;
    let adapter = adapters.first().ok_or_else(|| {
        error(GpuError::NoAdapter { reason: "the browser provides none".to_owned() })
    })?;
    let memory = builder.memory_plan(&model, &adapter.caps, adapter.memory).map_err(error)?;
    Ok(json!({
        "contextLength": memory.context,
        "parameters": model.tensors.size().total_parameters,
        "memory": memory_json(&memory),
    })
    .to_string())
}

/// An incremental SHA-256.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes in hexadecimal. The object cannot be used afterwards.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}

fn sources(files: &Array) -> Result<Vec<source::Named>, JsValue> {
    files.iter().map(source::open).collect()
}

fn activations_of(word: &str) -> Result<Activations, JsValue> {
    serde_json::from_value(json!(word)).map_err(|_| {
        let (got, need) = (word.to_owned(), "float or int8".to_owned());
        error(Error::Option { option: "activations", got, need })
    })
}

fn sized(
    mut builder: EngineBuilder,
    context_length: Option<u32>,
    parallel: Option<u32>,
) -> EngineBuilder {
    if let Some(positions) = context_length {
        builder = builder.context_length(positions);
    }
    if let Some(sequences) = parallel {
        builder = builder.sequences(sequences);
    }
    builder
}

fn memory_json(memory: &MemoryPlan) -> serde_json::Value {
    json!({
        "weights": memory.weights,
        "keysAndValues": memory.kv,
        "other": memory.state + memory.activations,
        "total": memory.total(),
    })
}

/// Sampling values with the names of the chat API.
fn sampling_json(sampling: &SamplingOptions) -> serde_json::Value {
    // The shortest decimal form of an f32, not of the nearest f64: 0.3, not 0.30000001192092896.
    let plain = |value: f32| value.to_string().parse::<f64>().unwrap_or(f64::from(value));
    json!({
        "temperature": plain(sampling.temperature),
        "top_p": plain(sampling.top_p),
        "top_k": sampling.top_k,
        "min_p": plain(sampling.min_p),
        "repetition_penalty": plain(sampling.repetition_penalty),
        "presence_penalty": plain(sampling.presence_penalty),
        "frequency_penalty": plain(sampling.frequency_penalty),
    })
}

async fn answer(
    engine: &Engine,
    request: &ChatRequest,
    on_piece: &Function,
    stop: Promise,
) -> Result<String, JsValue> {
    let mut generation = engine.chat(request).map_err(error)?;
    let mut stop = JsFuture::from(stop);
    while let Some(delta) = next(&mut generation, &mut stop).await {
        let piece = engine.piece(&delta.map_err(error)?).to_string();
        let goes_on = Promise::resolve(&on_piece.call1(&JsValue::NULL, &piece.into())?);
        if !JsFuture::from(goes_on).await?.is_truthy() {
            break;
        }
    }
    Ok(summary(generation.finish_reason(), &generation.timings()).to_string())
}

/// The next step of an answer; `None` at its end, or if `stop` settles first.
async fn next(generation: &mut Generation, stop: &mut JsFuture) -> Option<Result<Delta, Error>> {
    let mut next = pin!(generation.next());
    poll_fn(|context| match Pin::new(&mut *stop).poll(context) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => next.as_mut().poll(context),
    })
    .await
}

/// Converts an error to a JavaScript `Error` with the engine's `code`.
fn error(e: impl Into<Error>) -> JsValue {
    let mut e = e.into();
    // Two options have other names here, and that of the format of keys and values does not exist.
    if let Error::Option { option, need, .. } = &mut e {
        *option = match *option {
            "sequences" => "parallel",
            "context" => "contextLength",
            other => other,
        };
        if let Some(end) = need.find(", or --kv") {
            need.truncate(end);
        }
    }
    let thrown = js_sys::Error::new(&e.to_string());
    // This fails only for frozen objects.
    let _ = Reflect::set(&thrown, &"code".into(), &e.code().into());
    thrown.into()
}
