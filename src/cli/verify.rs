//! `lfm2 verify`: compares this engine with published figures of LFM2-8B-A1B.

use clap::Args;

use super::error::CliError;
use super::load;
use super::options::Common;
use super::print::print;
use crate::engine::{Engine, GenerateOptions, SamplingOptions};
use crate::model::ModelConfig;

/// Figures of huggingface/transformers, tests/models/lfm2_moe/test_modeling_lfm2_moe.py, computed
/// in bf16 on CUDA; the tolerance is theirs.
const TOKENS: [u32; 17] = [
    1, 22998, 768, 1947, 797, 22017, 811, 6332, 928, 5743, 797, 779, 48123, 772, 33551, 60996, 523,
];
const MEANS: [f32; 17] = [
    -1.3912, -0.4653, -1.3339, -1.3249, -1.0985, -1.2373, -1.4599, -0.7515, -0.6140, -1.2329,
    -1.1481, -1.0081, -0.9937, -0.8875, -1.5539, -1.7283, -1.6284,
];
const MEAN_TOLERANCE: f32 = 1e-2;
/// Logits of the first position.
const FIRST: [f32; 10] =
    [-1.2734, 2.4844, 5.5000, -1.3438, -1.3281, -1.3516, 1.9375, 5.8438, -0.6641, -1.2969];
/// A bf16 logit near 5 has steps of 0.03, and the whole model computed in bf16.
const LOGIT_TOLERANCE: f32 = 0.15;
const TEXTS: [(&str, &str); 2] = [
    (
        "In 1st century A.D., the Roman Empire",
        " controlled much of Europe, North Africa, and parts of the Middle East.",
    ),
    ("Who are you?", " (AI) designed to assist?  \nI am an AI assistant developed to"),
];

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Verify {}

const NOTES: &str = "\
The figures are from the tests of transformers, computed in bf16: means of logits (tolerance 0.01), ten \
logits and two greedy texts. Needs --model with the checkpoint (16.7 GB).";

impl Verify {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let Some(model) = &common.model else {
            return Err(CliError::User(
                "--model: need the checkpoint directory of LFM2-8B-A1B".to_owned(),
            ));
        };
        let opened = load::open(common)?;
        check_shape(&model.display().to_string(), &opened.config)?;
        // The figures are those of the model alone.
        let common = &Common { lora: Vec::new(), lora_scale: Vec::new(), ..common.clone() };
        let engine = load::engine_of(opened, common, |b| b.kv_format(common.kv_or_f32()))?;
        let config = engine.config();
        let mut sequence = engine.sequence()?;
        let logits = pollster::block_on(sequence.logits(&TOKENS, TOKENS.len()))?;
        drop(sequence);
        let means: Vec<f32> = logits.chunks(config.vocab_size).map(mean).collect();
        let mut failed = compare("mean of the logits at position", &means, &MEANS, MEAN_TOLERANCE)?;
        failed += compare("logit of position 0, id", &logits, &FIRST, LOGIT_TOLERANCE)?;
        for (prompt, expected) in TEXTS {
            let got = continue_text(&engine, prompt, expected)?;
            let same = got.starts_with(expected);
            failed += usize::from(!same);
            let verdict = if same { "equal" } else { "DIFFERENT" };
            print(&format!("greedy text after {prompt:?}: {verdict}: {got:?}\n"))?;
        }
        if failed > 0 {
            return Err(CliError::Internal(format!(
                "{failed} figures differ from the published ones; please report it with the output of `lfm2 selftest`"
            )));
        }
        print("All published figures agree: this engine computes LFM2-8B-A1B.\n")
    }
}

/// Refuses other models than LFM2-8B-A1B.
fn check_shape(model: &str, config: &ModelConfig) -> Result<(), CliError> {
    let (experts, top_k) = config.moe.as_ref().map_or((0, 0), |m| (m.num_experts, m.top_k));
    let got = [config.vocab_size, config.hidden_size, config.layers.len(), experts, top_k];
    if got == [65_536, 2048, 24, 32, 4] {
        return Ok(());
    }
    let [vocab, hidden, layers, experts, top_k] = got;
    Err(CliError::User(format!(
        "{model}: the published figures are for LFM2-8B-A1B (vocab_size 65536, hidden_size \
         2048, 24 layers, 4 of 32 experts), this model has {vocab}, {hidden}, {layers}, {top_k} of \
         {experts}"
    )))
}

fn mean(row: &[f32]) -> f32 {
    (row.iter().map(|x| f64::from(*x)).sum::<f64>() / row.len() as f64) as f32
}

/// Prints each figure beside the published one; returns the number that differ.
fn compare(what: &str, got: &[f32], want: &[f32], tolerance: f32) -> Result<usize, CliError> {
    let mut failed = 0;
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let difference = (g - w).abs();
        // NaN must fail.
        let close = difference <= tolerance;
        failed += usize::from(!close);
        let verdict = if close { "ok" } else { "DIFFERENT" };
        print(&format!(
            "{what} {i:2}: {g:8.4}, published {w:8.4}, difference {difference:.4}, tolerance \
             {tolerance} {verdict}\n"
        ))?;
    }
    Ok(failed)
}

fn continue_text(engine: &Engine, prompt: &str, expected: &str) -> Result<String, CliError> {
    let tokenizer = engine.tokenizer()?.clone();
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(tokenizer.encode(expected, false)?.len() + 2),
        ..Default::default()
    };
    let mut generation = engine.session().generate(&tokenizer.encode(prompt, true)?, &options)?;
    Ok(pollster::block_on(generation.text())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_within_and_beyond_the_tolerance() {
        assert_eq!(compare("x", &MEANS, &MEANS, MEAN_TOLERANCE).unwrap(), 0);
        let mut off = MEANS;
        off[3] += 0.02;
        off[5] = f32::NAN;
        assert_eq!(compare("x", &off, &MEANS, MEAN_TOLERANCE).unwrap(), 2);
        assert!((mean(&[1.0, 2.0, 4.5]) - 2.5).abs() < 1e-6);
    }
}
