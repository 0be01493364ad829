//! Text in and out of the model: tokenizer, chat templates, tool calls, streamed text.
//!
//! The code uses no GPU, threads or files. It reads and writes bytes, so that the command line, a
//! server and a browser use it alike. Bad input of any kind is a [`TextError`].

mod answer;
mod answer_stream;
mod byte_level;
mod call_body;
mod call_reader;
mod call_writer;
mod catch_panic;
mod chat_format;
mod chat_template;
mod conversation;
mod error;
mod exact_json;
mod history;
mod jinja;
mod json_tree;
mod literal;
mod literal_numbers;
mod literal_reader;
mod literal_strings;
mod markers;
mod probes;
mod stop_strings;
mod strftime;
mod text_stream;
mod tokenizer;
mod tokenizer_file;
mod tool_call;
mod tools;
mod xml_calls;

pub use answer::{Answer, AnswerFormat, AnswerReader, Calls, tool_calls};
pub use answer_stream::AnswerStream;
pub use call_writer::CallForm;
pub(crate) use catch_panic::catch_panic;
pub use chat_format::ChatFormat;
pub use chat_template::{ChatTemplate, SpecialTokenTexts};
pub use conversation::{Conversation, Message, Role};
pub use error::TextError;
pub(crate) use error::one_line;
pub(crate) use exact_json::request_json;
pub(crate) use literal_reader::is_call_name;
pub use markers::TOOL_CALL_MARKERS;
pub(crate) use markers::{THINK_MARKERS, XML_CALL_MARKERS};
pub use stop_strings::{StopStep, StopStrings};
#[cfg(feature = "server")]
pub(crate) use strftime::{Moment, strftime};
pub use text_stream::{SpecialTokens, TextStream};
pub use tokenizer::Tokenizer;
pub use tool_call::ToolCall;
pub use tools::Tools;
pub(crate) use tools::function_of;
