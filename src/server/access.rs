//! The log of requests. It has no prompts and no answers.

use std::time::Duration;

use axum::http::{Method, StatusCode};

/// Target of the log lines.
pub(super) const TARGET: &str = "lfm2_wgpu::access";

/// The route of a request: its pattern, so that names in paths are not logged or counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route(pub &'static str);

const ROUTES: [&str; 10] = [
    "/health",
    "/metrics",
    "/v1/models",
    "/v1/models/{*name}",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/tokenize",
    "/detokenize",
    "/apply-template",
];

impl Default for Route {
    fn default() -> Self {
        Self("unknown")
    }
}

impl Route {
    /// The route that axum has matched.
    pub fn of(matched: Option<&str>) -> Self {
        let known = ROUTES.into_iter().find(|route| Some(*route) == matched);
        known.map_or_else(Self::default, Self)
    }
}

/// Logs a request whose answer begins. Checks of health are logged as details.
pub(super) fn log(method: &Method, route: &str, status: StatusCode, time: Duration, id: &str) {
    let level = if route == "/health" || route == "/metrics" {
        log::Level::Debug
    } else {
        log::Level::Info
    };
    let (status, ms) = (status.as_u16(), time.as_millis() as u64);
    log::log!(
        target: TARGET, level, method = method.as_str(), route, status, ms, id;
        "{method} {route} {status} {ms} ms {id}"
    );
}
