//! Steps that several routes share.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::response::Response;

use super::body::json_text;
use super::error::ApiError;
use super::state::Shared;
use crate::engine::Engine;

/// The header that lists unknown fields which were ignored.
pub(super) const IGNORED: HeaderName = HeaderName::from_static("x-ignored-fields");

/// Reads the body of a request and does `work` with it. The body keeps its place in memory until the work has ended.
///
/// # Errors
/// As [`json_text`], [`blocking`] and `work`, and 503 while there is no engine.
pub(super) async fn with_body<T: Send + 'static>(
    shared: &Arc<Shared>,
    request: Request<Body>,
    work: impl FnOnce(&Arc<Shared>, &Engine, &str) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let engine = shared.served()?.engine.clone();
    let (json, place) = json_text(shared, request).await?;
    let of = shared.clone();
    let work = move || {
        let _place = place;
        work(&of, &engine, &json)
    };
    blocking(shared, work).await?
}

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
        let names: Vec<String> = ignored.iter().take(32).map(|name| short(name)).collect();
        if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
            response.headers_mut().insert(IGNORED, value);
        }
    }
    response
}

/// A name that a client chose, for headers, which proxies limit, and for the log.
fn short(name: &str) -> String {
    name.escape_default().take(64).collect()
}

/// Logs the types of tools that a request offers and the server does not run.
pub(super) fn log_skipped(tools: &[String]) {
    if !tools.is_empty() {
        let names: Vec<String> = tools.iter().take(8).map(|kind| short(kind)).collect();
        log::info!(
            "left out {} tools that this server does not run: {}",
            tools.len(),
            names.join(", ")
        );
    }
}
