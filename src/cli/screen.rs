//! An answer on its way to a terminal: words wrap at the edge, and keys that are typed meanwhile wait.

use std::io::{IsTerminal, Write};

#[cfg(unix)]
use std::sync::{Mutex, PoisonError};

#[cfg(unix)]
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use unicode_width::UnicodeWidthChar;

use super::error::CliError;
use super::print::print;

/// Where an answer is printed.
pub struct Screen {
    /// Absent if stdout is no terminal: then text goes out as it is.
    wrap: Option<Wrap>,
    _keys: Keys,
}

impl Screen {
    pub fn new() -> Self {
        let width = match std::io::stdout().is_terminal() {
            true => terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)),
            false => None,
        };
        // A cursor in the last column is in two places at once, so that column stays empty.
        let wrap = width.filter(|width| *width > 1).map(|width| Wrap::new(width - 1));
        Self { wrap, _keys: Keys::hold() }
    }

    /// Prints what has come of the answer.
    pub fn print(&mut self, text: &str) -> Result<(), CliError> {
        match &mut self.wrap {
            Some(wrap) => print(&wrap.push(text)),
            None => print(text),
        }
    }
}

/// Breaks lines between words. A word appears as its letters come, and moves to the next line when it
/// turns out to be too long for this one.
struct Wrap {
    width: usize,
    column: usize,
    /// The word that is being written, and its width.
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
                // To the next stop.
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
                    // Back to its beginning, and again on the next line.
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

/// The terminal before its keys were held back.
#[cfg(unix)]
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Leaves the terminal as it was found, for a process that is about to end in the middle of something:
/// nothing is dropped then.
pub fn restore() {
    #[cfg(unix)]
    show_keys();
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // A bar's line is cleared, and dimmed text ends.
        let _ = write!(stderr, "\x1b[0m\r\x1b[K").and_then(|()| stderr.flush());
    }
}

#[cfg(unix)]
fn show_keys() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

/// While this lives, typed keys are not shown in the middle of an answer: they wait for the next
/// prompt. Ctrl-C goes on to stop the answer, without a mark on the screen.
struct Keys;

impl Keys {
    #[cfg(unix)]
    fn hold() -> Self {
        let stdin = std::io::stdin();
        let before = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        if let Some(before) = before {
            let mut silent = before.clone();
            silent.local_modes -= LocalModes::ECHO;
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            // A terminal that refuses shows what is typed, as it always did.
            let _ = tcsetattr(&stdin, OptionalActions::Now, &silent);
        }
        Self
    }

    #[cfg(not(unix))]
    fn hold() -> Self {
        Self
    }
}

#[cfg(unix)]
impl Drop for Keys {
    fn drop(&mut self) {
        show_keys();
    }
}

#[cfg(test)]
mod tests {
    use super::Wrap;

    /// What a screen shows of what is printed: letters, new lines, and the one movement that is used.
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
        // However the pieces are cut.
        assert_eq!(wrapped(10, &["one tw", "o th", "ree", " four"]), ["one two ", "three four"]);
        assert_eq!(wrapped(10, &["ten chars. more"]), ["ten chars.", "more"]);
        assert_eq!(wrapped(5, &["a\nbc\n\nd"]), ["a", "bc", "", "d"]);
        // A word that fits no line is cut, as the terminal would.
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
