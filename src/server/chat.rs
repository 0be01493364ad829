//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::{IntoResponse, Json, Response};
use serde_json::Value;

use super::answers::{Answers, Step};
use super::common::{with_body, with_ignored};
use super::error::ApiError;
use super::sse::{self, Chunks};
use super::state::Shared;
use crate::api::{ChatChunks, ChatRequest};

/// Answers a conversation.
pub(super) async fn chat(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let resolve = with_body(&shared, request, |shared, engine, json| {
        let request = ChatRequest::read(json, shared.unknown())?;
        let head = shared.head(shared.model_name(request.model.as_deref())?);
        // Taken here, since the work goes on if the client leaves.
        let ticket = shared.admit(request.n, "n")?;
        let all = request.resolve_all(engine).map_err(|e| ApiError::from(e).of("messages"))?;
        // The rest of the request does not wait with its answers.
        let ChatRequest { streaming, n, ignored, .. } = request;
        Ok((streaming, n, ignored, head, ticket, all, engine.clone()))
    });
    let (streaming, n, ignored, head, ticket, all, engine) = resolve.await?;
    let answers = Answers::begin(&shared, ticket, all).map_err(|error| error.of("messages"))?;
    let response = if streaming.stream {
        let chunks = ChatChunks::new(&engine, head, streaming, n);
        sse::stream(answers, Streamed { chunks, n })
    } else {
        let completed = answers.complete().await?;
        Json(engine.completion(&head, &completed)).into_response()
    };
    Ok(with_ignored(response, &ignored))
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
