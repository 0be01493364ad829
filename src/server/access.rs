//! The log of requests. It has no prompts and no answers.

use std::time::Duration;

use axum::http::{Method, StatusCode};

/// Target of the log lines.
const TARGET: &str = "lfm2_wgpu::access";

/// Logs a request whose answer begins. `route` is a pattern, so that names in paths are not logged. Checks of health are logged as details.
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
