//! What a model thinks before it answers, on stderr: stdout has the answer alone.

use std::io::{IsTerminal, Write};

use clap::{Args, ValueEnum};

/// `--thinking`, of commands that answer.
#[derive(Clone, Copy, Debug, Args)]
pub struct Thinking {
    /// Reasoning before the answer, on stderr. Default: show at a terminal, else hide
    #[arg(long, env = "LFM2_THINKING", value_enum)]
    thinking: Option<Choice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Write it to stderr, dimmed at a terminal
    Show,
    /// Leave it out
    Hide,
}

impl Thinking {
    /// Where reasoning is written; `quiet`: nothing that was not asked for.
    pub fn shown(self, quiet: bool) -> Shown {
        let terminal = std::io::stderr().is_terminal();
        let asked = self.thinking.map(|choice| choice == Choice::Show);
        let dims = terminal && std::env::var_os("NO_COLOR").is_none();
        Shown { on: asked.unwrap_or(terminal && !quiet), dims, open: false }
    }
}

/// Reasoning on its way to stderr.
pub struct Shown {
    on: bool,
    dims: bool,
    /// Whether some has been written and the answer has not begun.
    open: bool,
}

impl Shown {
    /// Writes more of it.
    pub fn write(&mut self, text: &str) {
        if !self.on || text.is_empty() {
            return;
        }
        let dim = if self.dims && !self.open { "\x1b[2m" } else { "" };
        self.open = true;
        eprint!("{dim}{text}");
        // A stderr that cannot be written to is nobody's.
        let _ = std::io::stderr().flush();
    }

    /// Ends it: the answer begins, or there is none.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!("{}\n", if self.dims { "\x1b[0m" } else { "" });
        }
    }
}
