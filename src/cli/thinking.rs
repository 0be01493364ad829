//! Reasoning, which goes to stderr: stdout has only the answer.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::str::FromStr;

use clap::{Args, ValueEnum};

/// `--thinking` of commands that answer.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Thinking {
    /// Reasoning on stderr: `show` (default at a terminal) or `hide` it
    #[arg(long, env = "LFM2_THINKING", value_enum, value_name = "CHOICE")]
    thinking: Option<Choice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Print it to stderr, dimmed at a terminal
    Show,
    /// Leave it out
    Hide,
}

impl FromStr for Thinking {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let choice = Choice::from_str(text, false).map_err(|_| "expected show or hide")?;
        Ok(Self { thinking: Some(choice) })
    }
}

impl fmt::Display for Thinking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.thinking {
            Some(Choice::Show) => "show",
            Some(Choice::Hide) => "hide",
            None => "show at a terminal",
        })
    }
}

impl Thinking {
    /// Output for the reasoning of one answer; `quiet`: hidden by default.
    pub fn shown(self, quiet: bool) -> Shown {
        let terminal = std::io::stderr().is_terminal();
        let asked = self.thinking.map(|choice| choice == Choice::Show);
        let dims = terminal && std::env::var_os("NO_COLOR").is_none();
        Shown { on: asked.unwrap_or(terminal && !quiet), dims, open: false }
    }
}

/// Prints the reasoning of one answer.
pub struct Shown {
    on: bool,
    dims: bool,
    /// Whether some was printed and the answer has not begun.
    open: bool,
}

impl Shown {
    /// Prints the next text of it.
    pub fn write(&mut self, text: &str) {
        if !self.on || text.is_empty() {
            return;
        }
        let dim = if self.dims && !self.open { "\x1b[2m" } else { "" };
        self.open = true;
        eprint!("{dim}{text}");
        // A closed stderr is ignored.
        let _ = std::io::stderr().flush();
    }

    /// Ends the reasoning, before the answer or at its end.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!("{}\n", if self.dims { "\x1b[0m" } else { "" });
        }
    }
}
