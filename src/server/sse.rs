//! Answers as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;

use super::answers::{Answers, Step};
use super::error::ApiError;

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
    /// The chunks of an error. A stream must have one, since an end without it reads as success.
    fn error(&mut self, error: ApiError) -> Vec<Value> {
        vec![error.body]
    }
    /// Whether events are named by the `type` of their chunks. Otherwise, `[DONE]` ends the stream.
    fn are_named(&self) -> bool {
        false
    }
}

struct State<C> {
    /// `None` when all answers have ended.
    answers: Option<Answers>,
    chunks: C,
    ready: VecDeque<Event>,
}

impl<C: Chunks> State<C> {
    fn push(&mut self, chunks: &[Value]) {
        let named = self.chunks.are_named();
        self.ready.extend(chunks.iter().map(|chunk| {
            let event = match chunk["type"].as_str().filter(|_| named) {
                Some(name) => Event::default().event(name),
                None => Event::default(),
            };
            event.data(chunk.to_string())
        }));
    }
}

/// Streams answers. A client that disconnects ends them, since the stream is dropped then.
pub(super) fn stream(answers: Answers, mut chunks: impl Chunks) -> Response {
    let first = chunks.begin();
    let mut state = State { answers: Some(answers), chunks, ready: VecDeque::new() };
    state.push(&first);
    let events = stream::unfold(state, |mut state| async move {
        loop {
            if let Some(event) = state.ready.pop_front() {
                return Some((Ok::<_, Infallible>(event), state));
            }
            let answers = state.answers.as_mut()?;
            let (chunks, ended) = match answers.next().await {
                Some(Ok((answer, step))) => (state.chunks.step(answer, &step), false),
                Some(Err(error)) => (state.chunks.error(error), true),
                None => (state.chunks.end(), true),
            };
            state.push(&chunks);
            if ended {
                if !state.chunks.are_named() {
                    state.ready.push_back(Event::default().data("[DONE]"));
                }
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
