//! `POST /v1/completions`.

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
use crate::api::{CompletionReply, CompletionRequest};

/// Continues texts.
pub(super) async fn completions(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let resolve = with_body(&shared, request, |shared, engine, json| {
        let request = CompletionRequest::read(json, shared.unknown())?;
        let head = shared.head(shared.model_name(request.model.as_deref())?);
        // Taken here, since the work goes on if the client leaves.
        let ticket = shared.admit(request.prompts.len() * request.n, "prompt")?;
        let all = request.resolve_all(engine).map_err(|e| ApiError::from(e).of("prompt"))?;
        Ok((request, head, ticket, all, engine.clone()))
    });
    let (request, head, ticket, all, engine) = resolve.await?;
    let prompts = all.iter().map(|one| one.prompt.clone()).collect();
    let answers = Answers::begin(&shared, ticket, all).map_err(|error| error.of("prompt"))?;
    let (streams, ignored) = (request.streaming.stream, request.ignored.clone());
    let reply = CompletionReply::new(&engine, head, request, prompts);
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
