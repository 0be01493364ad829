//! The sampling that a model's authors recommend: by its files, else by a table of published
//! models.
//!
//! The published files have no values: generation_config.json of LFM2.5 has token ids alone, and
//! the recommendation is on the model's page. The table's rows are from those pages (November
//! 2026).

use std::fmt;

use super::{ModelText, SamplingOptions};
use crate::model::{GenerationConfig, ModelConfig};

/// A recommendation and its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// The options.
    pub sampling: SamplingOptions,
    /// The file with these values, the model in the table, or both.
    pub source: String,
}

impl fmt::Display for Recommendation {
    /// E.g. `temperature 0.2, top_k 80, repetition 1.05 (LFM2.5-8B-A1B)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.sampling, self.source)
    }
}

/// A row of the table.
struct Row {
    model: &'static str,
    temperature: f32,
    top_k: u32,
    min_p: f32,
    repetition_penalty: f32,
}

const fn row(model: &'static str, temperature: f32, top_k: u32) -> Row {
    Row { model, temperature, top_k, min_p: 0.0, repetition_penalty: 1.05 }
}

const LFM2: Row =
    Row { model: "LFM2", temperature: 0.3, top_k: 0, min_p: 0.15, repetition_penalty: 1.05 };
const LFM3: Row =
    Row { model: "LFM3", temperature: 0.1, top_k: 50, min_p: 0.0, repetition_penalty: 1.1 };
const THINKING: Row = row("LFM2.5-1.2B-Thinking", 0.05, 50);
/// LFM2.5 models of sizes that the table below lacks: with the large vocabulary, and the others.
const LARGE: Row = row("LFM2.5", 0.2, 80);
const SMALL: Row = row("LFM2.5", 0.1, 50);

/// LFM2.5 by layers and width.
const SHAPES: [(usize, usize, Row); 6] = [
    (14, 1024, row("LFM2.5-230M", 0.1, 50)),
    (16, 1024, row("LFM2.5-350M", 0.1, 50)),
    (16, 2048, row("LFM2.5-1.2B", 0.1, 50)),
    (30, 2048, row("LFM2.5-2.6B", 0.2, 80)),
    (24, 2048, row("LFM2.5-8B-A1B", 0.2, 80)),
    (40, 2048, row("LFM2-24B-A2B", 0.1, 50)),
];

/// Ids of the tokenizer of LFM2.5's larger models; the others have LFM2's 65,536.
const LARGE_VOCABULARY: usize = 100_000;

/// The recommendation for a model. `names` are all texts that may contain its name: its path and
/// the names in its files.
pub(super) fn recommendation(
    config: &ModelConfig,
    generation: &GenerationConfig,
    text: &ModelText,
    names: &[String],
) -> Recommendation {
    let row = row_of(config, text, names);
    let table = SamplingOptions {
        temperature: row.temperature,
        top_k: row.top_k,
        min_p: row.min_p,
        repetition_penalty: row.repetition_penalty,
        ..SamplingOptions::greedy()
    };
    let g = generation;
    if g.do_sample == Some(false) {
        let repetition_penalty = g.repetition_penalty.unwrap_or(1.0);
        let sampling = SamplingOptions { repetition_penalty, ..SamplingOptions::greedy() };
        return Recommendation { sampling, source: g.source.to_owned() };
    }
    let sampling = SamplingOptions {
        temperature: g.temperature.unwrap_or(table.temperature),
        top_k: g.top_k.map_or(table.top_k, |k| u32::try_from(k).unwrap_or(0)),
        top_p: g.top_p.unwrap_or(table.top_p),
        min_p: g.min_p.unwrap_or(table.min_p),
        repetition_penalty: g.repetition_penalty.unwrap_or(table.repetition_penalty),
        ..table.clone()
    };
    let of_table = [
        (g.temperature.is_none(), sampling.temperature != 0.0),
        (g.top_k.is_none(), table.top_k != 0),
        (g.min_p.is_none(), table.min_p != 0.0),
        (g.repetition_penalty.is_none(), table.repetition_penalty != 1.0),
    ];
    let uses_table = of_table.iter().any(|(absent, counts)| *absent && *counts);
    let source = match (g.recommends_sampling(), uses_table) {
        (false, _) => row.model.to_owned(),
        (true, false) => g.source.to_owned(),
        (true, true) => format!("{}, else {}", g.source, row.model),
    };
    Recommendation { sampling, source }
}

/// The row of a model, by its name, its vocabulary and its sizes.
fn row_of(config: &ModelConfig, text: &ModelText, names: &[String]) -> &'static Row {
    let named = |word: &str| names.iter().any(|name| name.to_ascii_lowercase().contains(word));
    if named("lfm3") {
        return &LFM3;
    }
    // Sizes and vocabulary are more reliable than a name that a person gave.
    let large = config.vocab_size >= LARGE_VOCABULARY;
    let thinks = text.tokenizer().is_ok_and(|t| t.token_id("<think>").is_some());
    let named_new = ["lfm2.5", "lfm2_5", "lfm25", "lfm2-5"].iter().any(|word| named(word));
    let shape = (config.layers.len(), config.hidden_size);
    let of_shape = SHAPES.iter().find(|(layers, hidden, _)| (*layers, *hidden) == shape);
    // LFM2-24B-A2B belongs to LFM2.5 in everything but its name.
    let new = large || thinks || named_new || shape == (40, 2048);
    match of_shape {
        _ if !new => &LFM2,
        Some((16, 2048, _)) if named("thinking") => &THINKING,
        Some((.., row)) => row,
        None if large => &LARGE,
        None => &SMALL,
    }
}
