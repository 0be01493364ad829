//! adapter_config.json: the rank and the scale of each matrix, and the options of PEFT that change the result.
//!
//! Source: PEFT 0.21.2 `tuners/lora/config.py`. An option that changes the result and is not implemented is
//! refused by its name; options that only matter in training are ignored.

use std::cell::RefCell;

use serde_json::Value;

use super::MAX_RANK;
use super::error::LoraError;
use super::patterns::Patterns;
use crate::formats::quoted;
use crate::model::ConfigError;
use crate::model::fields::{Fields, show};

/// Fields that are read.
const KNOWN: [&str; 15] = [
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "target_modules",
    "target_parameters",
    "exclude_modules",
    "layers_to_transform",
    "bias",
    "fan_in_fan_out",
    "init_lora_weights",
    "modules_to_save",
    "trainable_token_indices",
];

/// Fields without a meaning after the training: names, the initialisation's settings, Megatron's classes.
const IGNORED: [&str; 17] = [
    "base_model_name_or_path",
    "revision",
    "auto_mapping",
    "task_type",
    "peft_version",
    "inference_mode",
    "lora_dropout",
    "layers_pattern",
    "megatron_config",
    "megatron_core",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "qalora_group_size",
    "ensure_weight_tying",
    "runtime_config",
];

const PLAIN: &str = "train a plain LoRA adapter, or merge this one into its model with PEFT";

/// Variants of LoRA with another forward pass or more tensors, by their fields. Each must be unset.
const VARIANTS: [(&str, &str); 10] = [
    ("use_dora", "DoRA"),
    ("use_qalora", "QA-LoRA"),
    ("lora_bias", "a bias of the factors"),
    ("layer_replication", "the replication of layers"),
    ("alora_invocation_tokens", "activated LoRA (aLoRA)"),
    ("velora_config", "VeLoRA"),
    ("monteclora_config", "MonteCLoRA"),
    ("use_bdlora", "block-diagonal LoRA"),
    ("arrow_config", "Arrow routing"),
    ("kasa_config", "KaSA"),
];

/// Initialisations that change the model's own weights, so that the adapter belongs to the changed model.
const OTHER_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// `target_modules` or `exclude_modules`.
#[derive(Debug)]
pub(super) enum Modules {
    /// None.
    Unset,
    /// Names, or ends of names after a dot.
    List(Vec<String>),
    /// A regular expression of whole names, or `all-linear`.
    Expression(String),
}

/// The checked content of adapter_config.json.
#[derive(Debug)]
pub(super) struct AdapterConfig {
    /// Its name in errors.
    pub(super) file: String,
    rank: usize,
    alpha: f64,
    rslora: bool,
    rank_pattern: Patterns<usize>,
    alpha_pattern: Patterns<f64>,
    pub(super) target_modules: Modules,
    pub(super) target_parameters: Vec<String>,
    pub(super) exclude_modules: Modules,
    /// Indices of layers to which a list of `target_modules` is limited.
    pub(super) layers_to_transform: Option<Vec<usize>>,
}

impl AdapterConfig {
    /// Reads and checks the file. `file` is its name in errors.
    pub(super) fn from_json(file: &str, bytes: &[u8]) -> Result<Self, LoraError> {
        let others = RefCell::new(Vec::new());
        let fields = Fields::parse(file, bytes, |name| {
            let known = KNOWN.contains(&name) || VARIANTS.iter().any(|(field, _)| *field == name);
            if !known && !IGNORED.contains(&name) {
                others.borrow_mut().push(quoted(name));
            }
            known
        })?;
        let f = &fields;
        check_method(f, file)?;
        check_options(f, file)?;
        let config = Self {
            file: file.to_owned(),
            rank: rank(f, "r", f.get("r"))?,
            alpha: alpha(f, "lora_alpha", f.get("lora_alpha"))?,
            rslora: f.flag("use_rslora")?.unwrap_or(false),
            rank_pattern: patterns(f, "rank_pattern", rank)?,
            alpha_pattern: patterns(f, "alpha_pattern", alpha)?,
            target_modules: modules(f, "target_modules")?,
            target_parameters: names(f, "target_parameters")?,
            exclude_modules: modules(f, "exclude_modules")?,
            layers_to_transform: layers(f)?,
        };
        if let [first, more @ ..] = &others.into_inner()[..] {
            let more =
                if more.is_empty() { String::new() } else { format!(" (and {})", more.len()) };
            log::warn!("{file}: the field {first}{more} is not known and has no effect");
        }
        Ok(config)
    }

    /// Rank of a module or a parameter.
    pub(super) fn rank_of(&self, key: &str) -> usize {
        self.rank_pattern.get(key).unwrap_or(self.rank)
    }

    /// Scale of a module or a parameter whose rank is `rank`.
    ///
    /// # Errors
    /// [`ConfigError`] if it is not a positive or negative f32.
    pub(super) fn scale_of(&self, key: &str, rank: usize) -> Result<f32, ConfigError> {
        let alpha = self.alpha_pattern.get(key).unwrap_or(self.alpha);
        let rank = rank as f64;
        checked_scale(alpha / if self.rslora { rank.sqrt() } else { rank }).ok_or_else(|| {
            ConfigError {
                file: self.file.clone(),
                field: Some("lora_alpha".to_owned()),
                problem: format!("got {alpha} for {key}, need a number that f32 can hold"),
            }
        })
    }
}

