//! Options that several commands share. Each can be set by an environment variable `LFM2_*`.

use std::path::PathBuf;

use super::caches::cache_dir;
use super::error::CliError;
use super::lora_scale::{self, Scale};
use crate::engine::{EngineBuilder, GenerateOptions, SamplingOptions};
use crate::gpu::{AdapterChoice, DeviceOptions, LimitsChoice};
use crate::kernels::{Activations, KvFormat, Multiply};
use crate::model::{Recipe, WeightChoice};
use clap::{ArgAction, Args, ValueEnum};

/// Options of every command, those of the engine included.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// Model: a directory, a GGUF file or owner/repo[:QUANT][@REVISION] on the Hugging Face hub. Default: the
    /// built-in demonstration model
    #[arg(short, long, global = true, env = "LFM2_MODEL", value_name = "PATH|NAME")]
    pub model: Option<PathBuf>,
    /// Context length in tokens; 0 is the model's maximum. Default: 32768, or less if the model or the
    /// memory allows less
    #[arg(
        short,
        long,
        visible_alias = "ctx-size",
        global = true,
        env = "LFM2_CONTEXT",
        allow_negative_numbers = true,
        value_name = "TOKENS"
    )]
    pub context: Option<u32>,
    /// GPU memory that the model may use, e.g. 6G or 800M
    #[arg(long, global = true, env = "LFM2_MEMORY", allow_negative_numbers = true, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// Store the weights of an unquantised checkpoint in fewer bits: `q4` (4 bits in blocks of 32, the
    /// embedding and attention in 8 bits), `q8` (8 bits in blocks of 32) or `f16`. Default: unchanged
    #[arg(long, global = true, env = "LFM2_WEIGHTS", value_enum, value_name = "FORMAT")]
    pub weights: Option<Weights>,
    /// Format of the KV cache: `f32`, `f16` or `q8` (8 bits in blocks of 32). Default: f32 with f32
    /// weights, else f16
    #[arg(long, global = true, env = "LFM2_KV", value_enum, value_name = "FORMAT")]
    pub kv: Option<Kv>,
    /// GPU to use: an index or part of a name from `lfm2 info`
    #[arg(long, global = true, env = "LFM2_ADAPTER", value_name = "NAME|INDEX")]
    pub adapter: Option<String>,
    /// GPU limits and features: `adapter` (all of the GPU's) or `default` (WebGPU's, as in every
    /// browser)
    #[arg(long, global = true, env = "LFM2_LIMITS", value_enum, default_value_t = Limits::Adapter)]
    pub limits: Limits,
    /// Precision of activations beside quantised weights: `float` or `int8`. Default: int8 for models
    /// trained for it (QAD), else float
    #[arg(long, global = true, env = "LFM2_ACTIVATIONS", value_enum, value_name = "PRECISION")]
    pub activations: Option<ActivationsChoice>,
    /// Arithmetic for prompts: `lanes` (32-bit floats) or `matrix-units` (tensor cores, inputs rounded to
    /// 16-bit floats). Default: lanes with f32 weights, else matrix-units if the GPU has them
    #[arg(long, global = true, env = "LFM2_MULTIPLY", value_enum, value_name = "UNIT")]
    pub multiply: Option<MultiplyChoice>,
    /// Give an answer the same bits beside any other answers. Prompts take longer, and at most 64
    /// answers run at once
    #[arg(long, global = true, env = "LFM2_REPRODUCIBLE")]
    pub reproducible: bool,
    /// File with a Jinja chat template, used instead of the model's own
    #[arg(long, global = true, env = "LFM2_CHAT_TEMPLATE", value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// LoRA adapter, a path or owner/repo on the hub; may be repeated. Answers use the first one; with
    /// `serve`, each request names one
    #[arg(long, global = true, env = "LFM2_LORA", value_name = "[NAME=]PATH|REPO")]
    pub lora: Vec<PathBuf>,
    /// Scale of one LoRA adapter or of all; may be repeated. Default: 1
    #[arg(long, global = true, env = "LFM2_LORA_SCALE", value_name = "[NAME=]X", allow_negative_numbers = true, value_parser = lora_scale::scale)]
    pub lora_scale: Vec<Scale>,
    /// Answer even if the GPU's self-test has failed or has not run
    #[arg(long, global = true, env = "LFM2_SKIP_SELFTEST")]
    pub skip_selftest: bool,
    /// Print only the answer and errors
    #[arg(short, long, global = true, env = "LFM2_QUIET", conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log more to stderr; -vv also logs details of the engine and the driver
    #[arg(short, long, global = true, action = ArgAction::Count, env = "LFM2_VERBOSE")]
    pub verbose: u8,
}

