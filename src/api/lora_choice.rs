//! The LoRA adapters that requests choose.

use super::chat::ChatRequest;
use super::completion::CompletionRequest;
use super::lora::{LoraField, chosen};
use crate::engine::{Engine, LoraChoice};
use crate::error::Error;

impl ChatRequest {
    /// The LoRA adapter that the request chooses: by `lora`, or by an adapter's name as `model`.
    ///
    /// # Errors
    /// [`Error::Request`] if it is not loaded, or if the two fields name different ones.
    pub fn lora(&self, engine: &Engine) -> Result<Option<LoraChoice>, Error> {
        chosen(self.lora.as_ref(), self.model.as_deref(), &engine.name(), &engine.loras())
    }

    /// Lets the request use this adapter, unless it has a field `lora` or `model`.
    pub fn set_default_lora(&mut self, choice: Option<LoraChoice>) {
        if self.model.is_none() && self.lora.is_none() {
            self.lora = choice.map(LoraField::Named);
        }
    }

    /// The model's name in an answer: that of the adapter which `model` names, else the engine's.
    #[must_use]
    pub fn reply_model(&self, engine: &Engine) -> String {
        let asked = self.model.as_ref();
        let adapter = asked.filter(|asked| engine.loras().iter().any(|lora| lora.name == **asked));
        adapter.cloned().unwrap_or_else(|| engine.name())
    }
}

impl CompletionRequest {
    /// As [`ChatRequest::lora`].
    ///
    /// # Errors
    /// As [`ChatRequest::lora`].
    pub fn lora(&self, engine: &Engine) -> Result<Option<LoraChoice>, Error> {
        chosen(self.lora.as_ref(), self.model.as_deref(), &engine.name(), &engine.loras())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_gives_way_to_the_request() {
        let choice = LoraChoice { name: "a".to_owned(), scale: None };
        let with = |more: &str| {
            let json = format!(r#"{{"messages": [{{"role": "user", "content": "Hi"}}]{more}}}"#);
            let mut request = ChatRequest::from_json(&json).unwrap();
            request.set_default_lora(Some(choice.clone()));
            request.lora
        };
        assert_eq!(with(""), Some(LoraField::Named(choice.clone())));
        assert_eq!(with(r#", "model": "base""#), None);
        assert_eq!(with(r#", "lora": []"#), Some(LoraField::Off));
    }
}
