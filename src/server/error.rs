//! Errors as OpenAI's API reports them. A request that would fail again gets a status from 400 to 499, which clients
//! do not repeat, except 408, 409 and 429.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use crate::api::error_json;
use crate::error::Error;

/// The error of a response, from which routes of other formats make their own.
#[derive(Clone)]
pub(super) struct Told(pub Value);

/// An error with its status.
#[derive(Debug)]
pub(super) struct ApiError {
    pub status: StatusCode,
    pub body: Value,
    /// Seconds after which the client may try again.
    retry_after: Option<u32>,
    /// Tells OpenAI's and Anthropic's clients not to try again.
    final_error: bool,
}

impl ApiError {
    /// An error whose message, field and code are known.
    pub fn new(status: StatusCode, message: &str, param: Option<&str>, code: &str) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let error = json!({ "message": message, "type": kind, "param": param, "code": code });
        let body = json!({ "error": error });
        Self { status, body, retry_after: None, final_error: false }
    }

    /// A field that is wrong.
    pub fn invalid(field: &str, problem: &str) -> Self {
        let message = format!("{field}: {problem}");
        Self::new(StatusCode::BAD_REQUEST, &message, Some(field), "invalid_request")
    }

    /// The server cannot answer now.
    pub fn unavailable(code: &str, message: &str, retry_after: u32) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, message, None, code);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The queue is full.
    pub fn full(most: usize) -> Self {
        let message = format!("the queue is full: {most} answers run and wait; try again later");
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, &message, None, "queue_full");
        Self { retry_after: Some(1), ..error }
    }

    /// Names the field of the request, if the error is the request's and names none.
    pub fn of(mut self, field: &str) -> Self {
        if self.status == StatusCode::BAD_REQUEST && self.body["error"]["param"].is_null() {
            self.body["error"]["param"] = field.into();
        }
        self
    }

    /// A model that is not loaded.
    pub fn no_model(asked: &str, own: &str) -> Self {
        let message = format!("model: {asked:?} is not loaded; this server has {own:?}");
        Self::new(StatusCode::NOT_FOUND, &message, Some("model"), "model_not_found")
    }

    /// A bug of the server. Another try would meet it again.
    pub fn internal() -> Self {
        let problem = "the request could not be processed: this is a bug of the server";
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, problem, None, "internal");
        Self { final_error: true, ..error }
    }

    /// An answer that has taken too long. Another try would take as long.
    pub fn timeout(seconds: u64) -> Self {
        let message = format!("the answer took longer than {seconds} s, the server's --timeout");
        let error = Self::new(StatusCode::GATEWAY_TIMEOUT, &message, None, "timeout");
        Self { final_error: true, ..error }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let body = error_json(&error);
        let (status, retry_after) = match error.code() {
            "context_full" | "invalid_request" | "bad_model" => (StatusCode::BAD_REQUEST, None),
            "device_lost" => (StatusCode::SERVICE_UNAVAILABLE, Some(5)),
            "busy" => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        Self { status, body, retry_after, final_error: retry_after.is_none() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let told = Told(self.body.clone());
        let mut response = (self.status, Json(self.body)).into_response();
        response.extensions_mut().insert(told);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.final_error {
            let name = HeaderName::from_static("x-should-retry");
            headers.insert(name, HeaderValue::from_static("false"));
        }
        response
    }
}
