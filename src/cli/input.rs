//! What a pipe or a file at stdin adds to a question: `cat doc | lfm2 generate -p Summarise`.
//!
//! A program that was started with a pipe nobody writes to must not wait for ever, and a slow writer
//! must not be ignored. So the first byte is waited for a while, with a word about it, and everything
//! behind the first byte until it ends.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::error::CliError;
use crate::formats::plain_text;
use crate::text::Conversation;

/// Longest prompt that is read, in bytes.
pub const MAX_PROMPT_BYTES: u64 = 64 << 20;

/// Silence after which it is said what is waited for.
const NOTE: Duration = Duration::from_secs(1);
/// Silence after which the question goes without, if it has text of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether stdin can have text for us: a pipe, a socket or a file, not a terminal and no device such
/// as `/dev/null`.
pub fn has_text() -> bool {
    let stdin = std::io::stdin();
    #[cfg(unix)]
    {
        use rustix::fs::FileType;
        rustix::fs::fstat(&stdin).is_ok_and(|stat| {
            let kind = FileType::from_raw_mode(stat.st_mode);
            matches!(kind, FileType::Fifo | FileType::Socket | FileType::RegularFile)
        }) && !stdin.is_terminal()
    }
    #[cfg(not(unix))]
    {
        !stdin.is_terminal()
    }
}

/// The text at stdin, to be added to a question. `None` if there is none, or nobody writes any.
pub fn added(quiet: bool) -> Result<Option<String>, CliError> {
    let (sender, first) = channel();
    // It may read for ever: the process ends without it.
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        let read = std::io::stdin().read(&mut piece).map(|n| {
            piece.truncate(n);
            piece
        });
        let _ = sender.send(read);
    });
    let first = match first.recv_timeout(NOTE) {
        Err(RecvTimeoutError::Timeout) => {
            if !quiet {
                eprintln!("waiting for text at stdin, to be added to the prompt");
            }
            first.recv_timeout(PATIENCE.saturating_sub(NOTE))
        }
        done => done,
    };
    let bytes = match first {
        Ok(read) => read.map_err(|e| CliError::file(Path::new("stdin"), "read", &e))?,
        Err(_) => {
            log::warn!(
                "nothing came from stdin for {} s: the prompt goes without it. `-f -` waits for it",
                PATIENCE.as_secs()
            );
            return Ok(None);
        }
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    rest(bytes).map(Some)
}

/// All that is at stdin, however long it takes.
pub fn all() -> Result<String, CliError> {
    rest(Vec::new())
}

fn rest(mut bytes: Vec<u8>) -> Result<String, CliError> {
    let most = MAX_PROMPT_BYTES + 1 - bytes.len() as u64;
    let read = std::io::stdin().take(most).read_to_end(&mut bytes);
    read.map_err(|e| CliError::file(Path::new("stdin"), "read", &e))?;
    if bytes.len() as u64 > MAX_PROMPT_BYTES {
        return Err(CliError::User(format!("stdin: longer than {MAX_PROMPT_BYTES} bytes")));
    }
    plain_text(bytes).map_err(|what| CliError::User(format!("stdin: {what}")))
}

/// A conversation from a file, or from stdin for `-`.
pub fn read_conversation(path: &Path) -> Result<Conversation, CliError> {
    Conversation::from_json(&read_text(path)?)
        .map_err(|e| CliError::User(format!("{}: {e}", path.display())))
}

/// The text of a regular file, or of stdin for `-`.
pub fn read_text(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        return all();
    }
    let source = crate::formats::FileSource::open(path)?;
    let bytes = pollster::block_on(crate::formats::read_small(&source, MAX_PROMPT_BYTES))?;
    plain_text(bytes).map_err(|what| CliError::User(format!("{}: {what}", path.display())))
}