/// A scale as f32, if it is neither 0 nor infinite there.
#[allow(clippy::cast_possible_truncation, reason = "the result is checked")]
pub(super) fn checked_scale(scale: f64) -> Option<f32> {
    let scale = scale as f32;
    (scale.is_finite() && scale != 0.0).then_some(scale)
}

/// Refuses other methods than LoRA, and other programs' adapters.
fn check_method(f: &Fields, file: &str) -> Result<(), LoraError> {
    match f.string("peft_type")? {
        Some("LORA") => Ok(()),
        Some(other) => Err(LoraError::Unsupported {
            file: file.to_owned(),
            field: "peft_type".to_owned(),
            feature: format!("the method {}", quoted(other)),
            remedy: "need an adapter of the type LORA",
        }),
        None => Err(f.error("peft_type", "is missing: need the file that PEFT writes").into()),
    }
}

/// Refuses options that change the result and are not implemented.
fn check_options(f: &Fields, file: &str) -> Result<(), LoraError> {
    let refuse = |field: &str, feature: String, remedy| {
        let (file, field) = (file.to_owned(), field.to_owned());
        Err(LoraError::Unsupported { file, field, feature, remedy })
    };
    for (field, feature) in VARIANTS {
        if !is_unset(f.get(field)) {
            return refuse(field, feature.to_owned(), PLAIN);
        }
    }
    for (field, feature) in [
        ("modules_to_save", "a module that was trained as a whole"),
        ("trainable_token_indices", "the training of single embeddings"),
    ] {
        if !is_unset(f.get(field)) {
            return refuse(field, feature.to_owned(), PLAIN);
        }
    }
    if !matches!(f.string("bias")?, None | Some("none")) {
        return refuse("bias", "the training of biases".to_owned(), PLAIN);
    }
    if f.flag("fan_in_fan_out")? == Some(true) {
        let feature = "the transposed layout of GPT-2".to_owned();
        return refuse("fan_in_fan_out", feature, "need false, as LFM2's matrices have it");
    }
    if let Some(Value::String(init)) = f.get("init_lora_weights")
        && OTHER_BASE.iter().any(|method| init.starts_with(method))
    {
        let feature = format!("{}, which changes the model's own weights,", quoted(init));
        let remedy = "save the adapter with path_initial_model_for_weight_conversion, which makes a plain one";
        return refuse("init_lora_weights", feature, remedy);
    }
    Ok(())
}

/// Whether a field is absent, null, false, or an empty list or object.
fn is_unset(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(object)) => object.is_empty(),
        Some(_) => false,
    }
}

fn rank(f: &Fields, field: &str, value: Option<&Value>) -> Result<usize, ConfigError> {
    let Some(value) = value else { return Err(f.missing(field)) };
    let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok());
    rank.filter(|rank| (1..=MAX_RANK).contains(rank)).ok_or_else(|| {
        f.error(field, format!("got {}, need a rank of 1 to {MAX_RANK}", show(value)))
    })
}

fn alpha(f: &Fields, field: &str, value: Option<&Value>) -> Result<f64, ConfigError> {
    let Some(value) = value else { return Err(f.missing(field)) };
    value
        .as_f64()
        .filter(|alpha| alpha.is_finite() && *alpha != 0.0)
        .ok_or_else(|| f.error(field, format!("got {}, need a number other than 0", show(value))))
}

fn patterns<T: Copy>(
    f: &Fields,
    field: &str,
    read: impl Fn(&Fields, &str, Option<&Value>) -> Result<T, ConfigError>,
) -> Result<Patterns<T>, ConfigError> {
    let entries = match f.get(field) {
        None => Vec::new(),
        Some(Value::Object(object)) => object
            .iter()
            .map(|(pattern, value)| Ok((&**pattern, read(f, field, Some(value))?)))
            .collect::<Result<_, ConfigError>>()?,
        Some(_) => return Err(f.mismatch(field, "an object")),
    };
    Patterns::new(entries).map_err(|problem| f.error(field, problem))
}

fn modules(f: &Fields, field: &str) -> Result<Modules, ConfigError> {
    Ok(match f.get(field) {
        None => Modules::Unset,
        Some(Value::String(text)) if text.is_empty() => Modules::Unset,
        Some(Value::String(text)) => Modules::Expression(text.clone()),
        Some(_) => Modules::List(names(f, field)?),
    })
}

fn names(f: &Fields, field: &str) -> Result<Vec<String>, ConfigError> {
    let names = f.strings(field)?.unwrap_or_default();
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// One index or a list; an empty list means all layers.
fn layers(f: &Fields) -> Result<Option<Vec<usize>>, ConfigError> {
    const FIELD: &str = "layers_to_transform";
    Ok(match f.get(FIELD) {
        Some(Value::Number(_)) => f.count(FIELD)?.map(|layer| vec![layer]),
        _ => f.counts(FIELD)?.filter(|layers| !layers.is_empty()),
    })
}
