//! OpenAI's formats: requests, answers whole and in chunks, errors, and files of requests. The server, `lfm2 batch`,
//! the web package and the library for C read and write them here.

mod batch_file;
mod chat;
mod chunks;
mod completion;
mod completion_reply;
mod fields;
mod reply;
mod rules;
mod sampling;
mod structure;
mod tokenize;
mod tool_choice;

pub use batch_file::{BatchAnswers, BatchRequest};
pub use chat::ChatRequest;
pub use chunks::ChatChunks;
pub use completion::{CompletionPrompt, CompletionRequest};
pub use completion_reply::CompletionReply;
pub use fields::{Streaming, Unknown};
pub use reply::{ReplyHead, error_json, summary};
pub use tokenize::{TokenizeRequest, detokenize_request, tokenizer_info};
pub use tool_choice::ToolChoice;
