//! `lfm2 bench --serve`: measures a server of OpenAI's API under load.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::client::Client;
use super::drive::{Load, Test, drive};
use super::report::{Figures, Setup, render};
use super::results::Output;
use crate::cli::error::CliError;
use crate::cli::options::Common;
use crate::cli::print::print;
use crate::cli::{interrupt, progress};

/// Numbers of requests at once, unless others are given.
const CONCURRENCY: [u32; 5] = [1, 2, 4, 8, 16];
/// Requests of a test for each at once, unless a number is given.
const REQUESTS_EACH: usize = 8;
/// Requests of a test with a rate, unless a number is given.
const REQUESTS: usize = 64;
/// Requests before a test with a rate, which are not counted.
const WARM_UP: usize = 4;

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of --serve")]
pub struct LoadOptions {
    /// Numbers of requests at once, separated by commas. Default: 1,2,4,8,16, or none with --request-rate
    #[arg(long, value_delimiter = ',', env = "LFM2_CONCURRENCY", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: Vec<u32>,
    /// Rates in requests a second, separated by commas: requests start at random times (a Poisson process) and do
    /// not wait for answers
    #[arg(long, value_delimiter = ',', env = "LFM2_REQUEST_RATE", value_name = "R", value_parser = rate)]
    request_rate: Vec<f64>,
    /// Requests of each test. Default: 8 times --concurrency, or 64 with --request-rate
    #[arg(long, env = "LFM2_REQUESTS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: Option<u32>,
    /// Measure again with prompts that share their first TOKENS tokens
    #[arg(long, env = "LFM2_SHARED_PREFIX", value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    shared_prefix: Option<u32>,
    /// Seed of prompts and times. Default: a new one in each run, so that no server has cached the prompts
    #[arg(id = "load_seed", long = "seed", env = "LFM2_SEED", value_name = "SEED")]
    seed: Option<u32>,
    /// The model's name on the server. Default: the first listed there
    #[arg(long, env = "LFM2_SERVED_MODEL", value_name = "NAME")]
    served_model: Option<String>,
    /// The server's key. Other users of this machine can see it; the variable LFM2_API_KEY hides it
    #[arg(
        id = "load_key",
        long = "api-key",
        env = "LFM2_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
}

/// Reads a rate above 0.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("need requests a second, from 0.001 to 10000".to_owned()),
    }
}

impl LoadOptions {
    /// Refuses options that only have an effect with `--serve`. Variables of a seed and of a key also serve other
    /// commands.
    pub fn check_unused(&self) -> Result<(), CliError> {
        let used = [
            ("--concurrency", !self.concurrency.is_empty()),
            ("--request-rate", !self.request_rate.is_empty()),
            ("--requests", self.requests.is_some()),
            ("--shared-prefix", self.shared_prefix.is_some()),
            ("--served-model", self.served_model.is_some()),
        ];
        match used.iter().find(|(_, is_used)| *is_used) {
            Some((name, _)) => Err(CliError::User(format!("{name}: needs --serve URL"))),
            None => Ok(()),
        }
    }

    /// Measures the server at `url` with prompts and answers of these lengths.
    pub fn run(
        self,
        url: &str,
        prompts: &[usize],
        answers: &[usize],
        output: Output,
        common: &Common,
    ) -> Result<(), CliError> {
        let tests = self.tests(prompts, answers)?;
        let seed = self.seed.unwrap_or_else(seed_of_now);
        let client = Arc::new(Client::connect(url, self.api_key, self.served_model)?);
        let setup =
            Setup { url: url.to_owned(), model: client.model().to_owned(), seed: u64::from(seed) };
        if !common.quiet {
            let about = if client.counts_tokens() {
                ""
            } else {
                ", which has no /tokenize: lengths of prompts are in words"
            };
            eprintln!("measuring {} on {url}{about} (--seed {seed})", setup.model);
        }
        let all: Vec<Figures> = measure(&client, &tests, &setup, common);
        print(&render(&setup, &all, output))?;
        for line in all.iter().flat_map(Figures::failures) {
            eprintln!("{line}");
        }
        if interrupt::requested() {
            return Err(CliError::Interrupted);
        }
        match all.iter().any(|figures| figures.completed() > 0) {
            true => Ok(()),
            false => Err(CliError::Internal(format!("--serve {url}: all requests have failed"))),
        }
    }

