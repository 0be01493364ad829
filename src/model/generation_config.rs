//! The sampling that a model's authors recommend: generation_config.json, or a GGUF's metadata.

use super::config::ConfigError;
use super::fields::Fields;
use crate::formats::gguf::Value;
use crate::formats::{KeyError, Metadata};

/// Contents of generation_config.json or a GGUF's metadata. An absent field is `None`.
///
/// An invalid file is an error, unlike in transformers, which ignores it: then sampling would
/// silently change and end tokens would be missed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// The values' source for the user: `generation_config.json`, or a GGUF's keys.
    pub source: &'static str,
    /// First token of a text.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text; empty if the file names none.
    pub eos_token_ids: Vec<u32>,
    /// Padding.
    pub pad_token_id: Option<u32>,
    /// Whether to sample; `false` is greedy.
    pub do_sample: Option<bool>,
    /// Temperature, 0 (greedy) to 100.
    pub temperature: Option<f32>,
    /// Keep the k most likely tokens; 0 is off.
    pub top_k: Option<usize>,
    /// Keep the most likely tokens of this total probability, 0 to 1.
    pub top_p: Option<f32>,
    /// Keep tokens of at least this probability relative to the most likely one, 0 to 1.
    pub min_p: Option<f32>,
    /// Divisor of the positive logits of tokens that have occurred, above 0.
    pub repetition_penalty: Option<f32>,
    /// Most tokens of an answer, at least 1.
    pub max_new_tokens: Option<usize>,
    /// Most tokens of prompt and answer together, at least 1.
    pub max_length: Option<usize>,
}

const KNOWN: [&str; 11] = [
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "max_new_tokens",
    "max_length",
];

/// Fields that would change the output and are not implemented, with their neutral values. Others
/// are reported, not refused: they are a recommendation, and the model itself is usable.
const NOT_IMPLEMENTED: [(&str, &str); 18] = [
    ("num_beams", "1"),
    ("num_beam_groups", "1"),
    ("penalty_alpha", "0"),
    ("typical_p", "1"),
    ("epsilon_cutoff", "0"),
    ("eta_cutoff", "0"),
    ("encoder_repetition_penalty", "1"),
    ("no_repeat_ngram_size", "0"),
    ("encoder_no_repeat_ngram_size", "0"),
    ("guidance_scale", "1"),
    ("min_length", "0"),
    ("min_new_tokens", "0"),
    ("bad_words_ids", ""),
    ("suppress_tokens", ""),
    ("begin_suppress_tokens", ""),
    ("forced_bos_token_id", ""),
    ("forced_eos_token_id", ""),
    ("sequence_bias", ""),
];

impl GenerationConfig {
    /// Reads generation_config.json. `file` is its name in errors; token ids are checked against
    /// `vocab_size`.
    ///
    /// # Errors
    /// [`ConfigError`] for invalid JSON, or a field of a wrong type or out of its range.
    pub fn from_json(file: &str, bytes: &[u8], vocab_size: usize) -> Result<Self, ConfigError> {
        let fields = Fields::parse(file, bytes, |name| {
            KNOWN.contains(&name) || NOT_IMPLEMENTED.iter().any(|(other, _)| *other == name)
        })?;
        let f = &fields;
        for (name, neutral) in NOT_IMPLEMENTED {
            let neutral: Option<f64> = neutral.parse().ok();
            if let Some(value) = f.get(name)
                && (neutral.is_none() || value.as_f64() != neutral)
            {
                log::warn!("{file}: {name}: not supported, ignored");
            }
        }
        Ok(Self {
            source: "generation_config.json",
            bos_token_id: f.token("bos_token_id", vocab_size)?,
            eos_token_ids: f.tokens("eos_token_id", vocab_size)?,
            pad_token_id: f.token("pad_token_id", vocab_size)?,
            do_sample: f.flag("do_sample")?,
            temperature: number(f, "temperature", 0.0, 100.0)?,
            top_k: size(f, "top_k", 0)?,
            top_p: number(f, "top_p", 0.0, 1.0)?,
            min_p: number(f, "min_p", 0.0, 1.0)?,
            repetition_penalty: number(f, "repetition_penalty", 0.01, 100.0)?,
            max_new_tokens: size(f, "max_new_tokens", 1)?,
            max_length: size(f, "max_length", 1)?,
        })
    }
}

