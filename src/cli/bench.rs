//! `lfm2 bench`: measures with llama-bench's tests, table and field names.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::error::CliError;
use super::options::Common;
use super::print::print;
use super::{interrupt, load, progress, stats};
use crate::engine::{Engine, GenerateOptions, Generation, SamplingOptions, Session};
use crate::gpu::{Counters, Profile};

/// `--output`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A Markdown table
    Md,
    /// A JSON array
    Json,
    /// Comma-separated values with a header
    Csv,
}

#[derive(Debug, Args)]
pub struct Bench {
    /// Prompt lengths for prefill, in tokens, separated by commas
    #[arg(short = 'p', long, value_delimiter = ',', default_value = "512", env = "LFM2_N_PROMPT")]
    n_prompt: Vec<usize>,
    /// Numbers of tokens to generate
    #[arg(short = 'n', long, value_delimiter = ',', default_value = "128", env = "LFM2_N_GEN")]
    n_gen: Vec<usize>,
    /// Numbers of tokens already in the context
    #[arg(short = 'd', long, value_delimiter = ',', default_value = "0", env = "LFM2_N_DEPTH")]
    n_depth: Vec<usize>,
    /// Repetitions of each test, after a warm-up
    #[arg(short, long, default_value_t = 5, env = "LFM2_REPETITIONS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Format of the results: `md` (a table), `json` or `csv`
    #[arg(short, long, value_enum, default_value_t = Output::Md, env = "LFM2_OUTPUT", value_name = "FORMAT")]
    output: Output,
    /// Instead of --model: a published model's shape, or `mini`, with random weights (q4, or as --weights says)
    #[arg(long, env = "LFM2_SHAPE", value_parser = load::shape_names())]
    shape: Option<String>,
    /// Print the GPU time of each kernel instead, if the adapter has timestamps
    #[arg(long, env = "LFM2_PROFILE")]
    profile: bool,
}

/// One test: `n_prompt` tokens of prefill or `n_gen` of decode after `n_depth` tokens.
#[derive(Clone, Copy)]
struct Test {
    n_prompt: usize,
    n_gen: usize,
    n_depth: usize,
}

impl Test {
    fn name(self) -> String {
        let test = match self.n_gen {
            0 => format!("pp{}", self.n_prompt),
            n => format!("tg{n}"),
        };
        if self.n_depth == 0 { test } else { format!("{test} @ d{}", self.n_depth) }
    }

    fn tokens(self) -> usize {
        self.n_prompt.max(self.n_gen)
    }

    /// Positions needed: generation starts after at least one token.
    fn positions(self) -> usize {
        let generated = if self.n_gen > 0 { self.n_gen.saturating_add(2) } else { 1 };
        self.n_depth.saturating_add(self.n_prompt).saturating_add(generated)
    }
}

/// Measurements of one repetition.
#[derive(Clone, Copy, Default)]
struct Sample {
    seconds: f64,
    first_token_ms: f64,
    dispatches: f64,
    submissions: f64,
    readback_bytes: f64,
}

impl Bench {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let mut tests = Vec::new();
        for &n_depth in &self.n_depth {
            let prompts = self.n_prompt.iter().map(|&n| Test { n_prompt: n, n_gen: 0, n_depth });
            let texts = self.n_gen.iter().map(|&n| Test { n_prompt: 0, n_gen: n, n_depth });
            tests.extend(prompts.chain(texts).filter(|t| t.tokens() > 0));
        }
        let need = tests.iter().map(|t| t.positions()).max().unwrap_or(0);
        if need == 0 {
            return Err(CliError::User("-p, -n: both are 0, need one above 0".to_owned()));
        }
        let started = Instant::now();
        let engine = self.engine(common)?;
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
        let mut session = engine.session()?;
        if self.profile {
            return profile(&mut session, &tests);
        }
        let mut rows = Vec::new();
        let runs = (tests.len() as u64) * u64::from(self.repetitions + 1);
        let bar = progress::bar(common, runs, "bench [{bar:32}] {pos}/{len} {msg} {eta}");
        for test in tests {
            let mut samples = Vec::new();
            bar.set_message(test.name());
            for repetition in 0..=self.repetitions {
                bar.tick();
                let sample = pollster::block_on(measure(&mut session, test))?;
                bar.inc(1);
                // The first repetition is the warm-up.
                if repetition > 0 {
                    samples.push(sample);
                }
            }
            rows.push(Row::new(&engine, test, &samples));
        }
        bar.finish_and_clear();
        print(&render(&rows, self.output))
    }
}

impl Bench {
    fn engine(&self, common: &Common) -> Result<Engine, CliError> {
        let model = load::open_or_shape(self.shape.as_deref(), common)?;
        load::engine_of(model, common, |builder| builder)
    }
}

/// Runs a generation to its end.
async fn finish(generation: &mut Generation<'_>) -> Result<(), CliError> {
    while let Some(delta) = generation.next().await {
        delta?;
        if interrupt::requested() {
            return Err(CliError::Interrupted);
        }
    }
    Ok(())
}

