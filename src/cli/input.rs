//! Input: prompts and conversations from files and stdin.
//!
//! `cat doc | lfm2 generate -p Summarise` adds the text at stdin to the prompt. A pipe without a writer
//! must not block the program, and a slow writer must be heard: the first byte has a time limit, with a
//! message while waiting; all bytes after it are awaited.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::error::CliError;
use crate::formats::plain_text;
use crate::text::Conversation;

/// Longest prompt that is read, in bytes.
pub const MAX_PROMPT_BYTES: u64 = 64 << 20;

/// Time without input after which a message is printed.
const NOTE: Duration = Duration::from_secs(1);
/// Time without input after which the prompt is used without stdin, if it has other text.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether stdin can have text: a pipe, a socket or a file, but no terminal and no device like
/// `/dev/null`.
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

/// The text at stdin, for a prompt that has other text. `None` if it is empty or the time limit passed.
pub fn added(quiet: bool) -> Result<Option<String>, CliError> {
    let (sender, first) = channel();
    // The thread may block for ever; the process exits without it.
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
                eprintln!("waiting for text at stdin, which is added to the prompt");
            }
            first.recv_timeout(PATIENCE.saturating_sub(NOTE))
        }
        done => done,
    };
    let bytes = match first {
        Ok(read) => read.map_err(|e| CliError::file(Path::new("stdin"), "read", &e))?,
        Err(_) => {
            log::warn!(
                "no input from stdin for {} s: the prompt is used without it; `-f -` waits longer",
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

/// All text at stdin, without a time limit.
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
    plain_text(bytes).map_err(|e| CliError::User(format!("stdin: {e}")))
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
    read_file(path, MAX_PROMPT_BYTES)
}

/// The text of a regular file of at most `most` bytes.
pub fn read_file(path: &Path, most: u64) -> Result<String, CliError> {
    let source = crate::formats::FileSource::open(path)?;
    let bytes = pollster::block_on(crate::formats::read_small(&source, most))?;
    plain_text(bytes).map_err(|e| CliError::User(format!("{}: {e}", path.display())))
}