/// `--activations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ActivationsChoice {
    /// 32-bit floats
    Float,
    /// Rounded to 8 bits in blocks of 32, exact integer products
    Int8,
}

impl ActivationsChoice {
    /// The library's type.
    pub fn choice(self) -> Activations {
        match self {
            Self::Float => Activations::Float,
            Self::Int8 => Activations::Int8,
        }
    }
}

/// `--multiply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MultiplyChoice {
    /// Ordinary arithmetic in 32-bit floats
    Lanes,
    /// The GPU's matrix units, inputs rounded to 16-bit floats
    MatrixUnits,
}

impl MultiplyChoice {
    /// The library's type.
    pub fn choice(self) -> Multiply {
        match self {
            Self::Lanes => Multiply::Lanes,
            Self::MatrixUnits => Multiply::MatrixUnits,
        }
    }
}

/// `--weights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Weights {
    /// 4 bits in blocks of 32, the embedding and attention in 8
    Q4,
    /// 8 bits in blocks of 32
    Q8,
    /// Half precision
    F16,
}

impl Weights {
    /// The library's type.
    pub fn choice(self) -> WeightChoice {
        match self {
            Self::Q4 => WeightChoice::Q4,
            Self::Q8 => WeightChoice::Q8,
            Self::F16 => WeightChoice::F16,
        }
    }
}

/// `--kv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kv {
    /// Full precision
    F32,
    /// Half precision
    F16,
    /// 8 bits in blocks of 32
    Q8,
}

impl Kv {
    /// The library's type.
    pub fn format(self) -> KvFormat {
        match self {
            Self::F32 => KvFormat::F32,
            Self::F16 => KvFormat::F16,
            Self::Q8 => KvFormat::Q8,
        }
    }
}

/// `--limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Limits {
    /// All that the GPU has
    Adapter,
    /// WebGPU's default limits and no optional feature
    Default,
}

/// Options of commands that sample tokens. Defaults are the model's recommendation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    /// Maximum length of an answer in tokens. Default: -1, up to the end of the context
    #[arg(
        short = 'n',
        long,
        visible_alias = "predict",
        aliases = ["n-predict", "num-predict", "max-new-tokens"],
        env = "LFM2_MAX_TOKENS",
        allow_negative_numbers = true,
        value_name = "N",
        value_parser = or_minus_one::<usize>
    )]
    max_tokens: Option<OrMinusOne<usize>>,
    /// Randomness: 0 always picks the most likely token
    #[arg(
        long,
        visible_alias = "temp",
        env = "LFM2_TEMPERATURE",
        value_name = "X",
        allow_negative_numbers = true
    )]
    pub temperature: Option<f32>,
    /// Sample from the K most likely tokens; 0 and -1 turn it off
    #[arg(long, env = "LFM2_TOP_K", allow_negative_numbers = true, value_name = "K", value_parser = or_minus_one::<u32>)]
    top_k: Option<OrMinusOne<u32>>,
    /// Sample from the most likely tokens with a total probability of P; 1 turns it off
    #[arg(long, env = "LFM2_TOP_P", value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f32>,
    /// Sample from tokens with at least P times the highest probability; 0 turns it off
    #[arg(long, env = "LFM2_MIN_P", value_name = "P", allow_negative_numbers = true)]
    pub min_p: Option<f32>,
    /// Penalty on tokens in the context; 1 turns it off. Default at temperature 0: 1
    #[arg(
        long,
        visible_alias = "repeat-penalty",
        env = "LFM2_REPETITION_PENALTY",
        value_name = "X",
        allow_negative_numbers = true
    )]
    pub repetition_penalty: Option<f32>,
    /// Penalty on tokens already generated; 0 turns it off
    #[arg(long, env = "LFM2_PRESENCE_PENALTY", value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Penalty on each occurrence of a generated token; 0 turns it off
    #[arg(long, env = "LFM2_FREQUENCY_PENALTY", value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// Random seed. The same seed repeats an answer on the same GPU, driver and version. Default: -1, a
    /// new seed for each answer, shown with -v
    #[arg(short, long, env = "LFM2_SEED", allow_negative_numbers = true, value_name = "SEED", value_parser = or_minus_one::<u64>)]
    seed: Option<OrMinusOne<u64>>,
    /// Stop string: ends the answer when it occurs; may be repeated
    #[arg(long, alias = "reverse-prompt", env = "LFM2_STOP", value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl Common {
    /// Format of the KV cache in commands that measure: f32 by default.
    pub fn kv_or_f32(&self) -> KvFormat {
        self.kv.map_or(KvFormat::F32, Kv::format)
    }

    /// Applies these options to a builder.
    pub fn apply(&self, mut builder: EngineBuilder) -> EngineBuilder {
        if let Some(context) = self.context {
            builder = builder.context_length(context);
        }
        if let Some(weights) = self.weights {
            builder = builder.weights(Recipe::new(weights.choice()));
        }
        if let Some(kv) = self.kv {
            builder = builder.kv_format(kv.format());
        }
        if let Some(memory) = self.memory {
            builder = builder.memory(memory);
        }
        if let Some(activations) = self.activations {
            builder = builder.activations(activations.choice());
        }
        if let Some(multiply) = self.multiply {
            builder = builder.multiply(multiply.choice());
        }
        builder.reproducible(self.reproducible)
    }

    /// The device to request.
    pub fn gpu(&self) -> DeviceOptions {
        DeviceOptions {
            adapter: self.adapter.clone().map_or(AdapterChoice::Best, AdapterChoice::Named),
            limits: match self.limits {
                Limits::Adapter => LimitsChoice::Adapter,
                Limits::Default => LimitsChoice::Default,
            },
            pipeline_cache: cache_dir().map(|cache| cache.join("pipelines")),
        }
    }
}

