//! `lfm2 completions`: prints a shell script that completes commands and options.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::error::CliError;
use super::print::print;

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Completions {
    /// Shell that runs the script
    #[arg(value_enum, env = "LFM2_SHELL")]
    shell: Shell,
}

const NOTES: &str = "\
Examples:
  lfm2 completions bash > ~/.local/share/bash-completion/completions/lfm2
  lfm2 completions zsh > ~/.zfunc/_lfm2
  lfm2 completions fish > ~/.config/fish/completions/lfm2.fish
  lfm2 completions powershell >> $PROFILE";

impl Completions {
    pub fn run(self, mut command: Command) -> Result<(), CliError> {
        let mut text = Vec::new();
        generate(self.shell, &mut command, "lfm2", &mut text);
        print(&String::from_utf8_lossy(&text))
    }
}