/// Random token ids, as in llama-bench, but the same in every run.
fn tokens(n: usize, vocab: usize) -> Vec<u32> {
    let mut state = 0x9e37_79b9_u32;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % vocab as u32
        })
        .collect()
}

fn options(n: usize) -> GenerateOptions {
    GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(n),
        ignore_end: true,
        ..Default::default()
    }
}

async fn measure(session: &mut Session, test: Test) -> Result<Sample, CliError> {
    session.clear();
    let engine = session.engine().clone();
    let vocab = engine.config().vocab_size;
    let all = tokens(test.n_depth + test.n_prompt.max(1), vocab);
    if test.n_depth > 0 {
        finish(&mut session.generate(&all[..test.n_depth], &options(1))?).await?;
    }
    let mut generation = session.generate(&all, &options(test.n_gen + 1))?;
    // Prefill, up to the first token.
    while generation.timings().predicted_n == 0 {
        match generation.next().await {
            Some(_) if interrupt::requested() => return Err(CliError::Interrupted),
            Some(delta) => drop(delta?),
            None => break,
        }
    }
    let first = generation.timings();
    let before = engine.device().counters();
    let started = Instant::now();
    finish(&mut generation).await?;
    let after = engine.device().counters();
    let seconds = match test.n_gen {
        0 => first.prompt_ms / 1000.0,
        _ => started.elapsed().as_secs_f64(),
    };
    let per_token = |count: fn(&Counters) -> u64| {
        (count(&after) - count(&before)) as f64 / test.n_gen.max(1) as f64
    };
    Ok(Sample {
        seconds,
        first_token_ms: first.first_token_ms,
        dispatches: per_token(|c| c.dispatches),
        submissions: per_token(|c| c.submissions),
        readback_bytes: per_token(|c| c.readback_bytes),
    })
}

fn profile(session: &mut Session, tests: &[Test]) -> Result<(), CliError> {
    for test in tests {
        session.clear();
        let vocab = session.engine().config().vocab_size;
        let chunk = tokens(test.n_prompt.clamp(1, 512), vocab);
        if test.n_depth > 0 {
            let depth = tokens(test.n_depth, vocab);
            pollster::block_on(session.generate(&depth, &options(1))?.text())?;
        }
        let Some(profile) = pollster::block_on(session.profile(&chunk))? else {
            return Err(CliError::User(
                "--profile: this adapter has no timestamp queries, or --limits default disables them"
                    .to_owned(),
            ));
        };
        print(&profile_table(
            &format!("{} rows after {} tokens", chunk.len(), test.n_depth),
            &profile,
        ))?;
    }
    Ok(())
}

fn profile_table(title: &str, profile: &Profile) -> String {
    let total: f64 = profile.kernels.iter().map(|t| t.seconds).sum();
    let calls: u32 = profile.kernels.iter().map(|t| t.calls).sum();
    let mut text = format!(
        "{title}: {:.3} ms, medians of {} passes after a warm-up, of which about {:.3} ms for timing \
         {calls} kernels ({:.2} us each)\n",
        total * 1e3,
        profile.replays,
        profile.empty_pass * f64::from(calls) * 1e3,
        profile.empty_pass * 1e6,
    );
    for t in &profile.kernels {
        text += &format!(
            "{:9.3} ms {:5.1} % {} {:4} x {}\n",
            t.seconds * 1e3,
            100.0 * t.seconds / total,
            match t.weight_bytes {
                0.0 => " ".repeat(13),
                bytes => format!("{:8.2} GB/s", bytes / t.seconds / 1e9),
            },
            t.calls,
            t.kernel
        );
    }
    text
}

/// One row of results: llama-bench's fields, then our own.
struct Row {
    fields: Vec<(&'static str, serde_json::Value)>,
    table: [String; 8],
}

fn mean_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, variance.sqrt())
}

