//! Answers of a given form: JSON of a schema, tool calls, text of a regular expression or a Lark grammar.
//!
//! [`Grammars`] holds a model's vocabulary as a trie, which takes a fraction of a second to build and is shared by all
//! grammars. [`Grammars::compile`] turns a [`Structure`] into a [`Grammar`] in milliseconds, and [`Grammar::matcher`]
//! follows one answer: it computes the set of tokens that may come next. The crate `llguidance` does the parsing. Its
//! input is bounded here, and its panics and messages become a [`GrammarError`].

mod calls;
mod compile;
mod compiled;
mod content;
mod error;
mod lark;
mod limits;
mod parameters;
mod python_calls;
mod reasoning;
mod structure;
#[cfg(test)]
mod tests;
mod vocabulary;
mod xml_calls;

pub use compiled::{Grammar, Matcher};
pub use error::GrammarError;
pub use structure::{Structure, ToolCalls, ToolChoice};
pub use vocabulary::Grammars;
