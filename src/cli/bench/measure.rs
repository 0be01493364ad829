//! The tests of `lfm2 bench` and their measurement.

use clap::ValueEnum;

use crate::cli::error::CliError;
use crate::cli::{interrupt, loras};
use crate::engine::{
    Engine, GenerateOptions, GenerateRequest, Generation, Parallel, SamplingOptions, Sequence,
};
use crate::gpu::{Counters, Profile};

/// Bias that makes a token the next one.
const REPEATED: f32 = 100.0;
/// Tokens of a prompt that `--profile` runs: one chunk.
const PROFILED: usize = 512;

/// `--sampling`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sampling {
    /// The most likely token
    #[default]
    Greedy,
    /// The model's recommendation
    Recommended,
    /// top_k 50, top_p 0.9, repetition penalty 1.05
    Nucleus,
}

impl Sampling {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Recommended => "recommended",
            Self::Nucleus => "nucleus",
        }
    }

    fn options(self, engine: &Engine) -> SamplingOptions {
        // The same draws in every run.
        let seed = Some(1);
        match self {
            Self::Greedy => SamplingOptions::greedy(),
            Self::Recommended => SamplingOptions { seed, ..engine.recommended_sampling() },
            Self::Nucleus => SamplingOptions {
                temperature: 1.0,
                top_k: 50,
                top_p: 0.9,
                repetition_penalty: 1.05,
                seed,
                ..SamplingOptions::greedy()
            },
        }
    }
}

/// One test: `n_prompt` tokens of prefill or `n_gen` of decode after `n_depth` tokens.
#[derive(Clone, Copy, Default)]
pub struct Test {
    pub n_prompt: usize,
    pub n_gen: usize,
    pub n_depth: usize,
    /// Sequences that decode at once; `None` is one, as an answer is generated.
    pub parallel: Option<usize>,
    pub sampling: Sampling,
}

impl Test {
    pub fn name(self) -> String {
        let mut name = match (self.n_gen, self.parallel) {
            (0, _) => format!("pp{}", self.n_prompt),
            (n, None) => format!("tg{n}"),
            (n, Some(sequences)) => format!("{sequences} x tg{n}"),
        };
        if self.n_depth > 0 {
            name += &format!(" @ d{}", self.n_depth);
        }
        if self.sampling != Sampling::Greedy {
            name += &format!(", {}", self.sampling.name());
        }
        name
    }

    /// Tokens of all sequences.
    pub fn tokens(self) -> usize {
        self.n_prompt.max(self.n_gen) * self.parallel.unwrap_or(1)
    }

    /// Positions of a sequence: generation starts after at least one token, and a token is timed on the GPU
    /// and one traced at its end.
    pub fn positions(self) -> usize {
        let generated = if self.n_gen > 0 { self.n_gen.saturating_add(4) } else { 1 };
        self.n_depth.saturating_add(self.n_prompt).saturating_add(generated)
    }
}

/// Measurements of one repetition.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    pub seconds: f64,
    pub first_token_ms: f64,
    pub dispatches: f64,
    pub submissions: f64,
    pub readback_bytes: f64,
    pub host_us: f64,
}

/// Measurements that a test makes once, after its repetitions.
#[derive(Clone, Default)]
pub struct Once {
    /// Times of a decoded token on the GPU; of several sequences, of one token of each.
    pub profile: Option<Profile>,
    /// Experts that the sequences choose together, the mean over layers.
    pub distinct_experts: Option<f64>,
}

/// Counts a token, since `before`.
fn per_token(engine: &Engine, before: Counters, tokens: usize, sample: Sample) -> Sample {
    let after = engine.device().counters();
    let per_token = |count: fn(&Counters) -> u64| {
        (count(&after) - count(&before)) as f64 / tokens.max(1) as f64
    };
    Sample {
        dispatches: per_token(|c| c.dispatches),
        submissions: per_token(|c| c.submissions),
        readback_bytes: per_token(|c| c.readback_bytes),
        host_us: per_token(|c| c.host_nanoseconds) / 1000.0,
        ..sample
    }
}

/// Runs a generation to its end.
async fn finish(generation: &mut Generation) -> Result<(), CliError> {
    while let Some(delta) = generation.next().await {
        delta?;
        stop_if_interrupted()?;
    }
    Ok(())
}

fn stop_if_interrupted() -> Result<(), CliError> {
    if interrupt::requested() { Err(CliError::Interrupted) } else { Ok(()) }
}

/// Random token ids, as in llama-bench, but the same in every run; others for another `sequence`.
fn tokens(n: usize, vocab: usize, sequence: usize) -> Vec<u32> {
    let mut state = 0x9e37_79b9_u32 ^ (sequence as u32).wrapping_mul(0x85eb_ca6b);
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % vocab as u32
        })
        .collect()
}

fn options(n: usize, sampling: SamplingOptions) -> GenerateOptions {
    GenerateOptions {
        sampling: Some(sampling),
        max_tokens: Some(n),
        ignore_end: true,
        ..Default::default()
    }
}

