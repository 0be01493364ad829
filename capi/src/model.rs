//! A model on a GPU: its options, requests, and saved states.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lfm2_wgpu::api::{ChatRequest, ReplyHead};
use lfm2_wgpu::engine::{BuildProgress, EngineBuilder, LoraInfo, OpenedModel};
use lfm2_wgpu::formats::{FileSource, ModelFiles};
use lfm2_wgpu::gpu::{AdapterChoice, DeviceOptions, LimitsChoice};
use lfm2_wgpu::kernels::{Activations, KvFormat, Multiply};
use lfm2_wgpu::model::lora::LoraAdapter;
use lfm2_wgpu::model::{Recipe, WeightChoice};
use lfm2_wgpu::{Engine, Error};
use pollster::block_on;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::stream::Stream;

/// A model on a GPU.
pub struct Model {
    engine: Engine,
    /// Answers so far, for their names.
    answers: AtomicU64,
}

impl Model {
    /// Loads the model that `options` describe, an object as JSON. `progress` returns whether to continue.
    ///
    /// # Errors
    /// Any problem of the options, the files or the device.
    pub fn load(
        options: &str,
        progress: Option<impl FnMut(BuildProgress) -> bool + Send + 'static>,
    ) -> Result<Self, Error> {
        let mut options = Options::from_json(options)?;
        let path = options.take("model")?;
        let mut builder = options.builder()?;
        let weights = options.weights()?;
        let template: Option<String> = options.take("chat_template")?;
        options.end()?;
        if let Some(progress) = progress {
            builder = builder.on_progress(progress);
        }
        let mut model = block_on(OpenedModel::open(&Arc::new(files(path)?)))?;
        if let Some(source) = template {
            let text = model.text.with_chat_template(&source);
            model.text = text.map_err(|e| refused("chat_template", e.to_string()))?;
        }
        if let Some(weights) = weights {
            if !model.tensors.has_plain_matrices() {
                let need = "no value, since the model is already quantised";
                return Err(wrong("weights", weights.option(), need));
            }
            builder = builder.weights(Recipe::new(weights));
        }
        let engine = block_on(builder.model(model).build()).map_err(|error| match error {
            // The option has another name here.
            Error::Option { option: "sequences", got, need } => wrong("parallel", &got, &need),
            other => other,
        })?;
        Ok(Self { engine, answers: AtomicU64::new(0) })
    }

