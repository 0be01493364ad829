//! Results of `lfm2 bench --serve`, under the names of `vllm bench serve`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::drive::{Load, Outcome, Test};
use super::events::Sample;
use super::results::{Fields, Output, csv_text, json_text, now};

/// The server, and the seed of all tests.
pub struct Setup {
    pub url: String,
    pub model: String,
    pub seed: u64,
}

/// Statistics of one quantity in milliseconds.
#[derive(Debug, PartialEq)]
struct Spread {
    mean: f64,
    std: f64,
    median: f64,
    p90: f64,
    p99: f64,
}

impl Spread {
    /// Of times in seconds; `None` if there are none.
    fn of(mut seconds: Vec<f64>) -> Option<Self> {
        if seconds.is_empty() {
            return None;
        }
        seconds.sort_by(f64::total_cmp);
        let n = seconds.len() as f64;
        let mean = seconds.iter().sum::<f64>() / n;
        let variance = seconds.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
        let at = |fraction| 1e3 * percentile(&seconds, fraction);
        Some(Self {
            mean: 1e3 * mean,
            std: 1e3 * variance.sqrt(),
            median: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
        })
    }
}

/// The value below which a fraction of the sorted values lies, interpolated as by numpy.
fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    let place = fraction * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or_default();
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

/// The figures of one test.
pub struct Figures {
    test: Test,
    seconds: f64,
    completed: usize,
    failed: usize,
    errors: BTreeMap<String, usize>,
    input: usize,
    cached: Option<usize>,
    output: usize,
    ttft: Option<Spread>,
    tpot: Option<Spread>,
    itl: Option<Spread>,
    e2el: Option<Spread>,
}

impl Figures {
    pub fn new(test: Test, outcome: &Outcome) -> Self {
        let samples = &outcome.samples;
        let each =
            |of: fn(&Sample) -> Option<f64>| Spread::of(samples.iter().filter_map(of).collect());
        let mut errors = BTreeMap::new();
        for failure in &outcome.failures {
            *errors.entry(failure.to_string()).or_insert(0) += 1;
        }
        let cached = samples.iter().filter_map(|sample| sample.cached_tokens);
        Self {
            test,
            seconds: outcome.seconds,
            completed: samples.len(),
            failed: outcome.failures.len(),
            errors,
            input: samples.iter().map(|sample| sample.prompt_tokens).sum(),
            cached: cached.reduce(|a, b| a + b),
            output: samples.iter().map(|sample| sample.output_tokens).sum(),
            ttft: each(|sample| Some(sample.first)),
            tpot: each(|sample| match sample.output_tokens {
                0 | 1 => None,
                tokens => Some((sample.last - sample.first) / (tokens - 1) as f64),
            }),
            itl: Spread::of(samples.iter().flat_map(|sample| sample.gaps.clone()).collect()),
            e2el: each(|sample| Some(sample.last)),
        }
    }

    pub fn completed(&self) -> usize {
        self.completed
    }

    /// Lines about the failures: `1024/128 c4: 3 failed: ...`.
    pub fn failures(&self) -> Vec<String> {
        let name = self.test.name();
        self.errors.iter().map(|(why, n)| format!("{name}: {n} failed: {why}")).collect()
    }

    fn per_second(&self, count: usize) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    fn spreads(&self) -> [(&'static str, &'static str, Option<&Spread>); 4] {
        [
            ("TTFT", "ttft", self.ttft.as_ref()),
            ("TPOT", "tpot", self.tpot.as_ref()),
            ("ITL", "itl", self.itl.as_ref()),
            ("E2EL", "e2el", self.e2el.as_ref()),
        ]
    }

