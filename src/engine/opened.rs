//! A model's files, read and checked before anything is on a GPU.

use std::sync::Arc;

use super::end_tokens::end_tokens;
use super::recommended::recommendation;
use super::{ModelText, Recommendation};
use crate::error::Error;
use crate::formats::gguf::Value;
use crate::formats::{
    ByteSource, Checkpoint, Manifest, ModelFiles, ModelKind, names_of, read_small,
};
use crate::model::config::MAX_CONFIG_BYTES;
use crate::model::{
    GenerationConfig, ModelConfig, ResolvedTensors, WeightChoice, synthetic_model, validate,
};

/// Default context length: the model card's.
pub(super) const DEFAULT_CONTEXT: u32 = 32_768;
/// Keys of a GGUF file that may hold the model's name.
const NAME_KEYS: [&str; 4] =
    ["general.name", "general.basename", "general.finetune", "general.base_model.0.name"];

/// A model's files, read and checked, except for the weights themselves.
pub struct OpenedModel {
    /// The configuration.
    pub config: ModelConfig,
    /// Sampling and token ids by generation_config.json or a GGUF file's keys.
    pub generation: GenerationConfig,
    /// Tokens that end an answer, by all files and the template.
    pub ends: Vec<u32>,
    /// The tensors' files.
    pub checkpoint: Checkpoint,
    /// The place of each tensor of the model in them.
    pub tensors: ResolvedTensors,
    /// Tokenizer and chat template.
    pub text: ModelText,
    /// The sampling that the model's authors recommend.
    pub recommended: Recommendation,
}

impl OpenedModel {
    /// Whether the weights were trained with activations of 8 bits in blocks of 32, which Liquid AI
    /// publishes as QAD (quantisation-aware distillation). Only the name of the file or directory
    /// says so, e.g. `LFM2.5-1.2B-Instruct-QAD-Q4_0.gguf`.
    #[must_use]
    pub fn trained_for_int8(&self) -> bool {
        let name = self.text.place().trim_end_matches('/').rsplit(['/', '\\']).next();
        let mut words = name.unwrap_or_default().split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word.eq_ignore_ascii_case("qad"))
    }

    /// Reads and checks everything of a model except the weights themselves. The contents of the
    /// files decide the kind of model ([`ModelFiles::kind`]).
    ///
    /// # Errors
    /// A missing, invalid or contradictory file or field.
    pub async fn open(files: &Arc<ModelFiles>) -> Result<Self, Error> {
        match files.kind().await? {
            ModelKind::Hub => Self::open_hub(files).await,
            ModelKind::Gguf { source, name } => Self::open_gguf(files, &name, source).await,
        }
    }

    async fn open_gguf(
        files: &ModelFiles,
        name: &str,
        source: Arc<dyn ByteSource>,
    ) -> Result<Self, Error> {
        let (checkpoint, metadata) = Checkpoint::open_gguf(files, name, source).await?;
        let config = ModelConfig::from_gguf(&metadata, &checkpoint)?;
        let generation = GenerationConfig::from_gguf(&metadata, config.vocab_size)?;
        let tensors = validate(&config, &checkpoint).await?;
        let text = ModelText::from_gguf(metadata.file(), &metadata, config.vocab_size)?;
        let mut names = [names_of(text.place()), names_of(files.place())].concat();
        names.extend(NAME_KEYS.iter().filter_map(|key| match metadata.get(key) {
            Some(Value::Text(name)) => Some(name.to_owned()),
            _ => None,
        }));
        Ok(Self::new(config, generation, checkpoint, tensors, text, &names))
    }

    /// Opens a checkpoint directory. A package is refused if one of its files is missing or has
    /// another length.
    async fn open_hub(files: &Arc<ModelFiles>) -> Result<Self, Error> {
        if let Some(manifest) = Manifest::open(files).await? {
            manifest.check_sizes(files)?;
        }
        let source = files.require("config.json")?;
        let bytes = read_small(&*source, MAX_CONFIG_BYTES).await?;
        let config = ModelConfig::from_json(source.name(), &bytes)?;
        let generation = match files.open("generation_config.json")? {
            Some(source) => {
                let bytes = read_small(&*source, MAX_CONFIG_BYTES).await?;
                GenerationConfig::from_json(source.name(), &bytes, config.vocab_size)?
            }
            None => GenerationConfig::default(),
        };
        let text = ModelText::open(files, config.vocab_size).await?;
        let checkpoint = Checkpoint::open(files.clone()).await?;
        let tensors = validate(&config, &checkpoint).await?;
        let names = names_of(text.place());
        Ok(Self::new(config, generation, checkpoint, tensors, text, &names))
    }

    /// A model of these parts. Unites the end tokens of all files and looks up the recommended
    /// sampling; `names` are texts that may contain the model's name.
    #[must_use]
    pub fn new(
        config: ModelConfig,
        generation: GenerationConfig,
        checkpoint: Checkpoint,
        tensors: ResolvedTensors,
        text: ModelText,
        names: &[String],
    ) -> Self {
        let named = [&config.eos_token_ids[..], &generation.eos_token_ids];
        let ends = end_tokens(&named, &text);
        let recommended = recommendation(&config, &generation, &text, names);
        Self { config, generation, checkpoint, tensors, text, ends, recommended }
    }

    /// A model of published sizes with seeded random weights and without a tokenizer, for
    /// measurements. `None` for an unknown name.
    ///
    /// # Errors
    /// A defect in the table of published models.
    pub async fn of_shape(name: &str, weights: WeightChoice) -> Option<Result<Self, Error>> {
        let (config, checkpoint) = match synthetic_model(name, weights)? {
            Ok(made) => made,
            Err(error) => return Some(Err(error.into())),
        };
        let text = ModelText::none(name);
        Some(match validate(&config, &checkpoint).await {
            Ok(tensors) => {
                let generation = GenerationConfig::default();
                let names = [name.to_owned()];
                Ok(Self::new(config, generation, checkpoint, tensors, text, &names))
            }
            Err(error) => Err(error.into()),
        })
    }

    /// Refuses a prompt that fits no engine of this model, whatever the device's memory, before the
    /// weights are read. `context`: the context length to be requested; 0 is the model's own.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], or [`Error::ContextFull`] if not even one token of an answer fits.
    pub fn check_prompt(&self, prompt: usize, context: Option<u32>) -> Result<(), Error> {
        let most = self.config.max_position_embeddings;
        let context = match context {
            Some(0) => most,
            other => (other.unwrap_or(DEFAULT_CONTEXT) as usize).min(most),
        };
        match prompt {
            0 => Err(Error::EmptyPrompt),
            n if n >= context => Err(Error::ContextFull { prompt: n, context, most }),
            _ => Ok(()),
        }
    }
}
