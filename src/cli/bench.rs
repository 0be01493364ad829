//! `lfm2 bench`: measures with llama-bench's tests, table and field names, or a server with those of vLLM.

mod client;
mod drive;
mod events;
mod measure;
mod prompts;
mod random;
mod report;
mod results;
mod serve;

use std::time::Instant;

use clap::Args;
use clap::builder::ArgPredicate;

use super::error::CliError;
use super::options::Common;
use super::print::print;
use super::{load, progress};
use crate::engine::Engine;
use measure::{Sampling, Test};
use results::{Output, Row};
use serve::LoadOptions;

#[derive(Debug, Args)]
pub struct Bench {
    /// Prompt lengths in tokens (1024 with --serve)
    #[arg(
        short = 'p',
        long,
        value_delimiter = ',',
        default_value = "512",
        env = "LFM2_N_PROMPT",
        default_value_if("serve", ArgPredicate::IsPresent, "1024")
    )]
    n_prompt: Vec<usize>,
    /// Numbers of tokens to generate, separated by commas
    #[arg(short = 'n', long, value_delimiter = ',', default_value = "128", env = "LFM2_N_GEN")]
    n_gen: Vec<usize>,
    /// Numbers of tokens already in the context
    #[arg(short = 'd', long, value_delimiter = ',', default_value = "0", env = "LFM2_N_DEPTH")]
    n_depth: Vec<usize>,
    /// Numbers of sequences that decode at once, each with random tokens of its own; t/s is their total
    #[arg(long, value_delimiter = ',', env = "LFM2_PARALLEL", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: Vec<u32>,
    /// Kinds of sampling: `greedy`, `recommended` (the model's) or `nucleus` (top_k 50, top_p 0.9,
    /// repetition penalty 1.05), separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "greedy",
        env = "LFM2_SAMPLING",
        value_name = "NAME"
    )]
    sampling: Vec<Sampling>,
    /// Repetitions of each test, after a warm-up
    #[arg(short, long, default_value_t = 5, env = "LFM2_REPETITIONS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Format of the results: `md` (a table), `json` or `csv`
    #[arg(short, long, value_enum, default_value_t = Output::Md, env = "LFM2_OUTPUT", value_name = "FORMAT")]
    output: Output,
    /// Instead of --model: random weights (q4, or as --weights says) in the sizes of a published model or of `mini`
    #[arg(long, env = "LFM2_SHAPE", value_parser = load::shape_names())]
    shape: Option<String>,
    /// Print the GPU time of each kernel instead, as text or JSON; needs a GPU with timestamps
    #[arg(long, env = "LFM2_PROFILE")]
    profile: bool,
    /// Measure latency and throughput of a server of OpenAI's API instead, e.g.
    /// http://127.0.0.1:8080
    #[arg(long, env = "LFM2_SERVE", value_name = "URL",
        conflicts_with_all = ["model", "n_depth", "parallel", "sampling", "repetitions", "shape", "profile"])]
    serve: Option<String>,
    #[command(flatten)]
    load: LoadOptions,
}

impl Bench {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        if let Some(url) = &self.serve {
            return self.load.run(url, &self.n_prompt, &self.n_gen, self.output, common);
        }
        self.load.check_unused()?;
        let tests = self.tests();
        let need = tests.iter().map(|t| t.positions()).max().unwrap_or(0);
        if need == 0 {
            return Err(CliError::User("-p, -n: both are 0, need one above 0".to_owned()));
        }
        let started = Instant::now();
        let engine = self.engine(common, need)?;
        if !common.quiet {
            eprintln!("ready after {:.2} s", started.elapsed().as_secs_f64());
        }
        if need > engine.context_length() {
            return Err(CliError::User(format!(
                "-p, -n, -d: the tests need a context of {need} tokens, it is {}; use a larger \
                 --context",
                engine.context_length()
            )));
        }
        if self.profile {
            return self.profile(&engine, &tests);
        }
        let mut rows = Vec::new();
        let runs = (tests.len() as u64) * u64::from(self.repetitions + 1);
        let bar = progress::bar(common, runs, "bench [{bar:32}] {pos}/{len} {msg} {eta}");
        for test in tests {
            let mut samples = Vec::new();
            bar.set_message(test.name());
            for repetition in 0..=self.repetitions {
                let sample = pollster::block_on(measure::measure(&engine, test))?;
                bar.inc(1);
                // The first repetition is the warm-up.
                if repetition > 0 {
                    samples.push(sample);
                }
            }
            let once = pollster::block_on(measure::measure_once(&engine, test))?;
            rows.push(Row::new(&engine, test, &samples, &once));
        }
        bar.finish_and_clear();
        print(&results::render(&rows, self.output))
    }

    /// The tests, by depth.
    fn tests(&self) -> Vec<Test> {
        let mut tests = Vec::new();
        for &n_depth in &self.n_depth {
            let test = Test { n_depth, ..Test::default() };
            tests.extend(self.n_prompt.iter().map(|&n_prompt| Test { n_prompt, ..test }));
            for &n_gen in &self.n_gen {
                for &sampling in &self.sampling {
                    let test = Test { n_gen, sampling, ..test };
                    let parallel = self.parallel.iter().map(|n| Some(*n as usize));
                    tests.extend(parallel.map(|parallel| Test { parallel, ..test }));
                    if self.parallel.is_empty() {
                        tests.push(test);
                    }
                }
            }
        }
        tests.retain(|t| t.tokens() > 0);
        tests
    }

    /// Most sequences at once.
    fn sequences(&self) -> u32 {
        self.parallel.iter().copied().max().unwrap_or(1)
    }

    fn engine(&self, common: &Common, need: usize) -> Result<Engine, CliError> {
        let model = load::open_or_shape(self.shape.as_deref(), common)?;
        let sequences = self.sequences();
        // Every sequence has memory for a whole context, so many get no more than they need.
        let need = u32::try_from(need).ok();
        let context = need.filter(|_| sequences > 1 && common.context.is_none());
        load::engine_of(model, common, |builder| {
            let builder = builder.sequences(sequences);
            match context {
                Some(need) => builder.context_length(need),
                None => builder,
            }
        })
    }

    fn profile(&self, engine: &Engine, tests: &[Test]) -> Result<(), CliError> {
        let mut profiles = Vec::new();
        for test in tests {
            let (rows, profile) = pollster::block_on(measure::profile(engine, *test))?;
            let Some(profile) = profile else {
                return Err(CliError::User(
                    "--profile: this adapter has no timestamp queries, or --limits default disables \
                     them"
                        .to_owned(),
                ));
            };
            if self.output == Output::Json {
                profiles.push(results::profile_json(rows, *test, &profile));
            } else {
                let title = format!("{rows} rows after {} tokens", test.n_depth);
                print(&results::profile_table(&title, &profile))?;
            }
        }
        match self.output {
            Output::Json => print(&format!("{}\n", serde_json::json!(profiles))),
            Output::Md | Output::Csv => Ok(()),
        }
    }
}
