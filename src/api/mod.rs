//! OpenAI's formats: requests, answers whole and in chunks, errors, and files of requests. The server, `lfm2 batch`,
//! the web package and the library for C read and write them here. Requests in other formats (OpenAI's Responses API,
//! Anthropic's Messages API) become chat requests, which have all checks.

mod batch_file;
mod chat;
mod chunks;
mod completion;
mod completion_reply;
mod fields;
mod lora;
mod lora_choice;
mod messages;
mod messages_reply;
mod place;
mod reply;
mod responses;
mod responses_reply;
mod rules;
mod sampling;
mod structure;
mod tokenize;
mod tool_choice;
mod translation;
mod turns;

pub use batch_file::{BatchAnswers, BatchRequest};
pub use chat::ChatRequest;
pub use chunks::ChatChunks;
pub use completion::{CompletionPrompt, CompletionRequest};
pub use completion_reply::CompletionReply;
pub use fields::{Streaming, Unknown};
pub use messages::MessagesRequest;
pub use messages_reply::{MessagesAnswer, MessagesReply, messages_error};
pub use reply::{ReplyHead, error_json, summary};
pub use responses::ResponsesRequest;
pub use responses_reply::{ResponsesReply, StoredResponse};
pub use tokenize::{TokenizeRequest, detokenize_request, tokenizer_info};
pub use tool_choice::ToolChoice;
