//! Loading: from options to an engine, with progress.

use std::sync::Arc;

use clap::builder::PossibleValuesParser;

use super::error::CliError;
use super::input::read_text;
use super::interrupt::{self, Meaning};
use super::options::{ActivationsChoice, Common, MultiplyChoice, Weights};
use super::progress::Steps;
use super::stats::model_line;
use super::{doctor, hub, loras, selftest};
use crate::engine::{Engine, EngineBuilder, ModelText, OpenedModel};
use crate::formats::ModelFiles;
use crate::gpu::Device;

/// The model's files.
pub fn files(common: &Common) -> Result<ModelFiles, CliError> {
    match &common.model {
        Some(model) => {
            if let Some(advice) = hub::meant_for_the_hub(model) {
                return Err(advice);
            }
            doctor::before_download(model, common);
            Ok(ModelFiles::path(hub::resolve(model, common, hub::Kind::Model)?)?)
        }
        #[cfg(feature = "demo-model")]
        None => Ok(crate::demo::files()),
        #[cfg(not(feature = "demo-model"))]
        None => Err(CliError::User(
            "--model: this build has no built-in model, need a checkpoint directory or a GGUF file"
                .to_owned(),
        )),
    }
}

/// Reads and checks the model's files, except the weights.
pub fn open(common: &Common) -> Result<OpenedModel, CliError> {
    let files = Arc::new(files(common)?);
    let steps = Steps::new(common, "reading the model's files");
    let mut model = pollster::block_on(OpenedModel::open(&files))?;
    drop(steps);
    model.text = with_template(model.text, common)?;
    if common.weights.is_some() && !model.tensors.has_plain_matrices() {
        return Err(CliError::User(format!(
            "--weights: {} is already quantised; leave the option out",
            model.text.place()
        )));
    }
    Ok(model)
}

/// Applies `--chat-template`, if given.
pub fn with_template(text: ModelText, common: &Common) -> Result<ModelText, CliError> {
    let Some(path) = &common.chat_template else { return Ok(text) };
    text.with_chat_template(&read_text(path)?)
        .map_err(|e| CliError::User(format!("--chat-template {}: {e}", path.display())))
}

/// Like [`open`], or a published shape with random weights in `--weights`, by default q4.
pub fn open_or_shape(shape: Option<&str>, common: &Common) -> Result<OpenedModel, CliError> {
    let Some(shape) = shape else { return open(common) };
    if common.model.is_some() {
        return Err(CliError::User("--shape, --model: only one is allowed".to_owned()));
    }
    let weights = common.weights.unwrap_or(Weights::Q4).choice();
    let model = pollster::block_on(OpenedModel::of_shape(shape, weights));
    Ok(model.ok_or_else(|| CliError::User(format!("--shape {shape}: unknown")))??)
}

/// Names of shapes, for the parser.
pub fn shape_names() -> PossibleValuesParser {
    PossibleValuesParser::new(crate::model::shape_names())
}

/// Loads an opened model, with more options on the builder, and prints a line about it.
pub fn engine_of(
    model: OpenedModel,
    common: &Common,
    more: impl FnOnce(EngineBuilder) -> EngineBuilder,
) -> Result<Engine, CliError> {
    engine_with_note(model, common, more, "")
}

/// Like [`engine_of`], with `note` at the end of the line about the model.
pub fn engine_with_note(
    model: OpenedModel,
    common: &Common,
    more: impl FnOnce(EngineBuilder) -> EngineBuilder,
    note: &str,
) -> Result<Engine, CliError> {
    // Before the GPU is opened: a wrong file is told at once.
    let adapters = loras::read(common, &model.text.name(), &model.config)?;
    let steps = Steps::new(common, "opening the GPU");
    // Nothing needs a careful stop yet.
    interrupt::means(Meaning::End);
    let device = pollster::block_on(Device::request(&common.gpu()));
    let device = device.map_err(|e| loras::meant_a_file(common.adapter.as_ref(), e.into()))?;
    // Before the weights: an adapter that computes wrongly fails without loading gigabytes.
    if !common.skip_selftest {
        let used = selftest::Used {
            int8: match common.activations {
                Some(activations) => activations == ActivationsChoice::Int8,
                None => model.trained_for_int8(),
            },
            matrix_units: common.multiply != Some(MultiplyChoice::Lanes),
        };
        selftest::before_first_answer(&device, &steps, used)?;
    }
    steps.begin("loading");
    let mut shown = steps.building();
    let mut builder = Engine::builder().model(model).gpu(device).on_progress(move |p| {
        shown(p);
        true
    });
    builder = common.apply(builder);
    let engine = pollster::block_on(more(builder).build());
    let engine = engine.map_err(CliError::from).and_then(|engine| {
        if !adapters.is_empty() {
            steps.begin("loading LoRA adapters");
        }
        loras::load(&engine, adapters).map(|()| engine)
    });
    drop(steps);
    interrupt::means(Meaning::StopThenEnd);
    let engine = engine?;
    if !common.quiet {
        let device = engine.device();
        let adapter = device.adapter();
        if adapter.is_software() {
            eprintln!(
                "warning: {} is a software adapter: the model runs on the CPU's cores",
                adapter.name
            );
        }
        eprintln!("{}{note}", model_line(&engine, common.memory.or(adapter.memory)));
        if let Some(line) = loras::line(&engine) {
            eprintln!("{line}");
        }
    }
    Ok(engine)
}
