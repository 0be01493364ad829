//! `POST /v1/messages` and `POST /v1/messages/count_tokens`, in the format of Anthropic's API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, Request, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::Value;

use super::answers::{Answers, Step};
use super::common::{log_skipped, with_body, with_ignored};
use super::error::{ApiError, Told};
use super::sse::{self, Chunks};
use super::state::Shared;
use crate::api::{MessagesReply, MessagesRequest, messages_error};

/// The header under which Anthropic's clients look for a request's name.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Answers a conversation.
pub(super) async fn messages(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let resolve = with_body(&shared, request, |shared, engine, json| {
        let request = MessagesRequest::read(json, shared.unknown())?;
        let head = shared.head(shared.model_name(request.chat.model.as_deref())?);
        // Taken here, since the work goes on if the client leaves.
        let ticket = shared.admit(1, "messages")?;
        let one = request.resolve(engine).map_err(|e| ApiError::from(e).of("messages"))?;
        log_skipped(&request.skipped_tools);
        let reply = MessagesReply::new(head, &request, one.prompt.len());
        // The rest of the request does not wait with its answer.
        Ok((reply, ticket, one, request.chat.streaming.stream, request.chat.ignored))
    });
    let (reply, ticket, one, stream, ignored) = resolve.await?;
    let answers = Answers::begin(&shared, ticket, vec![one]).map_err(|e| e.of("messages"))?;
    let response = if stream {
        sse::stream(answers, Streamed(reply))
    } else {
        let completed = answers.complete().await?.pop().unwrap_or_default();
        Json(reply.whole(completed)).into_response()
    };
    Ok(with_ignored(response, &ignored))
}

/// Counts the tokens of a conversation.
pub(super) async fn count_tokens(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let count = with_body(&shared, request, |shared, engine, json| {
        let request = MessagesRequest::read_to_count(json, shared.unknown())?;
        shared.model_name(request.chat.model.as_deref())?;
        let count = request.count_tokens(engine).map_err(|e| ApiError::from(e).of("messages"))?;
        log_skipped(&request.skipped_tools);
        Ok((count, request.chat.ignored))
    });
    let (count, ignored) = count.await?;
    Ok(with_ignored(Json(count).into_response(), &ignored))
}

struct Streamed(MessagesReply);

impl Chunks for Streamed {
    fn begin(&mut self) -> Vec<Value> {
        vec![self.0.begin()]
    }

    fn step(&mut self, _: usize, step: &Step) -> Vec<Value> {
        match step {
            Step::Delta(delta, _) => self.0.step(delta),
            Step::End(finish, timings) => self.0.end(*finish, timings),
        }
    }

    fn end(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn error(&mut self, error: ApiError) -> Vec<Value> {
        vec![messages_error(error.status.as_u16(), &error.body)]
    }

    fn are_named(&self) -> bool {
        true
    }
}

/// Whether errors of a path have Anthropic's shape.
pub(super) fn is_route(path: &str) -> bool {
    path.strip_prefix("/v1/messages").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The response with its error, if it is one, in Anthropic's shape.
pub(super) fn with_own_error(mut response: Response) -> Response {
    let Some(Told(error)) = response.extensions_mut().remove::<Told>() else { return response };
    let own = messages_error(response.status().as_u16(), &error).to_string();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(own);
    response
}
