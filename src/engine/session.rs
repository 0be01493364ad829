//! A session: a conversation on an engine.

use super::{Engine, GenerateOptions, GenerateRequest, Generation};
use crate::error::Error;
use crate::text::{AnswerFormat, Conversation};

/// A conversation on an engine. The engine keeps the state of earlier turns in its prefix cache, so that
/// a conversation's next turn computes only its new tokens.
#[derive(Clone)]
pub struct Session {
    engine: Engine,
}

impl Engine {
    /// A new conversation. Any number can run at once: those that exceed the engine's sequences wait.
    #[must_use]
    pub fn session(&self) -> Session {
        Session { engine: self.clone() }
    }
}

impl Session {
    /// The engine it runs on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Answers a conversation by the model's chat template. Reasoning is separated from the text,
    /// and tool calls too if the conversation has tools.
    ///
    /// # Errors
    /// [`Error::Text`], [`Error::ContextFull`], [`Error::Option`].
    pub fn respond(
        &self,
        conversation: &Conversation,
        options: &GenerateOptions,
    ) -> Result<Generation, Error> {
        let (prompt, format) = self.engine.chat_prompt(conversation)?;
        self.engine.generate(GenerateRequest { prompt, format, options: options.clone() })
    }

    /// Continues a prompt; the text is the model's whole output.
    ///
    /// # Errors
    /// As [`Engine::generate`].
    pub fn generate(&self, prompt: &[u32], options: &GenerateOptions) -> Result<Generation, Error> {
        let (prompt, format) = (prompt.to_vec(), AnswerFormat::default());
        self.engine.generate(GenerateRequest { prompt, format, options: options.clone() })
    }
}