impl Row {
    fn new(engine: &Engine, test: Test, samples: &[Sample]) -> Self {
        use serde_json::json;
        let n = test.tokens() as f64;
        let ns: Vec<f64> = samples.iter().map(|s| (s.seconds * 1e9).round()).collect();
        let ts: Vec<f64> = samples.iter().map(|s| n / s.seconds).collect();
        let ((avg_ns, sd_ns), (avg_ts, sd_ts)) = (mean_sd(&ns), mean_sd(&ts));
        let of = |f: fn(&Sample) -> f64| mean_sd(&samples.iter().map(f).collect::<Vec<_>>()).0;
        let size = engine.size();
        let adapter = engine.device().adapter();
        let model = format!("{} {}", engine.config().model_type.name(), engine.weight_format());
        // Bytes of weights that decoding one token reads.
        let active = size.weight_bytes as f64 * size.active_parameters as f64
            / size.total_parameters.max(1) as f64;
        let generates = test.n_gen > 0;
        let generated = |value: f64| if generates { json!(value) } else { json!(null) };
        let peak = engine.device().counters().peak_allocated_bytes;
        let fields = vec![
            ("build_commit", json!(concat!("v", env!("CARGO_PKG_VERSION")))),
            ("backends", json!(adapter.backend)),
            ("gpu_info", json!(adapter.name)),
            ("driver", json!(adapter.driver)),
            ("software_adapter", json!(adapter.is_software())),
            ("choices", json!(engine.choices())),
            ("model_filename", json!(engine.place())),
            ("model_type", json!(model)),
            ("model_size", json!(size.weight_bytes)),
            ("model_n_params", json!(size.total_parameters)),
            ("n_prompt", json!(test.n_prompt)),
            ("n_gen", json!(test.n_gen)),
            ("n_depth", json!(test.n_depth)),
            ("test", json!(test.name())),
            ("test_time", json!(now())),
            ("avg_ns", json!(avg_ns.round() as u64)),
            ("stddev_ns", json!(sd_ns.round() as u64)),
            ("avg_ts", json!(avg_ts)),
            ("stddev_ts", json!(sd_ts)),
            ("samples_ns", json!(ns.iter().map(|n| *n as u64).collect::<Vec<_>>())),
            ("samples_ts", json!(ts)),
            ("time_to_first_token_ms", json!(of(|s| s.first_token_ms))),
            ("peak_gpu_bytes", json!(peak)),
            ("gb_per_second", generated(active * avg_ts / 1e9)),
            ("dispatches_per_token", generated(of(|s| s.dispatches))),
            ("submissions_per_token", generated(of(|s| s.submissions))),
            ("readback_bytes_per_token", generated(of(|s| s.readback_bytes))),
        ];
        let table = [
            model,
            stats::size(size.weight_bytes),
            format!("{:.2} M", size.total_parameters as f64 / 1e6),
            adapter.backend.clone(),
            adapter.name.clone(),
            test.name(),
            format!("{avg_ts:.2} ± {sd_ts:.2}"),
            match generates {
                true => format!(
                    "{:.0} dispatches, {:.2} submissions, {:.0} B read back per token, {:.2} GB/s",
                    of(|s| s.dispatches),
                    of(|s| s.submissions),
                    of(|s| s.readback_bytes),
                    active * avg_ts / 1e9
                ),
                false => format!("first token {:.1} ms", of(|s| s.first_token_ms)),
            },
        ];
        Self { fields, table }
    }
}

/// The time now, as `2026-11-24T09:30:00Z`.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let time = i64::try_from(seconds).unwrap_or(0);
    crate::text::strftime("%Y-%m-%dT%H:%M:%SZ", crate::text::Moment::utc(time)).unwrap_or_default()
}

fn render(rows: &[Row], output: Output) -> String {
    match output {
        Output::Md => {
            let mut text = String::from(
                "| model | size | params | backend | adapter | test | t/s | |\n\
                 | --- | ---: | ---: | --- | --- | ---: | ---: | --- |\n",
            );
            for row in rows {
                text += &format!("| {} |\n", row.table.join(" | "));
            }
            text
        }
        Output::Json => {
            let objects: Vec<serde_json::Map<_, _>> = rows
                .iter()
                .map(|r| r.fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
                .collect();
            format!("{}\n", serde_json::json!(objects))
        }
        Output::Csv => {
            let quoted = |v: &serde_json::Value| match v {
                serde_json::Value::String(s) => format!("\"{}\"", s.replace('"', "\"\"")),
                serde_json::Value::Null => String::new(),
                other => format!("\"{}\"", other.to_string().replace('"', "\"\"")),
            };
            let names = rows.first().map_or(Vec::new(), |r| r.fields.iter().map(|f| f.0).collect());
            let mut text = names.join(",") + "\n";
            for row in rows {
                let values: Vec<_> = row.fields.iter().map(|(_, v)| quoted(v)).collect();
                text += &(values.join(",") + "\n");
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::KernelTime;

    #[test]
    fn names_and_spreads_are_those_of_llama_bench() {
        let test = |n_prompt, n_gen, n_depth| Test { n_prompt, n_gen, n_depth }.name();
        assert_eq!(test(512, 0, 0), "pp512");
        assert_eq!(test(512, 0, 4096), "pp512 @ d4096");
        assert_eq!(test(0, 128, 16), "tg128 @ d16");
        assert_eq!(mean_sd(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(mean_sd(&[5.0]), (5.0, 0.0));
    }

    #[test]
    fn a_profile_includes_the_cost_of_measuring() {
        let kernel = |name: &str, calls, seconds| KernelTime {
            kernel: name.to_owned(),
            calls,
            seconds,
            weight_bytes: 0.0,
        };
        let kernels = vec![kernel("matvec a", 6, 3e-3), kernel("rms_norm", 4, 1e-3)];
        let profile = Profile { kernels, empty_pass: 4e-6, replays: 9 };
        let text = profile_table("1 rows after 0 tokens", &profile);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "1 rows after 0 tokens: 4.000 ms, medians of 9 passes after a warm-up, of which about \
             0.040 ms for timing 10 kernels (4.00 us each)"
        );
        assert_eq!(lines[1], format!("    3.000 ms  75.0 % {} {:4} x matvec a", " ".repeat(13), 6));
        assert_eq!(lines.len(), 3);
    }
}
