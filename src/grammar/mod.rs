//! Answers of a given form: JSON of a schema, tool calls, text of a regular expression or a Lark grammar.
//!
//! [`Grammars`] holds a model's vocabulary as a trie, which takes a fraction of a second to build and is shared by all
//! grammars. [`Grammars::compile`] turns a [`Structure`] into a [`Grammar`] in milliseconds, and [`Grammar::matcher`]
//! follows one answer: it computes the set of tokens that may come next. A [`Library`](library::Library), the crate
//! `llguidance`, does the parsing. Its input is bounded here, and its panics and messages become a [`GrammarError`].

mod calls;
mod compile;
mod compiled;
mod content;
mod error;
mod lark;
pub mod library;
mod limits;
mod parameters;
#[cfg(feature = "structure")]
mod parser;
mod python_calls;
mod reasoning;
mod source;
mod structure;
#[cfg(all(test, feature = "structure"))]
mod tests;
mod vocabulary;
mod xml_calls;

pub use compiled::{Grammar, Matcher};
pub use error::GrammarError;
#[cfg(feature = "structure")]
pub use parser::Llguidance;
pub use source::{Form, Source};
pub use structure::{Structure, ToolCalls, ToolChoice};
pub use vocabulary::Grammars;

/// The library that is compiled in: llguidance with the feature `structure`.
pub(crate) fn compiled_in() -> Option<std::sync::Arc<dyn library::Library>> {
    #[cfg(feature = "structure")]
    return Some(std::sync::Arc::new(Llguidance));
    #[cfg(not(feature = "structure"))]
    None
}
