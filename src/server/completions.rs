//! `POST /v1/completions`.

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
use crate::api::{CompletionReply, CompletionRequest};

/// Continues texts.
pub(super) async fn completions(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let engine = shared.served()?.engine.clone();
    let (json, place) = json_text(&shared, request).await?;
    let unknown = shared.unknown();
    let read = blocking(&shared, move || (CompletionRequest::read(&json, unknown), place));
    let (request, place) = read.await?;
    let request = request?;
    let model = shared.model_name(request.model.as_deref())?;
    let ticket = shared.admit(request.prompts.len() * request.n, "prompt")?;
    let asked = engine.clone();
    // The work keeps the request's places, also if the client leaves.
    let resolve = blocking(&shared, move || {
        let resolved = request.resolve_all(&asked);
        drop(place);
        (request, resolved, ticket)
    });
    let (request, resolved, ticket) = resolve.await?;
    let named = |error: ApiError| error.of("prompt");
    let resolved = resolved.map_err(|error| named(error.into()))?;
    let prompts = resolved.iter().map(|one| one.prompt.clone()).collect();
    let answers = Answers::begin(&shared, ticket, resolved).map_err(named)?;
    let (streams, ignored) = (request.streaming.stream, request.ignored.clone());
    let reply = CompletionReply::new(&engine, shared.head(model), request, prompts);
    let response = if streams {
        sse::stream(answers, Streamed(reply))
    } else {
        Json(reply.whole(&answers.complete().await?)).into_response()
    };
    Ok(with_ignored(response, &ignored))
}

struct Streamed(CompletionReply);

impl Chunks for Streamed {
    fn begin(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn step(&mut self, answer: usize, step: &Step) -> Vec<Value> {
        match step {
            Step::Delta(delta, timings) => self.0.step(answer, delta, timings),
            Step::End(finish, timings) => vec![self.0.end(answer, *finish, timings)],
        }
    }

    fn end(&mut self) -> Vec<Value> {
        self.0.usage_chunk().into_iter().collect()
    }
}