    /// All tests without shared tokens, then all with them.
    fn tests(&self, prompts: &[usize], answers: &[usize]) -> Result<Vec<Test>, CliError> {
        let shortest = prompts.iter().copied().min().unwrap_or(0);
        if shortest == 0 {
            return Err(CliError::User("-p: --serve needs at least 1".to_owned()));
        }
        if answers.contains(&0) {
            return Err(CliError::User("-n: --serve needs at least 1".to_owned()));
        }
        let shared = self.shared_prefix.map(|tokens| tokens as usize);
        if let Some(shared) = shared.filter(|shared| *shared >= shortest) {
            return Err(CliError::User(format!(
                "--shared-prefix: {shared} tokens are a whole prompt of -p {shortest}; each needs one of its own"
            )));
        }
        let defaults: &[u32] = match (self.concurrency.is_empty(), self.request_rate.is_empty()) {
            (true, true) => &CONCURRENCY,
            _ => &self.concurrency,
        };
        let closed = defaults.iter().map(|n| Load::Closed(*n as usize));
        let loads: Vec<Load> =
            closed.chain(self.request_rate.iter().map(|rate| Load::Open(*rate))).collect();
        let mut tests = Vec::new();
        for shared in std::iter::once(0).chain(shared) {
            for &prompt_tokens in prompts {
                for &output_tokens in answers {
                    for &load in &loads {
                        let requests = self.requests_of(load);
                        let test = Test { prompt_tokens, output_tokens, shared, load, requests };
                        tests.push(test);
                    }
                }
            }
        }
        Ok(tests)
    }

    fn requests_of(&self, load: Load) -> usize {
        match (self.requests, load) {
            (Some(n), _) => n as usize,
            (None, Load::Closed(at_once)) => REQUESTS_EACH * at_once,
            (None, Load::Open(_)) => REQUESTS,
        }
    }
}

/// A seed that differs from run to run.
fn seed_of_now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_millis() % u128::from(u32::MAX)) as u32
}

/// Measures one test after the other, each after a warm-up, until Ctrl-C.
fn measure(client: &Arc<Client>, tests: &[Test], setup: &Setup, common: &Common) -> Vec<Figures> {
    let warm_up = |test: Test| match test.load {
        Load::Closed(at_once) => Test { requests: at_once, ..test },
        Load::Open(_) => Test { requests: WARM_UP, load: Load::Closed(WARM_UP), ..test },
    };
    let total: usize = tests.iter().map(|test| test.requests + warm_up(*test).requests).sum();
    let bar = progress::bar(common, total as u64, "bench [{bar:32}] {pos}/{len} {msg} {eta}");
    let mut all = Vec::new();
    // No two prompts of a run have the same number.
    let mut first = 0;
    for test in tests {
        bar.set_message(test.name());
        for (test, is_counted) in [(warm_up(*test), false), (*test, true)] {
            if interrupt::requested() {
                break;
            }
            let outcome = drive(client, test, setup.seed, first, &mut || bar.inc(1));
            first += test.requests as u64;
            let has_answers = !outcome.samples.is_empty() || !outcome.failures.is_empty();
            if is_counted && has_answers {
                all.push(Figures::new(test, &outcome));
            }
        }
    }
    bar.finish_and_clear();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(
        concurrency: &[u32],
        request_rate: &[f64],
        shared_prefix: Option<u32>,
    ) -> LoadOptions {
        LoadOptions {
            concurrency: concurrency.to_vec(),
            request_rate: request_rate.to_vec(),
            requests: None,
            shared_prefix,
            seed: None,
            served_model: None,
            api_key: None,
        }
    }

    #[test]
    fn tests_are_of_every_load_without_and_with_shared_tokens() {
        let names = |options: &LoadOptions| -> Vec<String> {
            let tests = options.tests(&[64], &[8]).unwrap();
            tests.iter().map(|test| format!("{} x{}", test.name(), test.requests)).collect()
        };
        let default = names(&options(&[], &[], None));
        let expected = ["64/8 c1 x8", "64/8 c2 x16", "64/8 c4 x32", "64/8 c8 x64", "64/8 c16 x128"];
        assert_eq!(default, expected);
        let both = names(&options(&[2], &[0.5], Some(48)));
        let expected =
            ["64/8 c2 x16", "64/8 r0.5 x64", "64/8 c2 shared 48 x16", "64/8 r0.5 shared 48 x64"];
        assert_eq!(both, expected);
        assert_eq!(names(&options(&[], &[3.0], None)), ["64/8 r3 x64"]);
    }

    #[test]
    fn lengths_are_checked_by_name() {
        let problem = |shared, prompt, answer| {
            let tests = options(&[], &[], shared).tests(&[prompt], &[answer]);
            tests.unwrap_err().to_string()
        };
        assert!(problem(None, 0, 1).starts_with("-p: "));
        assert!(problem(None, 1, 0).starts_with("-n: "));
        assert!(problem(Some(64), 64, 1).starts_with("--shared-prefix: 64 "));
        let unused = LoadOptions { requests: Some(3), ..options(&[], &[], None) };
        assert_eq!(unused.check_unused().unwrap_err().to_string(), "--requests: needs --serve URL");
        assert!(rate("0").is_err() && rate("nan").is_err() && rate("1e9").is_err());
        assert_eq!(rate("2.5"), Ok(2.5));
    }
}
