//! The line editor of `lfm2 chat`: history, completion of commands, several lines between `"""`.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Behavior, Config, Context, Editor, Helper};

use super::caches::history_file;
use super::repl::{COMMANDS, is_open};
use super::screen::SavedModes;

/// Input of the user.
pub enum Typed {
    Line(String),
    /// Ctrl-C at the prompt.
    Interrupt,
    /// Ctrl-D.
    End,
}

/// The line editor at a terminal.
pub struct Terminal {
    editor: Editor<Hints, DefaultHistory>,
    history: Option<PathBuf>,
    _modes: SavedModes,
}

impl Terminal {
    /// Creates an editor; `history`: with the lines of earlier chats.
    ///
    /// # Errors
    /// Errors of the terminal.
    pub fn new(history: bool) -> Result<Self, ReadlineError> {
        let modes = SavedModes::new();
        let mut config = Config::builder().auto_add_history(true).history_ignore_space(true);
        if !std::io::stdout().is_terminal() {
            // Only answers go to stdout: the prompt goes to the terminal.
            config = config.behavior(Behavior::PreferTerm);
        }
        let config = config.build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Hints));
        let history = if history { history_file() } else { None };
        if let Some(file) = &history {
            // The first chat has no history file.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history, _modes: modes })
    }

    /// Reads a message or a command.
    ///
    /// # Errors
    /// Errors of the terminal.
    pub fn read(&mut self) -> Result<Typed, ReadlineError> {
        match self.editor.readline(">>> ") {
            Ok(line) => Ok(Typed::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Typed::Interrupt),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(e) => Err(e),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(file) = &self.history
            && let Err(e) = self.editor.save_history(file)
        {
            log::warn!("{}: cannot write the history: {e}", file.display());
        }
    }
}

struct Hints;

impl Helper for Hints {}
impl Highlighter for Hints {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

impl Completer for Hints {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..pos).unwrap_or(line);
        let names = COMMANDS.iter().filter_map(|(usage, _)| usage.split(' ').next());
        let fitting = names.filter(|n| typed.starts_with('/') && n.starts_with(typed));
        Ok((0, fitting.map(str::to_owned).collect()))
    }
}

/// Hint on an empty line; it cannot be completed into the line.
struct Placeholder;

impl Hint for Placeholder {
    fn display(&self) -> &str {
        "Send a message (/? for help)"
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Hints {
    type Hint = Placeholder;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<Placeholder> {
        line.is_empty().then_some(Placeholder)
    }
}

impl Validator for Hints {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_open(context.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}
