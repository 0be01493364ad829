//! Errors of text handling, each with a message of one line.

use crate::formats::KeyError;
use std::fmt::Display;

/// An error of text handling: broken tokenizer or template files, bad conversations, bad ids.
///
/// Every message is one line that names the place and the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// `tokenizer.json` is broken or asks for something this engine does not support.
    #[error("tokenizer.json: {field}: {problem}")]
    TokenizerFile {
        /// Path of the field inside the file, e.g. `model.merges[12]`.
        field: String,
        /// The problem with it.
        problem: String,
    },
    /// `tokenizer_config.json` is broken.
    #[error("tokenizer_config.json: {field}: {problem}")]
    TokenizerConfig {
        /// Path of the field inside the file.
        field: String,
        /// The problem with it.
        problem: String,
    },
    /// A key for the tokenizer or template in a GGUF file is broken.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The tokenizer library failed on input that passed our own checks.
    #[error("the tokenizer failed to {operation}: {problem}")]
    Tokenizer {
        /// `load`, `encode` or `decode`.
        operation: &'static str,
        /// The library's message.
        problem: String,
    },
    /// A token id without a token.
    #[error("token id {id} has no token (the tokenizer's ids run from 0 to {last})")]
    TokenId {
        /// The id asked for.
        id: u32,
        /// The highest id that has a token.
        last: u32,
    },
    /// An invalid stop string.
    #[error("stop string {index}: {problem}")]
    StopString {
        /// Position in the list given by the caller, from 0.
        index: usize,
        /// The problem with it.
        problem: &'static str,
    },
    /// The model's files hold no chat template.
    #[error(
        "this model has no chat template (neither chat_template.jinja nor chat_template in tokenizer_config.json); use --raw to send the prompt as it is"
    )]
    NoTemplate,
    /// The chat template does not parse, or failed while it ran.
    #[error("chat template{}: {problem}", .line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Template {
        /// Line of the template, from 1, if known.
        line: Option<usize>,
        /// The problem.
        problem: String,
    },
    /// The chat template exceeded its budget of work and memory.
    #[error(
        "chat template{}: stopped because it needs more than {fuel} steps for this conversation (an endless loop, or text that grows without end)",
        .line.map(|l| format!(", line {l}")).unwrap_or_default()
    )]
    TemplateRunaway {
        /// Line of the template, from 1, if known.
        line: Option<usize>,
        /// The exhausted budget. A step is one instruction or 64 bytes of text.
        fuel: u64,
    },
    /// The chat template refused the conversation with `raise_exception`.
    #[error("the chat template refuses this conversation: {message}")]
    TemplateRaised {
        /// The template's message.
        message: String,
    },
    /// An invalid conversation.
    #[error("{path}: {problem}")]
    Conversation {
        /// Path of the field, e.g. `messages[3].role`.
        path: String,
        /// The problem with it.
        problem: String,
    },
}

/// Longest excerpt of foreign text that an error message quotes, in characters.
const QUOTE_CHARS: usize = 48;

/// Quotes, escapes and cuts text, so that a message stays one readable line.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for (i, c) in text.chars().enumerate() {
        if i == QUOTE_CHARS {
            out.push('…');
            break;
        }
        out.extend(c.escape_debug());
    }
    out.push('"');
    out
}

/// Longest path of fields that an error names, in characters.
const PATH_CHARS: usize = 160;

/// A path of fields as one line of bounded length. Its names may come from a file.
pub(super) fn path(path: impl Display) -> String {
    let text = path.to_string();
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == PATH_CHARS {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_debug()) } else { out.push(c) }
    }
    out
}

/// A foreign message (a library's, a template's) as one line of bounded length.
pub(crate) fn one_line(message: impl Display) -> String {
    let text = message.to_string();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut words = words.filter(|word| !word.is_empty());
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
    match out.char_indices().nth(400) {
        Some((cut, _)) => {
            out.truncate(cut);
            out.push('…');
            out
        }
        None => out,
    }
}

/// An error in `tokenizer.json`.
pub(super) fn bad(field: impl Display, problem: impl Display) -> TextError {
    TextError::TokenizerFile { field: path(field), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_cut_and_escaped() {
        assert_eq!(quote("a\n\"b"), r#""a\n\"b""#);
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 48 + 3);
    }

    #[test]
    fn foreign_messages_become_one_line() {
        assert_eq!(one_line("a\n  b\t c\n\u{1b}[2J"), "a b c [2J");
        assert!(one_line("y".repeat(1000)).chars().count() <= 401);
    }

    #[test]
    fn a_path_is_one_short_line() {
        assert_eq!(path("model.vocab[3]: \"é\""), "model.vocab[3]: \"é\"");
        assert_eq!(path("a\r\n\u{1b}[2J"), r"a\r\n\u{1b}[2J");
        assert_eq!(path("é".repeat(10_000)).chars().count(), PATH_CHARS + 1);
    }

    #[test]
    fn template_errors_name_the_line() {
        let error = TextError::Template { line: Some(3), problem: "boom".into() };
        assert_eq!(error.to_string(), "chat template, line 3: boom");
        let error = TextError::Template { line: None, problem: "boom".into() };
        assert_eq!(error.to_string(), "chat template: boom");
    }
}
