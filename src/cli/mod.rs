//! The command line: parses, calls the engine, prints. Only the answer goes to stdout.
//!
//! Exit codes: 0 for success, also if the reader of stdout has closed it; 2 for errors that the user
//! can correct (an option, a file, a missing driver); 1 for all others; 130 after Ctrl-C; 143 after
//! SIGTERM. An error is one line; a tip follows on a line of its own.

/// Like std's, but it ignores a closed stderr; std's panics.
macro_rules! eprintln {
    ($($text:tt)*) => {{
        let line = format_args!("{}\n", format_args!($($text)*));
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), line);
    }};
}

mod adapter_json;
mod batch;
mod bench;
mod caches;
mod chat;
mod compat;
mod completions;
mod divergence;
mod doctor;
mod editor;
mod error;
mod eval;
mod exec;
mod family;
mod generate;
mod help;
mod hub;
mod info;
mod input;
mod interrupt;
mod list;
mod load;
mod logging;
mod logits;
mod lora_scale;
mod loras;
mod merge;
mod options;
mod parse;
mod part_file;
mod perplexity;
mod print;
mod progress;
mod pull;
mod quantize;
mod repl;
mod rm;
mod screen;
mod selftest;
mod serve;
mod stats;
mod thinking;
mod tokenize;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub use error::CliError;
use options::Common;
use parse::Misread;
use serve::LogFormat;

/// Runs Liquid AI's LFM2 models on the GPU you already have
#[derive(Debug, Parser)]
#[command(name = "lfm2", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Chat with the model
    Chat(chat::Chat),
    /// Answer one prompt on stdout
    Generate(generate::Generate),
    /// Serve OpenAI's and Anthropic's APIs over HTTP
    Serve(serve::Serve),
    /// Answer a file of requests, many at once
    Batch(batch::Batch),
    /// Download a model from the Hugging Face hub
    Pull(pull::Pull),
    /// Quantise a model's weights and write them as a package
    Quantize(quantize::Quantize),
    /// Add LoRA adapters to a model's weights
    Merge(merge::Merge),
    /// List the downloaded models
    List(list::List),
    /// Delete a downloaded model
    Rm(rm::Rm),
    /// Convert between text, conversations and token ids
    Tokenize(tokenize::Tokenize),
    /// Write the logits of token ids to a safetensors file
    Logits(logits::Logits),
    /// Score greedy answers against expected ones
    Eval(eval::Eval),
    /// Measure the perplexity of a text as llama-perplexity does
    Perplexity(perplexity::Perplexity),
    /// Measure prefill and decode as llama-bench does, or a server under load
    Bench(bench::Bench),
    /// List the GPUs, their features in use, and a model's memory plan
    Info(info::Info),
    /// Check whether a model fits this machine, before a download
    Doctor(doctor::Doctor),
    /// Compare every kernel on this GPU with its CPU reference
    Selftest(selftest::Selftest),
    /// Compare this engine with published figures of LFM2-8B-A1B
    Verify(verify::Verify),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Options of the engine. Every command accepts them; its help names those that it uses
    #[command(hide = true, override_usage = "lfm2 <COMMAND> [ENGINE OPTIONS]", after_help = ENGINE_NOTES)]
    Engine,
}

impl Command {
    /// The log of a server has a format; other commands have no log by default.
    fn log_format(&self) -> Option<LogFormat> {
        match self {
            Self::Serve(serve) => Some(serve.log_format()),
            _ => None,
        }
    }
}

const ENGINE_NOTES: &str = "\
An environment variable can set each of them, e.g. LFM2_CONTEXT=4096 (`lfm2 --help`).";

const AFTER_HELP: &str = "\
`lfm2 'What is WebGPU?'` is short for `lfm2 generate 'What is WebGPU?'`.
Only the answer goes to stdout.

Engine options: `lfm2 help engine` lists them; every command accepts them.
Environment: a variable can set each option. Its name is LFM2_ and the option's long name in capitals, \
e.g. LFM2_MAX_TOKENS=100. The command line takes precedence.
Exit codes: 0 success; 2 an error that you can correct (an option, a file, a missing driver); 1 any \
other error; 130 Ctrl-C; 143 SIGTERM.";

/// Parses the arguments, runs the command and prints its error.
#[must_use]
pub fn main() -> ExitCode {
    quiet_driver();
    interrupt::listen();
    let args: Vec<_> = std::env::args_os().collect();
    let cli = match parse::parse::<Cli>(args.clone()) {
        Ok(cli) => cli,
        Err(Misread::Usage(e)) => return refuse(&e.problem, Some(&e.tip)),
        Err(Misread::Parser(e)) if e.kind() == NO_COMMAND => {
            let _ = e.print();
            return ExitCode::from(2);
        }
        Err(Misread::Parser(e)) if e.use_stderr() => {
            let e = parse::in_lines(&e, &args);
            return refuse(&e.problem, Some(&e.tip));
        }
        Err(Misread::Parser(help_or_version)) => {
            let _ = help_or_version.print();
            return ExitCode::SUCCESS;
        }
    };
    logging::init(&cli.common, cli.command.log_format());
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = std::io::stdout().flush();
            match &e {
                CliError::Interrupted | CliError::ReaderGone => {}
                CliError::Advised { tip, .. } => {
                    refuse(&e.to_string(), Some(tip));
                }
                _ => {
                    refuse(&e.to_string(), None);
                }
            }
            e.exit_code()
        }
    }
}

/// The whole command line with its long help texts, for the generated reference.
#[must_use]
pub fn command() -> clap::Command {
    parse::command_with_help::<Cli>(true)
}

const NO_COMMAND: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// Prints an error and its tip, a line each.
fn refuse(problem: &str, tip: Option<&str>) -> ExitCode {
    eprintln!("error: {problem}");
    if let Some(tip) = tip {
        eprintln!("tip: {tip}");
    }
    ExitCode::from(2)
}

impl Cli {
    fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Generate(generate) => generate.run(&self.common),
            Command::Serve(serve) => serve.run(&self.common),
            Command::Batch(batch) => batch.run(&self.common),
            Command::Tokenize(tokenize) => tokenize.run(&self.common),
            Command::Logits(logits) => logits.run(&self.common),
            Command::Eval(eval) => eval.run(&self.common),
            Command::Perplexity(perplexity) => perplexity.run(&self.common),
            Command::Chat(chat) => chat.run(&self.common),
            Command::Bench(bench) => bench.run(&self.common),
            Command::Info(info) => info.run(&self.common),
            Command::Doctor(doctor) => doctor.run(&self.common),
            Command::Selftest(selftest) => selftest.run(&self.common),
            Command::Verify(verify) => verify.run(&self.common),
            Command::Quantize(quantize) => quantize.run(&self.common),
            Command::Merge(merge) => merge.run(&self.common),
            Command::Pull(pull) => pull.run(&self.common),
            Command::List(list) => list.run(&self.common),
            Command::Rm(rm) => rm.run(&self.common),
            Command::Completions(completions) => completions.run(parse::command::<Cli>()),
            Command::Engine => print::print(&help::engine_topic(command())),
        }
    }
}

/// Turns off Mesa's device-select layer, which needs a Wayland display and prints an error without
/// one. The engine draws nothing on a display.
fn quiet_driver() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none()
        && std::env::var_os("NODEVICE_SELECT").is_none()
    {
        // SAFETY: no other thread has been started yet.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var("NODEVICE_SELECT", "1");
        }
    }
}
