//! Reads the bodies of requests, within limits.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::LengthLimitError;
use tokio::sync::OwnedSemaphorePermit;

use super::error::ApiError;
use super::state::Shared;

/// Most bytes of a body: 128,000 tokens are some 600 KB of text, and JSON may write a byte in six.
const MOST_BYTES: usize = 8 << 20;
/// Time in which a body must arrive.
const ARRIVES: Duration = Duration::from_secs(60);

/// The body of a request as JSON text, and its place among the bodies that are in memory.
///
/// # Errors
/// 415 for another content type, 413 if it is too long, 408 if it does not arrive in time, 400 if it is no text.
pub(super) async fn json_text(
    shared: &Shared,
    request: Request<Body>,
) -> Result<(String, OwnedSemaphorePermit), ApiError> {
    if !is_json(request.headers()) {
        let problem = "the body must be JSON, with the header \"content-type: application/json\"";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(status, problem, None, "unsupported_content_type"));
    }
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > MOST_BYTES) {
        return Err(too_long());
    }
    let kib = (declared.unwrap_or(MOST_BYTES) >> 10) as u32 + 1;
    let arrives = async {
        // The semaphore is never closed.
        let place =
            shared.bodies.clone().acquire_many_owned(kib).await.map_err(axum::Error::new)?;
        Ok((to_bytes(request.into_body(), MOST_BYTES).await?, place))
    };
    let (bytes, place) = match tokio::time::timeout(ARRIVES, arrives).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_limit(&error) => return Err(too_long()),
        Ok(Err(_)) => return Err(ApiError::invalid("request", "the body did not arrive whole")),
        Err(_) => {
            let problem = format!("the body did not arrive within {} s", ARRIVES.as_secs());
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(ApiError::new(status, &problem, None, "body_timeout"));
        }
    };
    let text = String::from_utf8(bytes.into());
    let text = text.map_err(|_| ApiError::invalid("request", "the body is not UTF-8"))?;
    Ok((text, place))
}

/// Whether a request says that its body is JSON. Pages of other sites cannot send this type unasked.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || (kind.len() > 5 && kind.to_ascii_lowercase().ends_with("+json"))
}

fn is_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

fn too_long() -> ApiError {
    let problem = format!("the body is longer than {} MiB", MOST_BYTES >> 20);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, &problem, None, "body_too_long")
}