impl GenerationConfig {
    /// Whether it recommends sampling options, and not only token ids.
    #[must_use]
    pub fn recommends_sampling(&self) -> bool {
        self.do_sample == Some(false)
            || self.temperature.is_some()
            || self.top_k.is_some()
            || self.top_p.is_some()
            || self.min_p.is_some()
            || self.repetition_penalty.is_some()
    }

    /// Reads a GGUF file's metadata: end tokens, and `general.sampling.*` if present. Token ids are
    /// checked against `vocab_size`.
    ///
    /// # Errors
    /// [`ConfigError`] for a key of a wrong type or out of its range.
    pub fn from_gguf(metadata: &Metadata, vocab_size: usize) -> Result<Self, ConfigError> {
        let m = metadata;
        let mut eos_token_ids = Vec::new();
        // The end of a text, of a turn and of a message all end an answer.
        for name in ["eos", "eot", "eom"] {
            let id = m.token(&format!("tokenizer.ggml.{name}_token_id"), vocab_size)?;
            eos_token_ids.extend(id.filter(|id| !eos_token_ids.contains(id)));
        }
        for id in more_end_tokens(m, vocab_size)? {
            if !eos_token_ids.contains(&id) {
                eos_token_ids.push(id);
            }
        }
        let number = |name: &str, min: f64, max: f64| {
            let key = format!("general.sampling.{name}");
            match m.number(&key)? {
                Some(value) if !(min..=max).contains(&value) => {
                    Err(m.mismatch(&key, format_args!("{min} to {max}")))
                }
                value => Ok(value.map(to_f32)),
            }
        };
        let top_k = match m.get("general.sampling.top_k") {
            // As in llama.cpp, -1 means off like 0.
            Some(Value::Integer(k)) if k < 0 => Some(0),
            _ => m.count("general.sampling.top_k")?,
        };
        if top_k.is_some_and(|k| u32::try_from(k).is_err()) {
            return Err(m
                .mismatch("general.sampling.top_k", format_args!("0 to {}", u32::MAX))
                .into());
        }
        Ok(Self {
            source: "general.sampling",
            bos_token_id: m.token("tokenizer.ggml.bos_token_id", vocab_size)?,
            eos_token_ids,
            pad_token_id: m.token("tokenizer.ggml.padding_token_id", vocab_size)?,
            temperature: number("temp", 0.0, 100.0)?,
            top_k,
            top_p: number("top_p", 0.0, 1.0)?,
            min_p: number("min_p", 0.0, 1.0)?,
            repetition_penalty: number("penalty_repeat", 0.01, 100.0)?,
            ..Self::default()
        })
    }
}

/// End tokens that ollama's conversion lists if config.json has several.
fn more_end_tokens(m: &Metadata, vocab_size: usize) -> Result<Vec<u32>, KeyError> {
    const KEY: &str = "tokenizer.ggml.eos_token_ids";
    let Some(ids) = m.array(KEY)? else {
        return Ok(Vec::new());
    };
    let id = |id: i128| {
        u32::try_from(id).ok().filter(|id| usize::try_from(*id).is_ok_and(|id| id < vocab_size))
    };
    let read = ids.integers().filter(|_| ids.len() <= 64);
    read.and_then(|ids| ids.map(id).collect()).ok_or_else(|| {
        m.mismatch(
            KEY,
            format_args!("at most 64 token ids below the vocabulary's size {vocab_size}"),
        )
    })
}

/// A number within bounds.
fn number(f: &Fields, field: &str, min: f64, max: f64) -> Result<Option<f32>, ConfigError> {
    match f.number(field)? {
        Some(value) if !(min..=max).contains(&value) => {
            Err(f.mismatch(field, format_args!("{min} to {max}")))
        }
        value => Ok(value.map(to_f32)),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is meant, the range is checked"
)]
fn to_f32(value: f64) -> f32 {
    value as f32
}

/// A count that fits the u32 of the GPU's tables.
fn size(f: &Fields, field: &str, min: usize) -> Result<Option<usize>, ConfigError> {
    match f.count(field)? {
        Some(value) if value < min || u32::try_from(value).is_err() => {
            Err(f.mismatch(field, format_args!("{min} to {}", u32::MAX)))
        }
        value => Ok(value),
    }
}
