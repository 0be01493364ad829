//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::{IntoResponse, Json, Response};
use serde_json::Value;

use super::answers::{Answers, Step};
use super::body::json_text;
use super::common::{blocking, with_ignored};
use super::error::ApiError;
use super::sse::{self, Chunks};
use super::state::Shared;
use crate::api::{ChatChunks, ChatRequest};

/// Answers a conversation.
pub(super) async fn chat(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let engine = shared.served()?.engine.clone();
    let (json, place) = json_text(&shared, request).await?;
    let unknown = shared.unknown();
    let read = blocking(&shared, move || (ChatRequest::read(&json, unknown), place));
    let (request, place) = read.await?;
    let request = request?;
    let model = shared.model_name(request.model.as_deref())?;
    let ticket = shared.admit(request.n, "n")?;
    let asked = engine.clone();
    // The work keeps the request's places, also if the client leaves.
    let resolve = blocking(&shared, move || {
        let resolved = request.resolve_all(&asked);
        drop(place);
        (request, resolved, ticket)
    });
    let (request, resolved, ticket) = resolve.await?;
    let answers =
        resolved.map_err(ApiError::from).and_then(|all| Answers::begin(&shared, ticket, all));
    let answers = answers.map_err(|error| error.of("messages"))?;
    let head = shared.head(model);
    let response = if request.streaming.stream {
        let chunks = ChatChunks::new(&engine, head, request.streaming, request.n);
        sse::stream(answers, Streamed { chunks, n: request.n })
    } else {
        let completed = answers.complete().await?;
        Json(engine.completion(&head, &completed)).into_response()
    };
    Ok(with_ignored(response, &request.ignored))
}

struct Streamed {
    chunks: ChatChunks,
    n: usize,
}

impl Chunks for Streamed {
    fn begin(&mut self) -> Vec<Value> {
        (0..self.n).map(|answer| self.chunks.begin(answer)).collect()
    }

    fn step(&mut self, answer: usize, step: &Step) -> Vec<Value> {
        match step {
            Step::Delta(delta, timings) => self.chunks.step(answer, delta, timings),
            Step::End(finish, timings) => vec![self.chunks.end(answer, *finish, timings)],
        }
    }

    fn end(&mut self) -> Vec<Value> {
        self.chunks.usage().into_iter().collect()
    }
}
