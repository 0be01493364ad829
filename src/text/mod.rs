//! Text on its way in and out: tokenizer, chat template, streamed characters.
//!
//! Pure CPU code without a GPU, threads or files: it takes and gives bytes, so the command line,
//! a server and a browser use it alike. Bad input of any kind is a [`TextError`].

mod byte_level;
mod chat_template;
mod conversation;
mod error;
mod guard;
mod jinja;
mod json;
mod strftime;
mod tokenizer;
mod tokenizer_file;
mod tool_calls;
mod utf8;

pub use chat_template::{ChatTemplate, SpecialTokenTexts};
pub use conversation::{Conversation, Message, Role};
pub use error::TextError;
#[cfg(feature = "cli")]
pub(crate) use strftime::{Moment, strftime};
pub use tokenizer::Tokenizer;
pub use tool_calls::{ToolCall, tool_calls};
pub use utf8::{SpecialTokens, StopStep, StopStrings, TOOL_CALL_MARKERS, TextStream};