    fn fields(&self, setup: &Setup) -> Fields {
        let (concurrency, rate) = match self.test.load {
            Load::Closed(n) => (json!(n), json!("inf")),
            Load::Open(rate) => (Value::Null, json!(rate)),
        };
        let mut fields: Fields = [
            ("date", json!(now())),
            ("base_url", json!(setup.url)),
            ("model_id", json!(setup.model)),
            ("test", json!(self.test.name())),
            ("num_prompts", json!(self.test.requests)),
            ("random_input_len", json!(self.test.prompt_tokens)),
            ("random_output_len", json!(self.test.output_tokens)),
            ("random_prefix_len", json!(self.test.shared)),
            ("max_concurrency", concurrency),
            ("request_rate", rate),
            ("seed", json!(setup.seed)),
            ("duration", json!(self.seconds)),
            ("completed", json!(self.completed)),
            ("failed", json!(self.failed)),
            ("errors", json!(self.errors)),
            ("total_input_tokens", json!(self.input)),
            ("total_cached_tokens", json!(self.cached)),
            ("total_output_tokens", json!(self.output)),
            ("request_throughput", json!(self.per_second(self.completed))),
            ("output_throughput", json!(self.per_second(self.output))),
            ("total_token_throughput", json!(self.per_second(self.input + self.output))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (_, name, spread) in self.spreads() {
            let mut add = |statistic: &str, of: fn(&Spread) -> f64| {
                fields.push((format!("{statistic}_{name}_ms"), json!(spread.map(of))));
            };
            add("mean", |s| s.mean);
            add("median", |s| s.median);
            add("std", |s| s.std);
            add("p90", |s| s.p90);
            add("p99", |s| s.p99);
        }
        fields
    }

    /// The rows of the table: a name and a value.
    fn rows(&self) -> Vec<(String, String)> {
        let decimals = |value: f64| format!("{value:.2}");
        let mut rows: Vec<(String, String)> = [
            ("Successful requests", self.completed.to_string()),
            ("Failed requests", self.failed.to_string()),
            ("Benchmark duration (s)", decimals(self.seconds)),
            ("Total input tokens", self.input.to_string()),
            ("Total cached tokens", self.cached.map_or("-".to_owned(), |n| n.to_string())),
            ("Total generated tokens", self.output.to_string()),
            ("Request throughput (req/s)", decimals(self.per_second(self.completed))),
            ("Output token throughput (tok/s)", decimals(self.per_second(self.output))),
            ("Total token throughput (tok/s)", decimals(self.per_second(self.input + self.output))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (name, _, spread) in self.spreads() {
            let mut add = |statistic: &str, of: fn(&Spread) -> f64| {
                let value = spread.map_or("-".to_owned(), |spread| decimals(of(spread)));
                rows.push((format!("{statistic} {name} (ms)"), value));
            };
            add("Mean", |s| s.mean);
            add("Median", |s| s.median);
            add("P90", |s| s.p90);
            add("P99", |s| s.p99);
        }
        rows
    }
}

/// The results in a format.
pub fn render(setup: &Setup, all: &[Figures], output: Output) -> String {
    let fields = || all.iter().map(|figures| figures.fields(setup)).collect::<Vec<_>>();
    match output {
        Output::Md => table(all),
        Output::Json => json_text(&fields()),
        Output::Csv => csv_text(&fields()),
    }
}

/// A column for each test.
fn table(all: &[Figures]) -> String {
    let mut lines = vec![String::from("| "), String::from("| ---")];
    for figures in all {
        let rows = figures.rows();
        if lines.len() == 2 {
            lines.extend(rows.iter().map(|(name, _)| format!("| {name}")));
        }
        let values = rows.into_iter().map(|(_, value)| value);
        let column = [figures.test.name(), "---:".to_owned()].into_iter().chain(values);
        for (line, value) in lines.iter_mut().zip(column) {
            *line += &format!(" | {value}");
        }
    }
    lines.iter().map(|line| format!("{line} |\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::events::Failure;

    /// Values of numpy.percentile.
    #[test]
    fn percentiles_are_those_of_numpy() {
        let four = [1.0, 2.0, 4.0, 8.0];
        for (fraction, expected) in [(0.0, 1.0), (0.5, 3.0), (0.9, 6.8), (0.99, 7.88), (1.0, 8.0)] {
            assert!((percentile(&four, fraction) - expected).abs() < 1e-12, "{fraction}");
        }
        assert_eq!(percentile(&[5.0], 0.99), 5.0);
        let spread = Spread::of(vec![0.004, 0.001, 0.008, 0.002]).unwrap();
        assert!((spread.mean - 3.75).abs() < 1e-9 && (spread.median - 3.0).abs() < 1e-9);
        assert!((spread.std - 2.680_951).abs() < 1e-6, "{spread:?}");
        assert_eq!(Spread::of(Vec::new()), None);
    }

    fn figures() -> Figures {
        let test = Test {
            prompt_tokens: 10,
            output_tokens: 3,
            shared: 0,
            load: Load::Closed(2),
            requests: 4,
        };
        let sample = |first: f64, gaps: [f64; 2]| Sample {
            first,
            last: first + gaps.iter().sum::<f64>(),
            gaps: gaps.to_vec(),
            prompt_tokens: 10,
            cached_tokens: Some(4),
            output_tokens: 3,
        };
        let samples = vec![sample(0.1, [0.01, 0.03]), sample(0.3, [0.02, 0.02])];
        let failures = vec![Failure::Cut, Failure::Cut];
        Figures::new(test, &Outcome { seconds: 2.0, samples, failures })
    }

    #[test]
    fn figures_are_of_tokens_and_of_requests() {
        let figures = figures();
        let setup = Setup { url: "http://h".to_owned(), model: "m".to_owned(), seed: 1 };
        let json: Value = serde_json::from_str(&render(&setup, &[figures], Output::Json)).unwrap();
        let near = |name: &str, expected: f64| {
            let value = json[0][name].as_f64().unwrap();
            assert!((value - expected).abs() < 1e-9, "{name}: {value}");
        };
        near("completed", 2.0);
        near("failed", 2.0);
        near("request_throughput", 1.0);
        near("output_throughput", 3.0);
        near("total_token_throughput", 13.0);
        near("total_cached_tokens", 8.0);
        near("mean_ttft_ms", 200.0);
        near("mean_tpot_ms", 20.0);
        near("median_itl_ms", 20.0);
        near("p99_itl_ms", 29.7);
        near("mean_e2el_ms", 240.0);
        assert_eq!(json[0]["errors"], json!({ "the stream ended before the answer did": 2 }));
        assert_eq!(
            (&json[0]["max_concurrency"], &json[0]["request_rate"]),
            (&json!(2), &json!("inf"))
        );
    }

    #[test]
    fn the_table_has_a_column_for_each_test() {
        let all = [figures(), figures()];
        let setup = Setup { url: String::new(), model: String::new(), seed: 1 };
        let text = render(&setup, &all, Output::Md);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "|  | 10/3 c2 | 10/3 c2 |");
        assert_eq!(lines[1], "| --- | ---: | ---: |");
        assert_eq!(lines[2], "| Successful requests | 2 | 2 |");
        assert!(text.contains("| P99 ITL (ms) | 29.70 | 29.70 |"), "{text}");
        assert_eq!(
            all[0].failures(),
            ["10/3 c2: 2 failed: the stream ended before the answer did"]
        );
        let csv = render(&setup, &all, Output::Csv);
        assert_eq!((csv.lines().count(), csv.starts_with("date,base_url,")), (3, true));
    }
}
