//! Output: stdout carries the answer and nothing else.

use std::io::Write;

use super::error::CliError;

/// Writes to stdout and flushes. If the reader has closed the pipe, the program ends quietly.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(CliError::ReaderGone),
        Err(e) => Err(CliError::Internal(format!("stdout: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// A text as one word of a shell command.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
