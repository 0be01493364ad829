//! Tokens and templates: the routes of vLLM and llama-server under their names.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Json;
use serde::Serialize;
use serde_json::{Value, json};

use super::common::with_body;
use super::error::ApiError;
use super::state::Shared;
use crate::api::{self, ChatRequest, TokenizeRequest, detokenize_request};
use crate::error::Error;

/// Tokens of a text. A `Value` would take 72 bytes for each.
#[derive(Serialize)]
pub(super) struct Tokens {
    count: usize,
    max_model_len: usize,
    tokens: Vec<u32>,
}

/// The text of tokens, under the names of vLLM and of llama-server.
#[derive(Serialize)]
pub(super) struct Text {
    prompt: String,
    content: String,
}

/// `GET /tokenizer_info`: the special tokens and the chat template (vLLM).
pub(super) async fn tokenizer_info(
    State(shared): State<Arc<Shared>>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(api::tokenizer_info(&shared.served()?.engine)?))
}

/// `POST /tokenize`: `{"prompt"}` (vLLM), `{"content"}` (llama-server) or `{"messages"}`.
pub(super) async fn tokenize(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<Tokens>, ApiError> {
    let work = with_body(&shared, request, |shared, engine, json| {
        let request = TokenizeRequest::read(json, shared.unknown())?;
        shared.model_name(request.model.as_deref())?;
        let tokens = request.tokens(engine)?;
        let max_model_len = engine.context_length();
        Ok(Tokens { count: tokens.len(), max_model_len, tokens })
    });
    work.await.map(Json)
}

/// `POST /detokenize`: `{"tokens"}` to `{"prompt"}` (vLLM), which is also `{"content"}` (llama-server).
pub(super) async fn detokenize(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<Text>, ApiError> {
    let work = with_body(&shared, request, |shared, engine, json| {
        let (tokens, model) = detokenize_request(json, shared.unknown())?;
        shared.model_name(model.as_deref())?;
        let named = |error: Error| ApiError::from(error).of("tokens");
        let tokenizer = engine.tokenizer().map_err(named)?;
        let text = tokenizer.decode(&tokens, false).map_err(|e| named(e.into()))?;
        Ok(Text { prompt: text.clone(), content: text })
    });
    work.await.map(Json)
}

/// `POST /apply-template`: the prompt of a chat request, as text.
pub(super) async fn apply_template(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<Value>, ApiError> {
    let work = with_body(&shared, request, |shared, engine, json| {
        let request = ChatRequest::read(json, shared.unknown())?;
        shared.model_name(request.model.as_deref())?;
        Ok(json!({ "prompt": engine.render_chat(&request.conversation)? }))
    });
    work.await.map(Json)
}
