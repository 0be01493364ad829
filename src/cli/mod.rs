//! The command line: parses, calls the engine, prints. stdout carries the answer and nothing else.
//!
//! Exit codes: 0, 2 for what the user can mend (an option, a file, a missing driver), 1 for the
//! rest, 130 after Ctrl-C.

mod bench;
mod chat;
mod divergence;
mod editor;
mod error;
mod eval;
mod generate;
mod hub;
mod info;
mod interrupt;
mod list;
mod load;
mod logits;
mod options;
mod parse;
mod part_file;
mod perplexity;
mod pull;
mod quantize;
mod repl;
mod rm;
mod selftest;
mod stats;
mod tokenize;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub use error::CliError;
use options::Common;
pub use parse::command;

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
    /// How well the model foretells a text, as llama-perplexity measures it
    Perplexity(perplexity::Perplexity),
    /// Measure prefill and decode, as llama-bench does
    Bench(bench::Bench),
    /// GPUs, what is used of them, and what a model takes
    Info(info::Info),
    /// Check every kernel on this GPU against the CPU
    Selftest(selftest::Selftest),
    /// Compare LFM2-8B-A1B's published figures with this engine's
    Verify(verify::Verify),
}

const AFTER_HELP: &str = "\
stdout carries the answer and nothing else. Exit codes: 0; 2 for what you can mend (an option, a \
file, a missing driver); 1 for the rest; 130 after Ctrl-C. Every option can be given as the \
variable beside it; an option on the command line goes before a variable.";

/// Parses the arguments, runs the command and says what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    quiet_driver();
    interrupt::listen();
    let cli = match parse::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(e) if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = e.print();
            return ExitCode::from(2);
        }
        Err(e) if e.use_stderr() => {
            let _ = writeln!(std::io::stderr(), "{}", one_line(&e.to_string()));
            return ExitCode::from(2);
        }
        Err(help_or_version) => {
            let _ = help_or_version.print();
            return ExitCode::SUCCESS;
        }
    };
    cli.common.init_logging();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = std::io::stdout().flush();
            if !matches!(e, CliError::Interrupted | CliError::ReaderGone) {
                // The last words are written at once, whatever else is buffered.
                let _ = writeln!(std::io::stderr(), "error: {e}");
            }
            e.exit_code()
        }
    }
}

/// clap's message without its usage and tips: an error is one line.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|l| !l.starts_with("Usage:"));
    let kept: Vec<_> = lines.filter(|l| !l.is_empty() && !l.starts_with("For more")).collect();
    format!("{} (--help shows all)", kept.join(" "))
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
            Command::Selftest(selftest) => selftest.run(&self.common),
            Command::Verify(verify) => verify.run(&self.common),
            Command::Quantize(quantize) => quantize.run(&self.common),
            Command::Pull(pull) => pull.run(&self.common),
            Command::List(list) => list.run(&self.common),
            Command::Rm(rm) => rm.run(&self.common),
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
