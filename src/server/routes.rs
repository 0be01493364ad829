//! The routes, and the steps that all requests take.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::access;
use super::common::IGNORED;
use super::error::ApiError;
use super::state::{Server, Shared};
use super::{chat, completions, info, messages, page, responses, tokens};

/// The header that names a request: the client's own, or a new one.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Server {
    /// The service that answers requests.
    pub(super) fn router(&self) -> Router {
        let shared = self.shared.clone();
        let router = page::routes(Router::new())
            .route("/health", get(info::health))
            .route("/metrics", get(info::metrics))
            .route("/v1/models", get(info::models))
            .route("/v1/models/{*name}", get(info::model))
            .route("/lora-adapters", get(info::lora_adapters))
            .route("/v1/chat/completions", post(chat::chat))
            .route("/v1/completions", post(completions::completions))
            .route("/v1/messages", post(messages::messages))
            .route("/v1/messages/count_tokens", post(messages::count_tokens))
            .route("/v1/responses", post(responses::responses))
            .route("/v1/responses/{id}", get(responses::stored).delete(responses::delete))
            .route("/v1/embeddings", post(info::no_embeddings))
            .route("/tokenize", post(tokens::tokenize))
            .route("/detokenize", post(tokens::detokenize))
            .route("/tokenizer_info", get(tokens::tokenizer_info))
            .route("/apply-template", post(tokens::apply_template))
            .fallback(no_route)
            .method_not_allowed_fallback(no_method)
            .with_state(shared.clone())
            .layer(from_fn_with_state(shared.clone(), checked));
        let router = match cors(&shared.options.cors) {
            Some(cors) => router.layer(cors),
            None => router,
        };
        router.layer(from_fn_with_state(shared, noted))
    }
}

/// Pages of these origins may call the server.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|o| HeaderValue::from_str(o).ok())),
    };
    let exposed = [REQUEST_ID, messages::REQUEST_ID, IGNORED, header::RETRY_AFTER];
    let methods = [Method::GET, Method::POST, Method::DELETE];
    let cors = CorsLayer::new().allow_origin(allowed).allow_methods(methods);
    Some(cors.allow_headers(AllowHeaders::mirror_request()).expose_headers(exposed))
}

/// Names a request, counts it and logs it.
async fn noted(State(shared): State<Arc<Shared>>, request: Request<Body>, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let is_anthropics = messages::is_route(request.uri().path());
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= 128).map(str::to_owned);
    let id = given.unwrap_or_else(|| format!("req-{}", shared.new_id()));
    let mut response = next.run(request).await;
    // Paths of unknown routes are whatever a client makes up, and would be a metric each.
    let matched = response.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unknown", MatchedPath::as_str);
    shared.metrics.request(route, response.status().as_u16());
    access::log(&method, route, response.status(), began.elapsed(), &id);
    if let Ok(id) = HeaderValue::from_str(&id) {
        if is_anthropics {
            response.headers_mut().insert(messages::REQUEST_ID, id.clone());
        }
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Checks the origin and the key of a request.
async fn checked(
    State(shared): State<Arc<Shared>>,
    route: Option<MatchedPath>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let is_anthropics = messages::is_route(request.uri().path());
    let is_open = |route: &MatchedPath| route.as_str() == "/health" || page::has(route.as_str());
    let needs_key = !route.as_ref().is_some_and(is_open);
    let mut response = match allowed(&shared, needs_key, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if is_anthropics {
        response = messages::with_own_error(response);
    }
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

fn allowed(shared: &Shared, needs_key: bool, headers: &HeaderMap) -> Result<(), ApiError> {
    // A page whose name resolves to this machine could use the server (DNS rebinding). Its requests name that host.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if let Some(host) = host.filter(|host| shared.options.local && !is_address(host)) {
        let problem = format!("this server is not {host:?}: use its IP address, or give it a key");
        return Err(ApiError::new(StatusCode::FORBIDDEN, &problem, None, "host_not_allowed"));
    }
    // Requests of a page name its origin too, except simple ones; other programs name none.
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?"));
    if let Some(origin) = origin.filter(|_| shared.options.keys.is_empty())
        && !is_local(origin)
        && !is_own(origin, host)
        && !shared.options.cors.iter().any(|allowed| allowed == "*" || allowed == origin)
    {
        let problem = format!("pages of {origin:?} may not call this server: see --cors");
        return Err(ApiError::new(StatusCode::FORBIDDEN, &problem, None, "origin_not_allowed"));
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    // Anthropic's clients may send both, of which one is another server's.
    let other = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    if !needs_key || shared.accepts_key(bearer) || shared.accepts_key(other) {
        return Ok(());
    }
    let problem = match bearer.or(other) {
        Some(_) => "the API key is wrong",
        None => "an API key is needed: send \"authorization: Bearer KEY\"",
    };
    Err(ApiError::new(StatusCode::UNAUTHORIZED, problem, None, "invalid_api_key"))
}

/// The name of a host without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Whether a host is an IP address or `localhost`, which nobody can make resolve elsewhere.
fn is_address(host: &str) -> bool {
    let name = name_of(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Whether an origin is this server's own page at an IP address, as `Host` names it.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    of_origin.is_some() && of_origin == host && host.is_some_and(is_address)
}

/// Whether an origin is this machine.
fn is_local(origin: &str) -> bool {
    let name = name_of(origin.split_once("://").map_or(origin, |(_, host)| host));
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

async fn no_route(request: Request<Body>) -> ApiError {
    let problem = format!("there is no {} {}", request.method(), request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, &problem, None, "unknown_url")
}

async fn no_method(request: Request<Body>) -> ApiError {
    let problem = format!("{} does not take {}", request.uri().path(), request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, &problem, None, "method_not_allowed")
}
