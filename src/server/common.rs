//! Steps that several routes share.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::error::ApiError;
use super::state::Shared;

/// The header that lists unknown fields which were ignored.
pub(super) const IGNORED: HeaderName = HeaderName::from_static("x-ignored-fields");

/// Runs work that takes milliseconds of a processor, or more: JSON, templates and tokenizers. It ends even if the
/// client leaves, so its number is limited.
///
/// # Errors
/// 500 if the work has panicked.
pub(super) async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    // The semaphore is never closed.
    let place = shared.at_work.clone().acquire_owned().await;
    let work = move || {
        let _place = place;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::internal())
}

/// Adds the header with the names of fields that were ignored.
pub(super) fn with_ignored(mut response: Response, ignored: &[String]) -> Response {
    if !ignored.is_empty() {
        // A client chooses them, and proxies limit headers.
        let short = |name: &String| -> String { name.escape_default().take(64).collect() };
        let names: Vec<String> = ignored.iter().take(32).map(short).collect();
        if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
            response.headers_mut().insert(IGNORED, value);
        }
    }
    response
}