impl Sampling {
    /// These options; `recommended` has the defaults.
    ///
    /// # Errors
    /// The first option that is out of range or NaN.
    pub fn options(&self, recommended: SamplingOptions) -> Result<GenerateOptions, CliError> {
        let mut d = recommended;
        if self.temperature == Some(0.0) {
            // Greedy decoding has no penalty unless one was asked for.
            d.repetition_penalty = 1.0;
        }
        let sampling = SamplingOptions {
            temperature: self.temperature.unwrap_or(d.temperature),
            top_k: self.top_k.map_or(d.top_k, |k| k.number().unwrap_or(0)),
            top_p: self.top_p.unwrap_or(d.top_p),
            min_p: self.min_p.unwrap_or(d.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(d.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(d.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(d.frequency_penalty),
            seed: self.seed.and_then(OrMinusOne::number),
            logit_bias: d.logit_bias,
        };
        log::info!("sampling: {sampling}");
        let options = GenerateOptions {
            sampling: Some(sampling),
            max_tokens: self.max_tokens.and_then(OrMinusOne::number),
            stop: self.stop.clone(),
            ..Default::default()
        };
        options.check()?;
        Ok(options)
    }
}

/// Sampling options by their names on the command line.
pub fn in_words(s: &SamplingOptions) -> [(&'static str, String); 8] {
    [
        ("temperature", s.temperature.to_string()),
        ("top-k", s.top_k.to_string()),
        ("top-p", s.top_p.to_string()),
        ("min-p", s.min_p.to_string()),
        ("repetition-penalty", s.repetition_penalty.to_string()),
        ("presence-penalty", s.presence_penalty.to_string()),
        ("frequency-penalty", s.frequency_penalty.to_string()),
        ("seed", s.seed.map_or("random".to_owned(), |seed| seed.to_string())),
    ]
}

/// A number, or -1, which other programs accept for "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrMinusOne<T> {
    MinusOne,
    Number(T),
}

impl<T> OrMinusOne<T> {
    /// The number, unless it is -1.
    pub fn number(self) -> Option<T> {
        match self {
            Self::MinusOne => None,
            Self::Number(number) => Some(number),
        }
    }
}

/// Parses -1 or a whole number from 0.
pub fn or_minus_one<T: std::str::FromStr>(text: &str) -> Result<OrMinusOne<T>, String> {
    match text.trim() {
        "-1" => Ok(OrMinusOne::MinusOne),
        text => match text.parse() {
            Ok(number) => Ok(OrMinusOne::Number(number)),
            Err(_) => Err("need -1 or a whole number from 0".to_owned()),
        },
    }
}

/// Parses a size in bytes, units in powers of 1024: `6G`, `800M`, `1.5GiB`, `4096`.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size, need e.g. 6G or 800M");
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let value: f64 = number.trim().parse().map_err(|_| wrong())?;
    let unit = text[number.len()..].to_ascii_uppercase();
    let factor = match unit.trim_end_matches("IB").trim_end_matches('B') {
        "" => 1.0,
        "K" => 1024.0,
        "M" => 1024.0f64.powi(2),
        "G" => 1024.0f64.powi(3),
        "T" => 1024.0f64.powi(4),
        _ => return Err(wrong()),
    };
    let bytes = value * factor;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}
