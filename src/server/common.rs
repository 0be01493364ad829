//! Steps that several routes share.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::error::ApiError;

/// The header that lists unknown fields which were ignored.
pub(super) const IGNORED: HeaderName = HeaderName::from_static("x-ignored-fields");

/// Runs work that takes milliseconds of a processor: templates and tokenizers.
///
/// # Errors
/// 500 if the work has panicked.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let failed = "the request could not be processed: this is a bug of the server";
    let error = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, failed, None, "internal");
    tokio::task::spawn_blocking(work).await.map_err(error)
}

/// Adds the header with the names of fields that were ignored.
pub(super) fn with_ignored(mut response: Response, ignored: &[String]) -> Response {
    if !ignored.is_empty() {
        let names: Vec<String> =
            ignored.iter().map(|name| name.escape_default().to_string()).collect();
        if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
            response.headers_mut().insert(IGNORED, value);
        }
    }
    response
}