fn greedy(n: usize) -> GenerateOptions {
    options(n, SamplingOptions::greedy())
}

/// Runs a test once, as answers are generated. Several sequences begin together, each behind random tokens of its own;
/// a bias lets each repeat one random token, so that they choose experts apart.
pub async fn measure(engine: &Engine, test: Test) -> Result<Sample, CliError> {
    let session = engine.session();
    let lora = loras::first(engine);
    engine.clear_cache();
    let vocab = engine.config().vocab_size;
    let sequences = test.parallel.unwrap_or(1);
    let length = test.n_depth + test.n_prompt.max(1);
    let prompts: Vec<_> = (0..sequences).map(|i| tokens(length, vocab, i)).collect();
    for prompt in prompts.iter().filter(|_| test.n_depth > 0) {
        let options = GenerateOptions { lora: lora.clone(), ..greedy(1) };
        finish(&mut session.generate(&prompt[..test.n_depth], &options)?).await?;
    }
    let mut sampling = test.sampling.options(engine);
    let no_cache = test.n_depth == 0;
    let before = engine.device().counters();
    let requests = prompts.into_iter().enumerate().map(|(i, prompt)| {
        if test.parallel.is_some() {
            sampling.logit_bias = vec![(tokens(1, vocab, sequences + i)[0], REPEATED)];
        }
        let options = options(test.n_gen + 1, sampling.clone());
        let options = GenerateOptions { no_cache, lora: lora.clone(), ..options };
        GenerateRequest { prompt, options, ..GenerateRequest::default() }
    });
    let mut sample = Sample::default();
    for generation in engine.generate_together(requests) {
        let mut generation = generation?;
        finish(&mut generation).await?;
        let timings = generation.timings();
        let milliseconds = if test.n_gen == 0 { timings.prompt_ms } else { timings.predicted_ms };
        sample.seconds = sample.seconds.max(milliseconds / 1000.0);
        sample.first_token_ms = sample.first_token_ms.max(timings.first_token_ms);
    }
    // A prompt of one token is a pass like those of the tokens after it.
    let passes = if test.n_gen == 0 { 1 } else { (test.n_gen + 1) * sequences };
    Ok(per_token(engine, before, passes, sample))
}

/// The sequences of a test, each behind random tokens of its own.
async fn sequences(engine: &Engine, test: Test) -> Result<Vec<Sequence>, CliError> {
    let vocab = engine.config().vocab_size;
    let mut all = Vec::new();
    for i in 0..test.parallel.unwrap_or(1) {
        let mut sequence = engine.sequence()?;
        sequence.set_lora(loras::first(engine).as_ref())?;
        if test.n_depth > 0 {
            sequence.feed(&tokens(test.n_depth, vocab, i)).await?;
        }
        stop_if_interrupted()?;
        all.push(sequence);
    }
    Ok(all)
}

/// Makes these measurements.
pub async fn measure_once(engine: &Engine, test: Test) -> Result<Once, CliError> {
    if test.n_gen == 0 {
        return Ok(Once::default());
    }
    let mut sequences = sequences(engine, test).await?;
    let n = sequences.len();
    let row = tokens(n, engine.config().vocab_size, 2 * n);
    let sampling = test.sampling.options(engine);
    let mut parallel = Parallel::new(&mut sequences, &sampling).await?;
    let profile = parallel.profile(&row).await?;
    let distinct_experts = match test.parallel {
        Some(_) => parallel.distinct_experts(&row).await?,
        None => None,
    };
    Ok(Once { profile, distinct_experts })
}

/// Times each kernel of a test's pass: a chunk of the prompt, or a token of each sequence. Returns the rows too.
pub async fn profile(engine: &Engine, test: Test) -> Result<(usize, Option<Profile>), CliError> {
    let vocab = engine.config().vocab_size;
    let mut sequences = sequences(engine, test).await?;
    if let Some(n) = test.parallel {
        let sampling = test.sampling.options(engine);
        let mut parallel = Parallel::new(&mut sequences, &sampling).await?;
        return Ok((n, parallel.profile(&tokens(n, vocab, n)).await?));
    }
    let chunk = tokens(test.n_prompt.clamp(1, PROFILED), vocab, 0);
    Ok((chunk.len(), sequences[0].profile(&chunk).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_llama_bench() {
        let test = |n_prompt, n_gen, n_depth| Test { n_prompt, n_gen, n_depth, ..Test::default() };
        assert_eq!(test(512, 0, 0).name(), "pp512");
        assert_eq!(test(512, 0, 4096).name(), "pp512 @ d4096");
        assert_eq!(test(0, 128, 16).name(), "tg128 @ d16");
        let many = Test { parallel: Some(8), ..test(0, 32, 16) };
        assert_eq!((many.name().as_str(), many.tokens()), ("8 x tg32 @ d16", 256));
        let sampled = Test { sampling: Sampling::Nucleus, ..test(0, 8, 0) };
        assert_eq!(sampled.name(), "tg8, nucleus");
    }
}
