//! Output of an answer at a terminal: wraps words, and turns off the echo of typed keys.

use std::io::{IsTerminal, Write};

#[cfg(unix)]
use std::sync::{Mutex, PoisonError};

#[cfg(unix)]
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use unicode_width::UnicodeWidthChar;

use super::error::CliError;
use super::print::print;

/// Prints an answer.
pub struct Screen {
    /// `None` if stdout is no terminal: the text is printed unchanged.
    wrap: Option<Wrap>,
    _no_echo: NoEcho,
}

impl Screen {
    pub fn new() -> Self {
        let width = match std::io::stdout().is_terminal() {
            true => terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)),
            false => None,
        };
        // Terminals differ about the cursor after the last column, so that column stays empty.
        let wrap = width.filter(|width| *width > 1).map(|width| Wrap::new(width - 1));
        Self { wrap, _no_echo: NoEcho::start() }
    }

    /// Prints the next text of the answer.
    pub fn print(&mut self, text: &str) -> Result<(), CliError> {
        match &mut self.wrap {
            Some(wrap) => print(&wrap.push(text)),
            None => print(text),
        }
    }
}

/// Breaks lines between words. Letters of a word are printed at once; the word moves to the next line
/// when it becomes too long for this one.
struct Wrap {
    width: usize,
    column: usize,
    /// The last word so far, and its width.
    word: String,
    word_width: usize,
}

impl Wrap {
    fn new(width: usize) -> Self {
        Self { width, column: 0, word: String::new(), word_width: 0 }
    }

    fn new_line(&mut self, out: &mut String) {
        out.push('\n');
        self.column = 0;
        self.end_word();
    }

    fn end_word(&mut self) {
        self.word.clear();
        self.word_width = 0;
    }

    fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            if c == '\n' {
                self.new_line(&mut out);
                continue;
            }
            let width = match c {
                // Up to the next tab stop.
                '\t' => 8 - self.column % 8,
                _ => c.width().unwrap_or(0),
            };
            if c.is_whitespace() {
                if self.column + width > self.width {
                    self.new_line(&mut out);
                    continue;
                }
                self.end_word();
            } else if self.column + width > self.width {
                let starts_late = self.word_width > 0 && self.word_width < self.column;
                if starts_late {
                    // Erases the word and prints it on the next line.
                    out += &format!("\x1b[{}D\x1b[K\n{}", self.word_width, self.word);
                    self.column = self.word_width;
                } else {
                    self.new_line(&mut out);
                }
            }
            out.push(c);
            self.column += width;
            if !c.is_whitespace() {
                self.word.push(c);
                self.word_width += width;
                // Chinese and Japanese break between any two characters.
                if width > 1 {
                    self.end_word();
                }
            }
        }
        out
    }
}

/// The terminal's modes at the first [`SavedModes`].
#[cfg(unix)]
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Restores the terminal before the process exits without running destructors.
pub fn restore() {
    #[cfg(unix)]
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Clears a progress bar and ends dimmed text.
        let _ = write!(stderr, "\x1b[0m\r\x1b[K").and_then(|()| stderr.flush());
    }
}

/// Keeps the terminal's modes for [`restore`] while it lives.
#[cfg(unix)]
pub struct SavedModes {
    modes: Option<Termios>,
    is_first: bool,
}

#[cfg(unix)]
impl SavedModes {
    pub fn new() -> Self {
        let stdin = std::io::stdin();
        let modes = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = before.is_none();
        if is_first {
            before.clone_from(&modes);
        }
        Self { modes, is_first }
    }
}

#[cfg(unix)]
impl Drop for SavedModes {
    fn drop(&mut self) {
        if self.is_first {
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Only Unix has modes to restore.
#[cfg(not(unix))]
pub struct SavedModes;

#[cfg(not(unix))]
impl SavedModes {
    pub fn new() -> Self {
        Self
    }
}

/// Turns off the echo while it lives: keys typed during an answer appear at the next prompt. Ctrl-C
/// still stops the answer, but prints no `^C`.
struct NoEcho {
    #[cfg(unix)]
    saved: SavedModes,
}

#[cfg(not(unix))]
impl NoEcho {
    fn start() -> Self {
        Self {}
    }
}

#[cfg(unix)]
impl NoEcho {
    fn start() -> Self {
        let saved = SavedModes::new();
        if let Some(modes) = &saved.modes {
            let mut silent = modes.clone();
            silent.local_modes -= LocalModes::ECHO;
            // If the terminal refuses, the echo stays.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &silent);
        }
        Self { saved }
    }
}

#[cfg(unix)]
impl Drop for NoEcho {
    fn drop(&mut self) {
        if let Some(modes) = &self.saved.modes {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, modes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Wrap;

    /// The lines on a screen after printing: letters, new lines, and the one cursor movement in use.
    fn shown(printed: &str) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut rest = printed;
        while let Some(c) = rest.chars().next() {
            if let Some(moved) = rest.strip_prefix("\x1b[") {
                let (columns, behind) = moved.split_once("D\x1b[K").unwrap();
                let line = lines.last_mut().unwrap();
                for _ in 0..columns.parse().unwrap() {
                    line.pop();
                }
                rest = behind;
                continue;
            }
            match c {
                '\n' => lines.push(String::new()),
                c => lines.last_mut().unwrap().push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
        lines
    }

    fn wrapped(width: usize, pieces: &[&str]) -> Vec<String> {
        let mut wrap = Wrap::new(width);
        shown(&pieces.iter().map(|piece| wrap.push(piece)).collect::<String>())
    }

    #[test]
    fn words_go_to_the_next_line_as_a_whole() {
        assert_eq!(wrapped(10, &["one two three"]), ["one two ", "three"]);
        // In any pieces.
        assert_eq!(wrapped(10, &["one tw", "o th", "ree", " four"]), ["one two ", "three four"]);
        assert_eq!(wrapped(10, &["ten chars. more"]), ["ten chars.", "more"]);
        assert_eq!(wrapped(5, &["a\nbc\n\nd"]), ["a", "bc", "", "d"]);
        // A word longer than a line is cut, as by the terminal.
        assert_eq!(wrapped(4, &["abcdefghij k"]), ["abcd", "efgh", "ij k"]);
        // Wide characters count twice and break anywhere.
        assert_eq!(wrapped(5, &["日本語です"]), ["日本", "語で", "す"]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(128))]
        #[test]
        fn no_line_is_too_long_and_no_word_is_lost(
            pieces in proptest::collection::vec("[a-e \n]{0,9}", 0..12),
            width in 1_usize..14,
        ) {
            let mut wrap = Wrap::new(width);
            let lines = shown(&pieces.iter().map(|piece| wrap.push(piece)).collect::<String>());
            proptest::prop_assert!(lines.iter().all(|line| line.chars().count() <= width));
            let text = pieces.concat();
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            proptest::prop_assert_eq!(letters(&lines.join("\n")), letters(&text));
            let whole = text.split_whitespace().filter(|word| word.len() <= width);
            let seen: Vec<_> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            for word in whole {
                proptest::prop_assert!(seen.iter().any(|s| s.contains(word)), "{word} in {lines:?}");
            }
        }
    }
}
