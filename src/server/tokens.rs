//! Tokens and templates: the routes of vLLM and llama-server under their names.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Json;
use serde_json::{Value, json};

use super::body::json_text;
use super::common::blocking;
use super::error::ApiError;
use super::state::Shared;
use crate::api::{ChatRequest, TokenizeRequest, detokenize_request};

/// `POST /tokenize`: `{"prompt"}` (vLLM), `{"content"}` (llama-server) or `{"messages"}`.
pub(super) async fn tokenize(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<Value>, ApiError> {
    let engine = shared.served()?.engine.clone();
    let json = json_text(request).await?;
    let request = TokenizeRequest::read(&json, shared.unknown())?;
    shared.model_name(request.model.as_deref())?;
    let most = engine.context_length();
    let tokens = blocking(move || request.tokens(&engine)).await??;
    Ok(Json(json!({ "count": tokens.len(), "max_model_len": most, "tokens": tokens })))
}

/// `POST /detokenize`: `{"tokens"}` to `{"prompt"}` (vLLM), which is also `{"content"}` (llama-server).
pub(super) async fn detokenize(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<Value>, ApiError> {
    let engine = shared.served()?.engine.clone();
    let json = json_text(request).await?;
    let (tokens, model) = detokenize_request(&json, shared.unknown())?;
    shared.model_name(model.as_deref())?;
    let text = blocking(move || -> Result<String, crate::Error> {
        Ok(engine.tokenizer()?.decode(&tokens, false)?)
    });
    let text = text.await?.map_err(|error| ApiError::from(error).of("tokens"))?;
    Ok(Json(json!({ "prompt": text, "content": text })))
}

/// `POST /apply-template`: the prompt of a chat request, as text.
pub(super) async fn apply_template(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<Value>, ApiError> {
    let engine = shared.served()?.engine.clone();
    let json = json_text(request).await?;
    let request = ChatRequest::read(&json, shared.unknown())?;
    shared.model_name(request.model.as_deref())?;
    let text = blocking(move || engine.render_chat(&request.conversation)).await??;
    Ok(Json(json!({ "prompt": text })))
}
