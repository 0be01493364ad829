//! The state of the server, and its model.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::common::blocking;
use super::error::ApiError;
use super::state::{Served, Shared};
use crate::engine::{Engine, LoraInfo};
use crate::text::{Moment, strftime};

/// `GET /health`: 200 if requests are answered, else 503 with the state: `loading`, `shutting_down` or `lost`.
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let Some(Served { engine, .. }) = shared.loaded() else {
        let body = json!({ "status": "loading" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    };
    let status = match () {
        () if shared.is_draining() => "shutting_down",
        () if engine.device().check().is_err() => "lost",
        () => "ok",
    };
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": status,
        "model": engine.name(),
        "context_length": engine.context_length(),
        "parallel": engine.sequences(),
        "in_flight": shared.in_flight(),
        "max_queue": shared.options.max_queue,
    });
    (code, Json(body)).into_response()
}

/// `GET /metrics`, for Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let of = shared.clone();
    let text = blocking(&shared, move || of.metrics.text()).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// `GET /v1/models`.
pub(super) async fn models(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    let Served { engine, created, .. } = shared.served()?;
    let own = engine.name();
    let adapters: Vec<String> = engine.loras().into_iter().map(|lora| lora.name).collect();
    let names = std::iter::once(&own).chain(&shared.options.aliases).chain(&adapters);
    let data: Vec<Value> = names.map(|name| of_model(engine, name, *created)).collect();
    let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    // Anthropic's clients read these fields, OpenAI's clients `object`.
    let page = json!({ "object": "list", "has_more": false, "first_id": first, "last_id": last, "data": data });
    Ok(Json(page))
}

/// `GET /v1/models/NAME`.
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::invalid("model", "the name is not UTF-8"))?;
    let Served { engine, created, .. } = shared.served()?;
    let name = shared.model_name(Some(&name))?;
    Ok(Json(of_model(engine, &name, *created)))
}

/// `GET /lora-adapters`, as in llama-server. `path` is the name: clients need not know the server's folders.
pub(super) async fn lora_adapters(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<Value>, ApiError> {
    let loras = shared.served()?.engine.loras();
    let one = |(id, lora): (usize, &LoraInfo)| {
        let LoraInfo { name, rank, scale } = lora;
        json!({ "id": id, "path": name, "scale": scale, "name": name, "rank": rank })
    };
    Ok(Json(loras.iter().enumerate().map(one).collect()))
}

/// A model or a LoRA adapter. As in vLLM, `parent` of an adapter is the model.
fn of_model(engine: &Engine, name: &str, created: u64) -> Value {
    let own = engine.name();
    let is_lora = name != own && engine.loras().iter().any(|lora| lora.name == name);
    let time = Moment::utc(i64::try_from(created).unwrap_or(i64::MAX));
    json!({
        "id": name,
        "object": "model",
        "created": created,
        // Names of Anthropic's API.
        "type": "model",
        "display_name": name,
        "created_at": strftime("%Y-%m-%dT%H:%M:%SZ", time).unwrap_or_default(),
        "owned_by": "lfm2-wgpu",
        "parent": is_lora.then_some(own),
        "max_model_len": engine.context_length(),
        "meta": {
            "n_params": engine.size().total_parameters,
            "n_vocab": engine.config().vocab_size,
            "n_ctx_train": engine.config().max_position_embeddings,
            "weights": engine.weight_format(),
            "gpu": engine.device().adapter().name,
        },
    })
}

/// `POST /v1/embeddings`: no model of this server has them.
pub(super) async fn no_embeddings() -> ApiError {
    let problem = "the model generates text: it has no embeddings";
    ApiError::new(StatusCode::NOT_FOUND, problem, None, "no_embeddings")
}
