//! Bodies of HTTP requests: those of the chat, completion, Responses and Messages APIs, and of tokens.
//!
//! Input: the body of a request, which every reader reads.
#![no_main]

use lfm2_fuzz::{held, one_line};
use lfm2_wgpu::api::{
    ChatRequest, CompletionRequest, MessagesRequest, ResponsesRequest, TokenizeRequest, Unknown,
    detokenize_request,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    held(|| {
        let text = String::from_utf8_lossy(data);
        let strict = ChatRequest::read(&text, Unknown::Refuse);
        let lenient = ChatRequest::read(&text, Unknown::Ignore);
        match (&strict, &lenient) {
            // An accepted request has no unknown field, and means the same to a lenient reader.
            (Ok(strict), Ok(lenient)) => assert_eq!(strict, lenient),
            (Err(e), Ok(lenient)) => {
                assert!(!lenient.ignored.is_empty());
                one_line(e);
            }
            (Err(e), Err(_)) => one_line(e),
            (Ok(_), Err(e)) => panic!("refused by the lenient reader alone: {e}"),
        }
        if let Ok(request) = &strict {
            assert!((1..=64).contains(&request.n) && request.ignored.is_empty());
            assert!(!request.conversation.messages.is_empty());
        }
        match CompletionRequest::read(&text, Unknown::Refuse) {
            Ok(request) => assert!((1..=256).contains(&request.prompts.len())),
            Err(e) => one_line(&e),
        }
        match MessagesRequest::read_to_count(&text, Unknown::Refuse) {
            Ok(request) => assert!(request.chat.n == 1),
            Err(e) => one_line(&e),
        }
        match ResponsesRequest::read(&text, Unknown::Refuse, |_| None) {
            Ok(request) => assert!(request.chat.n == 1),
            Err(e) => one_line(&e),
        }
        if let Err(e) = TokenizeRequest::read(&text, Unknown::Refuse) {
            one_line(&e);
        }
        if let Err(e) = detokenize_request(&text, Unknown::Refuse) {
            one_line(&e);
        }
    })
});
