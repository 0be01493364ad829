//! The command line: parses, calls the engine, prints. stdout carries the answer and nothing else.
//!
//! Exit codes: 0 (also when the reader of stdout has gone away), 2 for what the user can mend (an
//! option, a file, a missing driver), 1 for the rest, 130 after Ctrl-C. An error is one line, and what
//! to type instead stands on a line of its own below it.

/// As std's, but a stderr that nobody reads any more ends nothing: std's panics.
macro_rules! eprintln {
    ($($text:tt)*) => {{
        let line = format_args!("{}\n", format_args!($($text)*));
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), line);
    }};
}

mod adapter_json;
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
mod family;
mod generate;
mod hub;
mod info;
mod input;
mod interrupt;
mod list;
mod load;
mod logging;
mod logits;
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

/// Runs Liquid AI's LFM2 models on the GPU you already have.
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
    /// Talk with the model
    Chat(chat::Chat),
    /// One answer to a prompt, streamed to stdout
    Generate(generate::Generate),
    /// Download a model from the hub
    Pull(pull::Pull),
    /// Store a model's weights in fewer bits, in files ready to be shared
    Quantize(quantize::Quantize),
    /// The downloaded models
    List(list::List),
    /// Delete a downloaded model
    Rm(rm::Rm),
    /// Text to token ids, conversations to prompts, ids to text
    Tokenize(tokenize::Tokenize),
    /// The logits of a text as a safetensors file
    Logits(logits::Logits),
    /// Score greedy answers against expected ones
    Eval(eval::Eval),
    /// The perplexity of a text, measured as llama-perplexity does
    Perplexity(perplexity::Perplexity),
    /// Measure prefill and decode, as llama-bench does
    Bench(bench::Bench),
    /// GPUs, what is used of them, and what a model takes
    Info(info::Info),
    /// Whether a model runs on this machine, how fast, and what to type, before it is downloaded
    Doctor(doctor::Doctor),
    /// Check every kernel on this GPU against the CPU
    Selftest(selftest::Selftest),
    /// Compare LFM2-8B-A1B's published figures with this engine's
    Verify(verify::Verify),
    /// Completions of commands and options for a shell
    Completions(completions::Completions),
}

const AFTER_HELP: &str = "\
`lfm2 'What is WebGPU?'`, a question instead of a command, is answered as by `lfm2 generate`. stdout \
carries the answer and nothing else. Exit codes: 0; 2 for what you can put right (an option, a file, \
a missing driver); 1 for the rest; 130 after Ctrl-C. Every option can be given as the variable \
that --help shows beside it; an option on the command line goes before a variable.";

/// Parses the arguments, runs the command and says what went wrong.
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
    logging::init(&cli.common);
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

/// The parser of the whole command line, also for the generated reference.
#[must_use]
pub fn command() -> clap::Command {
    parse::command::<Cli>()
}

const NO_COMMAND: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// Says what is wrong in one line, and what to type on another.
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
            Command::Pull(pull) => pull.run(&self.common),
            Command::List(list) => list.run(&self.common),
            Command::Rm(rm) => rm.run(&self.common),
            Command::Completions(completions) => completions.run(command()),
        }
    }
}

/// Mesa's device-select layer asks for a Wayland display and complains on stderr where there is
/// none. The engine shows nothing on a display.
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
