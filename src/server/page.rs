//! The chat page at `/`, which examples/web makes (`npm run build:served`). It is compiled in.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// A page of this server may run its own script and ask this server, and no more.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// Path, media type and content of each file.
const FILES: [(&str, &str, &[u8]); 5] = [
    ("/", "text/html; charset=utf-8", include_bytes!("../../assets/page/index.html")),
    ("/page.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/page/page.js")),
    ("/index.css", "text/css; charset=utf-8", include_bytes!("../../assets/page/index.css")),
    ("/icon.svg", "image/svg+xml", include_bytes!("../../assets/page/icon.svg")),
    ("/licences.md", "text/plain; charset=utf-8", include_bytes!("../../assets/page/licences.md")),
];

/// Whether a route is a file of the page. The page needs no key: it asks the visitor for one.
pub(super) fn has(route: &str) -> bool {
    FILES.iter().any(|(path, ..)| *path == route)
}

/// Adds the page's files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    FILES.iter().fold(router, |router, &(path, kind, content)| {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            // The next version of the server has another page at the same address.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        router.route(path, get(move || async move { (headers, content).into_response() }))
    })
}
