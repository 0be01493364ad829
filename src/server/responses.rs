//! `POST /v1/responses`, and the responses that it has stored.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::answers::{Answers, Step};
use super::common::{log_skipped, with_body, with_ignored};
use super::error::ApiError;
use super::sse::{self, Chunks};
use super::state::{Shared, now};
use crate::api::{ResponsesReply, ResponsesRequest};

/// Answers a conversation.
pub(super) async fn responses(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let resolve = with_body(&shared, request, |shared, engine, json| {
        let previous = |id: &str| serde_json::from_str(&shared.stored.messages(id)?).ok();
        let mut request = ResponsesRequest::read(json, shared.unknown(), previous)?;
        let mut head = shared.head(shared.model_name(request.chat.model.as_deref())?);
        // Whoever knows the id may read the response, so nobody must guess it.
        head.id = format!("{}{:016x}", head.id, RandomState::new().build_hasher().finish());
        // Taken here, since the work goes on if the client leaves.
        let ticket = shared.admit(1, "input")?;
        let one = request.resolve(engine).map_err(|e| ApiError::from(e).of("input"))?;
        log_skipped(&request.skipped_tools);
        let ignored = std::mem::take(&mut request.chat.ignored);
        let stream = request.chat.streaming.stream;
        let reply = ResponsesReply::new(engine, head, request)?;
        Ok((reply, ticket, one, stream, ignored))
    });
    let (mut reply, ticket, one, stream, ignored) = resolve.await?;
    let answers = Answers::begin(&shared, ticket, vec![one]).map_err(|e| e.of("input"))?;
    let response = if stream {
        sse::stream(answers, Streamed { reply, shared })
    } else {
        let completed = answers.complete().await?.pop().unwrap_or_default();
        let response = reply.whole(completed, now());
        keep(&shared, &mut reply);
        Json(response).into_response()
    };
    Ok(with_ignored(response, &ignored))
}

/// Keeps a response that has ended, if its request allows it.
fn keep(shared: &Shared, reply: &mut ResponsesReply) {
    if let Some(stored) = reply.stored() {
        shared.stored.keep(stored);
    }
}

/// `GET /v1/responses/ID`: a stored response.
pub(super) async fn stored(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let streams = |pair: &str| pair == "stream=true";
    if uri.query().is_some_and(|query| query.split('&').any(streams)) {
        return Err(ApiError::invalid("stream", "a stored response is not streamed again"));
    }
    let id = id_of(id)?;
    let response = shared.stored.response(&id).ok_or_else(|| not_stored(&id))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], response).into_response())
}

/// `DELETE /v1/responses/ID`.
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let id = id_of(id)?;
    match shared.stored.forget(&id) {
        true => Ok(Json(json!({ "id": id, "object": "response", "deleted": true }))),
        false => Err(not_stored(&id)),
    }
}

fn id_of(id: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::invalid("id", "the id is not UTF-8"))?;
    Ok(id)
}

fn not_stored(id: &str) -> ApiError {
    let problem = format!("the response {id:?} is not stored");
    ApiError::new(StatusCode::NOT_FOUND, &problem, None, "response_not_found")
}

struct Streamed {
    reply: ResponsesReply,
    shared: Arc<Shared>,
}

impl Chunks for Streamed {
    fn begin(&mut self) -> Vec<Value> {
        self.reply.begin()
    }

    fn step(&mut self, _: usize, step: &Step) -> Vec<Value> {
        match step {
            Step::Delta(delta, _) => self.reply.step(delta),
            Step::End(finish, timings) => {
                let events = self.reply.end(*finish, timings, now());
                keep(&self.shared, &mut self.reply);
                events
            }
        }
    }

    fn end(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn error(&mut self, error: ApiError) -> Vec<Value> {
        self.reply.failed(&error.body)
    }

    fn are_named(&self) -> bool {
        true
    }
}
