//! Batch files: requests, and answers of an earlier run to them.
//!
//! Input: the files `requests.jsonl` and `answers.jsonl`, or only requests.
#![no_main]

use lfm2_fuzz::{files, held, one_line};
use lfm2_wgpu::api::{BatchAnswers, BatchRequest, ChatRequest};
use serde_json::json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    held(|| {
        let files = files::split(data, "requests.jsonl");
        let text =
            String::from_utf8_lossy(files::find(&files, "requests.jsonl").unwrap_or_default());
        let requests = match BatchRequest::read_all(&text, "requests.jsonl") {
            Ok(requests) => requests,
            Err(e) => return one_line(&e),
        };
        for (i, request) in requests.iter().enumerate() {
            assert!(requests[..i].iter().all(|other| other.custom_id != request.custom_id));
            if let Err(e) = ChatRequest::from_json(&request.body) {
                one_line(&e);
            }
        }
        let read =
            |bytes: &[u8]| BatchAnswers::read(bytes, "answers.jsonl", &requests, "requests.jsonl");
        match read(files::find(&files, "answers.jsonl").unwrap_or_default()) {
            Ok(answers) => assert!(answers.answered.len() <= requests.len()),
            Err(e) => one_line(&e),
        }
        // The answers that this program writes are read, and an incomplete last line is cut off.
        let mut written = String::new();
        for request in requests.iter().take(8) {
            let whole = written.len();
            written += &format!("{}\n", request.answer(200, &json!({ "text": &request.body })));
            for cut in [whole, whole + 1, (whole + written.len()) / 2, written.len() - 1] {
                let answers = read(&written.as_bytes()[..cut]).expect("its own answers");
                assert_eq!(answers.bytes, whole);
            }
            assert!(
                read(written.as_bytes()).expect("its own").answered.contains(&request.custom_id)
            );
        }
    })
});
