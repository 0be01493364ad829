//! Requests for tokens, in vLLM's and llama-server's formats.

use serde_json::{Value, json};

use super::chat::ChatRequest;
use super::fields::{Fields, Unknown, wrong};
use crate::engine::Engine;
use crate::error::Error;

/// A request for the tokens of a text or of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizeRequest {
    /// The model's name by the caller; it is not checked.
    pub model: Option<String>,
    input: Input,
}

#[derive(Clone, Debug, PartialEq)]
enum Input {
    Text { text: String, add_special_tokens: bool },
    Chat(Box<ChatRequest>),
}

impl TokenizeRequest {
    /// Reads `{"prompt", "add_special_tokens"}` (vLLM, which adds them by default), `{"content", "add_special"}`
    /// (llama-server, which does not), or a chat request.
    ///
    /// # Errors
    /// [`Error::Request`] for the first field that is missing, unknown or of the wrong type.
    pub fn read(json: &str, unknown: Unknown) -> Result<Self, Error> {
        let mut fields = Fields::of_json(json)?;
        if fields.0.contains_key("messages") {
            let chat = ChatRequest::read(json, unknown)?;
            return Ok(Self { model: chat.model.clone(), input: Input::Chat(chat.into()) });
        }
        let prompt = fields.string("prompt")?;
        let specials = fields.bool("add_special_tokens")?.unwrap_or(true);
        let content = fields.string("content")?;
        let special = fields.bool("add_special")?.unwrap_or(false);
        let (text, add_special_tokens) = match (prompt, content) {
            (Some(text), None) => (text, specials),
            (None, Some(text)) => (text, special),
            (Some(_), Some(_)) => {
                return Err(wrong("content", "excludes prompt: give one of them"));
            }
            (None, None) => return Err(wrong("prompt", "missing")),
        };
        let model = fields.string("model")?;
        fields.end(unknown)?;
        Ok(Self { model, input: Input::Text { text, add_special_tokens } })
    }

    /// The tokens.
    ///
    /// # Errors
    /// [`Error::Text`] if the text cannot be encoded, or the template refuses the conversation.
    pub fn tokens(&self, engine: &Engine) -> Result<Vec<u32>, Error> {
        match &self.input {
            Input::Text { text, add_special_tokens } => {
                Ok(engine.tokenizer()?.encode(text, *add_special_tokens)?)
            }
            Input::Chat(chat) => engine.encode_chat(&chat.conversation),
        }
    }
}

/// Reads `{"tokens"}`, and the model's name by the caller.
///
/// # Errors
/// [`Error::Request`] for the first field that is missing, unknown or of the wrong type.
pub fn detokenize_request(
    json: &str,
    unknown: Unknown,
) -> Result<(Vec<u32>, Option<String>), Error> {
    let mut fields = Fields::of_json(json)?;
    let need = || wrong("tokens", "must be a list of token ids");
    let tokens = fields.take("tokens").ok_or_else(need)?;
    let tokens: Vec<u32> = serde_json::from_value(tokens).map_err(|_| need())?;
    let model = fields.string("model")?;
    fields.end(unknown)?;
    Ok((tokens, model))
}

/// The special tokens and the chat template, under the names of tokenizer_config.json, as in vLLM.
///
/// # Errors
/// [`Error::NoTextFile`] if the model has no tokenizer.
pub fn tokenizer_info(engine: &Engine) -> Result<Value, Error> {
    engine.tokenizer()?;
    let special = engine.special_tokens();
    Ok(json!({
        "bos_token": special.bos_token,
        "eos_token": special.eos_token,
        "pad_token": special.pad_token,
        "unk_token": special.unk_token,
        "chat_template": engine.chat_template(),
        "model_max_length": engine.context_length(),
    }))
}
