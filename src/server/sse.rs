//! Answers as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;

use super::answers::{Answers, Step};

/// Time after which a comment keeps a silent stream alive, e.g. during a long prefill.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Writes the steps of answers as the chunks of a stream.
pub(super) trait Chunks: Send + 'static {
    /// The chunks before the first step.
    fn begin(&mut self) -> Vec<Value>;
    /// The chunks of a step.
    fn step(&mut self, answer: usize, step: &Step) -> Vec<Value>;
    /// The chunks after all answers have ended.
    fn end(&mut self) -> Vec<Value>;
}

struct State<C> {
    /// `None` when all answers have ended.
    answers: Option<Answers>,
    chunks: C,
    ready: VecDeque<String>,
}

/// Streams answers. A client that disconnects ends them, since the stream is dropped then.
pub(super) fn stream(answers: Answers, mut chunks: impl Chunks) -> Response {
    let ready = chunks.begin().iter().map(Value::to_string).collect();
    let state = State { answers: Some(answers), chunks, ready };
    let events = stream::unfold(state, |mut state| async move {
        loop {
            if let Some(data) = state.ready.pop_front() {
                return Some((Ok::<_, Infallible>(Event::default().data(data)), state));
            }
            let answers = state.answers.as_mut()?;
            let (chunks, ended) = match answers.next().await {
                Some(Ok((answer, step))) => (state.chunks.step(answer, &step), false),
                // An error in OpenAI's shape, since an end without one reads as success.
                Some(Err(error)) => (vec![error.body], true),
                None => (state.chunks.end(), true),
            };
            state.ready.extend(chunks.iter().map(Value::to_string));
            if ended {
                state.ready.push_back("[DONE]".to_owned());
                state.answers = None;
            }
        }
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // Proxies hold answers back otherwise.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}
