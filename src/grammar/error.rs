//! Errors of grammars.

use std::fmt::Display;

use crate::text::one_line;

/// An error of a grammar: a schema or grammar that is invalid or not supported, or an answer that it cannot follow.
///
/// Every message is one line that names the place and the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrammarError {
    /// A schema or grammar that is invalid, or has a part that is not supported.
    #[error("{place}: {problem}")]
    Refused {
        /// The schema, the grammar, or the tool.
        place: String,
        /// The problem, with the keyword.
        problem: String,
    },
    /// A schema or grammar beyond the limits.
    #[error("{place}: has {got} {unit}, at most {most} are allowed")]
    TooLarge {
        /// The schema, the grammar, or the list of tools.
        place: String,
        /// The size found.
        got: usize,
        /// The unit of both sizes.
        unit: &'static str,
        /// The limit.
        most: usize,
    },
    /// A tool that is not in the list.
    #[error("there is no tool {name:?}{}", known(.tools))]
    NoTool {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        tools: Vec<String>,
    },
    /// A model whose form of tool calls is unknown.
    #[error("neither the model's chat template nor its vocabulary shows its form of tool calls")]
    NoCalls,
    /// A model without end tokens.
    #[error("the model has no end token, so an answer of a given form could not end")]
    NoEnd,
    /// A program that has no library that parses grammars.
    #[error(
        "answers of a given form need a library that parses grammars: build the program with the feature `structure`, \
         or call Engine::use_grammar_library"
    )]
    NoLibrary,
    /// The grammar has become too complex at a token, or allows none.
    #[error("the answer's grammar failed at token {position}: {problem}")]
    Failed {
        /// Number of tokens before it.
        position: usize,
        /// The problem.
        problem: String,
    },
}

/// The names of the tools that there are, for an error.
fn known(tools: &[String]) -> String {
    match tools {
        [] => "; the list of tools is empty".to_owned(),
        tools => one_line(format!("; the tools are {}", tools.join(", "))),
    }
}

impl GrammarError {
    /// A refusal for a problem that this crate found.
    pub(super) fn refused(place: impl Into<String>, problem: impl Display) -> Self {
        Self::Refused { place: one_line(place.into()), problem: one_line(problem) }
    }

    /// A refusal by llguidance.
    pub(super) fn of_library(place: &str, message: impl Display) -> Self {
        Self::refused(place, cleaned(&message.to_string()))
    }
}

/// The first line of llguidance's message. The lines behind it quote the grammar or have a backtrace.
pub(super) fn cleaned(message: &str) -> String {
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown error");
    let line = line.trim();
    if let Some(keys) = line.split_once("Unimplemented keys: ").map(|(_, keys)| keys) {
        let keys = keys.trim_matches(['[', ']']);
        return match keys.contains(", ") {
            true => format!("the keywords {keys} are not supported"),
            false => format!("the keyword {keys} is not supported"),
        };
    }
    let placed = with_place(line.strip_prefix("at ").unwrap_or(line));
    let line = placed.unwrap_or_else(|| line.to_owned());
    // Errors of regular expressions quote these first.
    let reason = message.lines().find_map(|line| line.strip_prefix("error: "));
    match reason.filter(|_| line.ends_with(':')) {
        Some(reason) => format!("{line} {reason}"),
        None => line,
    }
}

/// `3(5): problem` with its place in words.
fn with_place(line: &str) -> Option<String> {
    let (number, rest) = line.split_once('(')?;
    let (column, problem) = rest.split_once("): ")?;
    let (number, column): (usize, usize) = (number.parse().ok()?, column.parse().ok()?);
    Some(format!("line {number}, column {column}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_library_become_one_line() {
        for (message, clean) in [
            (
                "Unimplemented keys: [\"not\"]\n<non-verbose/>",
                "the keyword \"not\" is not supported",
            ),
            (
                "Unimplemented keys: [\"if\", \"then\"]",
                "the keywords \"if\", \"then\" are not supported",
            ),
            (
                "at 3(5): unknown name: \"x\"\n   3 | a: x\n",
                "line 3, column 5: unknown name: \"x\"",
            ),
            ("1(2): lexer error\n", "line 1, column 2: lexer error"),
            ("\npanic: index out of bounds\n<backtrace>", "panic: index out of bounds"),
            (
                "x: regex parse error:\n    (a\n    ^\nerror: unclosed group\n",
                "x: regex parse error: unclosed group",
            ),
            ("", "unknown error"),
        ] {
            assert_eq!(cleaned(message), clean);
        }
    }

    #[test]
    fn errors_are_one_line() {
        let error = GrammarError::refused("tool \"a\nb\"", "x\ny");
        assert_eq!(error.to_string(), "tool \"a b\": x y");
        let error = GrammarError::NoTool { name: "g".to_owned(), tools: vec!["f".to_owned()] };
        assert_eq!(error.to_string(), "there is no tool \"g\"; the tools are f");
    }
}
