//! `lfm2 perplexity`: measures the perplexity of a text by llama-perplexity's definition.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::error::CliError;
use super::input::read_text;
use super::options::Common;
use super::print::print;
use super::{interrupt, load, loras};
use crate::engine::{ModelText, Sequence};

/// Default number of tokens in a chunk.
const CONTEXT: u32 = 512;
/// Shortest chunk with enough scored tokens for a standard error.
const LEAST_CONTEXT: u32 = 8;
/// Rows whose logits are read back together.
const ROWS: usize = 256;

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The last line of llama-perplexity
    Text,
    /// A JSON object
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Perplexity {
    /// File with the text, e.g. wiki.test.raw; `-` is stdin
    #[arg(short, long, value_name = "TEXT", env = "LFM2_FILE")]
    file: PathBuf,
    /// Score only the first N chunks
    #[arg(long, value_name = "N", env = "LFM2_CHUNKS", value_parser = clap::value_parser!(u32).range(1..))]
    chunks: Option<u32>,
    /// Format of the result: `text`, as llama-perplexity prints it, or `json`
    #[arg(short, long, value_enum, default_value_t = Output::Text, env = "LFM2_OUTPUT", value_name = "FORMAT")]
    output: Output,
}

const NOTES: &str = "\
The figures are comparable with llama-perplexity's. The text is split into chunks of --context \
tokens (default here: 512); a shorter rest is dropped. Each chunk starts from an empty state, and the \
beginning-of-text token replaces its first token. Only its second half is scored. The perplexity is \
exp(mean(-ln p)) over the scored tokens. A newline at the end of the file is dropped. Special tokens \
in the file are read as plain text. stderr shows the value after each chunk.

Examples:
  lfm2 -m DIR perplexity -f wiki.test.raw
  lfm2 -m FILE.gguf perplexity -f wiki.test.raw --chunks 20 --context 2048 -o json";

impl Perplexity {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let mut text = read_text(&self.file)?;
        if text.ends_with('\n') {
            text.pop();
        }
        let opened = load::open(common)?;
        let most = opened.config.max_position_embeddings;
        let own = u32::try_from(most).unwrap_or(u32::MAX);
        let context = common.context.map_or(CONTEXT, |n| if n == 0 { own } else { n });
        if context < LEAST_CONTEXT || context as usize > most {
            return Err(CliError::User(format!(
                "--context: got {context}, need {LEAST_CONTEXT} to {most}"
            )));
        }
        let context = context as usize;
        let tokens = opened.text.tokenizer()?.encode_verbatim(&text, true)?;
        if tokens.len() < 2 * context {
            return Err(CliError::User(format!(
                "{}: has {} tokens, need at least {}: two chunks of --context {context}",
                self.file.display(),
                tokens.len(),
                2 * context
            )));
        }
        let first = bos(&opened.text)?;
        let asked = self.chunks.map_or(usize::MAX, |n| n as usize);
        let chunks = asked.min(tokens.len() / context);
        let engine = load::engine_of(opened, common, |b| b.context_length(context as u32))?;
        let mut sequence = engine.sequence()?;
        sequence.set_lora(loras::first(&engine).as_ref())?;
        let mut scores = Scores::default();
        for (i, chunk) in tokens.chunks_exact(context).take(chunks).enumerate() {
            let mut chunk = chunk.to_vec();
            chunk[0] = first.unwrap_or(chunk[0]);
            sequence.rewind(0)?;
            pollster::block_on(score(&mut sequence, &chunk, &mut scores))?;
            if !common.quiet {
                eprintln!("[{}/{chunks}] {:.4}", i + 1, scores.perplexity());
            }
        }
        let (perplexity, error) = (scores.perplexity(), scores.error());
        print(&match self.output {
            Output::Text => format!("Final estimate: PPL = {perplexity:.4} +/- {error:.5}\n"),
            Output::Json => {
                let json = json!({
                    "perplexity": perplexity, "standard_error": error, "mean_nll": scores.mean(),
                    "scored_tokens": scores.count, "tokens": tokens.len(), "chunks": chunks,
                    "context": context,
                });
                format!("{json}\n")
            }
        })
    }
}

/// The beginning-of-text token, if the model has one.
fn bos(text: &ModelText) -> Result<Option<u32>, CliError> {
    Ok(text.tokenizer()?.encode("", true)?.first().copied())
}

/// Scores the second half of a chunk: each position predicts the next token.
async fn score(
    sequence: &mut Sequence,
    chunk: &[u32],
    scores: &mut Scores,
) -> Result<(), CliError> {
    let first = chunk.len() / 2;
    sequence.feed(&chunk[..first]).await?;
    // The last position has no next token.
    let (tokens, next) = (&chunk[first..chunk.len() - 1], &chunk[first + 1..]);
    for (tokens, next) in tokens.chunks(ROWS).zip(next.chunks(ROWS)) {
        if interrupt::requested() {
            return Err(CliError::Interrupted);
        }
        for scored in sequence.logprobs(tokens, next, 0, ROWS).await? {
            scores.add(-f64::from(scored.logprob));
        }
    }
    Ok(())
}

/// Sums over the scored tokens.
#[derive(Default)]
struct Scores {
    count: usize,
    sum: f64,
    squares: f64,
}

impl Scores {
    fn add(&mut self, nll: f64) {
        self.count += 1;
        self.sum += nll;
        self.squares += nll * nll;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    fn perplexity(&self) -> f64 {
        self.mean().exp()
    }

    /// Standard error of the perplexity, to first order in that of the mean.
    fn error(&self) -> f64 {
        let variance = (self.squares / self.count as f64 - self.mean().powi(2)).max(0.0);
        self.perplexity() * (variance / (self.count as f64 - 1.0)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_by_hand() {
        let mut scores = Scores::default();
        [1.0, 2.0, 3.0, 4.0].iter().for_each(|nll| scores.add(*nll));
        assert!((scores.perplexity() - 2.5f64.exp()).abs() < 1e-12);
        // Variance 1.25 over 3.
        assert!((scores.error() / scores.perplexity() - (1.25f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