    /// A description of the model and its device, as JSON.
    pub fn info(&self) -> String {
        let device = self.engine.device();
        let adapter = device.adapter();
        let loras = self.engine.loras();
        let lora =
            |lora: &LoraInfo| json!({ "name": lora.name, "rank": lora.rank, "scale": lora.scale });
        json!({
            "model": self.engine.name(),
            "context": self.engine.context_length(),
            "parameters": self.engine.size().total_parameters,
            "weights": self.engine.weight_format(),
            "memory": self.engine.memory().total(),
            "adapter": {
                "name": adapter.name,
                "backend": adapter.backend,
                "driver": adapter.driver,
                "software": adapter.is_software(),
            },
            "loras": loras.iter().map(lora).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// Begins the answer to a request of the chat API: in pieces if it says `"stream": true`, else whole.
    ///
    /// # Errors
    /// As [`Engine::chat`].
    pub fn chat(&self, request: &str) -> Result<Stream, Error> {
        let request = ChatRequest::from_json(request)?;
        let generation = self.engine.chat(&request)?;
        let whole = (!request.streaming.stream).then(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let number = self.answers.fetch_add(1, Ordering::Relaxed);
            let id = format!("{:x}-{number}", now.as_nanos());
            ReplyHead { id, created: now.as_secs(), model: request.reply_model(&self.engine) }
        });
        Ok(Stream::new(self.engine.clone(), generation, whole))
    }

    /// Loads a LoRA adapter from its folder or file.
    ///
    /// # Errors
    /// [`Error::LoraFile`], and as [`Engine::load_lora`].
    pub fn load_lora(&self, name: &str, path: &str, scale: f32) -> Result<(), Error> {
        let files = ModelFiles::path(path)?;
        let adapter = block_on(LoraAdapter::read(&files, self.engine.config()))?;
        block_on(self.engine.load_lora(name, adapter, scale))
    }

    /// Removes a LoRA adapter.
    ///
    /// # Errors
    /// As [`Engine::unload_lora`].
    pub fn unload_lora(&self, name: &str) -> Result<(), Error> {
        self.engine.unload_lora(name)
    }

    /// Writes the cached state of a request's conversation to a file that appears when it is complete. Returns its
    /// length in tokens: 0, and no file is written, if nothing of it is cached.
    ///
    /// # Errors
    /// As [`ChatRequest::lora`] and [`Engine::save`].
    pub fn save(&self, request: &str, path: &str) -> Result<usize, Error> {
        let request = ChatRequest::from_json(request)?;
        let lora = request.lora(&self.engine)?;
        let tokens = self.engine.encode_chat(&request.conversation)?;
        let failed = |e: &std::io::Error| Error::SavedState {
            file: path.to_owned(),
            problem: format!("cannot write it: {e}"),
        };
        let target = Path::new(path);
        if std::fs::metadata(target).is_ok_and(|there| !there.is_file()) {
            let problem = "exists and is not a regular file; choose another name".to_owned();
            return Err(Error::SavedState { file: path.to_owned(), problem });
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let part = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        let mut part = part.map_err(|e| failed(&e))?;
        let mut write = |bytes: &[u8]| part.write_all(bytes);
        let saved = block_on(self.engine.save(&tokens, lora.as_ref(), path, &mut write))?;
        if saved > 0 {
            part.as_file().sync_all().map_err(|e| failed(&e))?;
            part.persist(target).map_err(|e| failed(&e.error))?;
        }
        Ok(saved)
    }

    /// Reads a file of [`Model::save`] into the prefix cache. Returns its length in tokens.
    ///
    /// # Errors
    /// As [`Engine::restore`].
    pub fn restore(&self, path: &str) -> Result<usize, Error> {
        block_on(self.engine.restore(&FileSource::open(Path::new(path))?))
    }
}

/// Options that have not been read yet, under the names of the command line.
struct Options(Map<String, Value>);

impl Options {
    fn from_json(json: &str) -> Result<Self, Error> {
        let fields = serde_json::from_str(json);
        Ok(Self(fields.map_err(|e| refused("options", format!("not an object as JSON: {e}")))?))
    }

    /// Takes an option's value; null counts as absent.
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let value = self.0.remove(key).unwrap_or_default();
        serde_json::from_value(value).map_err(|e| refused(key, e.to_string()))
    }

    /// Takes an option that is one of `choices`, with their names.
    fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Error> {
        let Some(word) = self.take::<String>(key)? else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == word) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(wrong(key, &word, &names.join(" or ")))
            }
        }
    }

    fn weights(&mut self) -> Result<Option<WeightChoice>, Error> {
        self.choice("weights", &WeightChoice::ALL.map(|weights| (weights.option(), weights)))
    }

    /// The options of the engine and its device.
    fn builder(&mut self) -> Result<EngineBuilder, Error> {
        let limits = [("adapter", LimitsChoice::Adapter), ("default", LimitsChoice::Default)];
        let adapter = self.take("adapter")?.map_or(AdapterChoice::Best, AdapterChoice::Named);
        let mut builder = Engine::builder().gpu_options(DeviceOptions {
            adapter,
            limits: self.choice("limits", &limits)?.unwrap_or_default(),
            pipeline_cache: self.take("pipeline_cache")?,
        });
        if let Some(positions) = self.take("context")? {
            builder = builder.context_length(positions);
        }
        if let Some(sequences) = self.take("parallel")? {
            builder = builder.sequences(sequences);
        }
        if let Some(bytes) = self.take("memory")? {
            builder = builder.memory(bytes);
        }
        if let Some(kv) = self.choice("kv", &KvFormat::ALL.map(|kv| (kv.option(), kv)))? {
            builder = builder.kv_format(kv);
        }
        let activations = [("float", Activations::Float), ("int8", Activations::Int8)];
        if let Some(activations) = self.choice("activations", &activations)? {
            builder = builder.activations(activations);
        }
        let units = [("lanes", Multiply::Lanes), ("matrix-units", Multiply::MatrixUnits)];
        if let Some(unit) = self.choice("multiply", &units)? {
            builder = builder.multiply(unit);
        }
        if let Some(reproducible) = self.take("reproducible")? {
            builder = builder.reproducible(reproducible);
        }
        Ok(builder)
    }

    fn end(self) -> Result<(), Error> {
        match self.0.into_iter().next() {
            Some((key, _)) => Err(refused(&key, "is no option; docs/c.md lists them".to_owned())),
            None => Ok(()),
        }
    }
}

/// The files at a path, by default those of the demonstration model.
fn files(path: Option<String>) -> Result<ModelFiles, Error> {
    match path {
        Some(path) => Ok(ModelFiles::path(path)?),
        #[cfg(feature = "demo-model")]
        None => Ok(lfm2_wgpu::demo::files()),
        #[cfg(not(feature = "demo-model"))]
        None => Err(wrong("model", "none", "a path: this build has no built-in model")),
    }
}

fn refused(field: &str, problem: String) -> Error {
    Error::Request { field: field.to_owned(), problem }
}

fn wrong(option: &'static str, got: &str, need: &str) -> Error {
    Error::Option { option, got: got.to_owned(), need: need.to_owned() }
}
