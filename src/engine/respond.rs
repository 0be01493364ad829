//! Answers of a session: to a conversation, to a prompt, or to a few tokens that warm the device
//! up.

use super::{Engine, GenerateOptions, Generation, Session};
use crate::error::Error;
use crate::text::{AnswerFormat, Calls, Conversation, SpecialTokens};

impl Session {
    /// Answers a conversation by the model's chat template. Reasoning is separated from the text,
    /// and tool calls too if the conversation has tools.
    ///
    /// # Errors
    /// [`Error::Text`], [`Error::ContextFull`], [`Error::Option`].
    pub fn respond(
        &mut self,
        conversation: &Conversation,
        options: &GenerateOptions,
    ) -> Result<Generation<'_>, Error> {
        let (prompt, format) = self.engine().inner.text.chat(conversation)?;
        self.answer(&prompt, format, options)
    }

    /// Continues a prompt; the text is the model's whole output. The prompt's common prefix with
    /// the session's tokens is not computed again.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::ContextFull`] if not even one
    /// token of an answer fits, [`Error::Option`]. The session is then unchanged.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Generation<'_>, Error> {
        self.answer(prompt, AnswerFormat::default(), options)
    }

    /// Continues a prompt, as [`Session::generate`], and reads the answer by `format`
    /// ([`ModelText::chat`](super::ModelText::chat) returns both).
    ///
    /// # Errors
    /// As [`Session::generate`].
    pub fn answer(
        &mut self,
        prompt: &[u32],
        format: AnswerFormat,
        options: &GenerateOptions,
    ) -> Result<Generation<'_>, Error> {
        self.check_prompt(prompt)?;
        if prompt.len() >= self.engine().context_length() {
            return Err(Error::ContextFull {
                prompt: prompt.len(),
                context: self.engine().context_length(),
                most: self.engine().config().max_position_embeddings,
            });
        }
        let format = match options.specials {
            SpecialTokens::Hide => format,
            SpecialTokens::ToolCalls => AnswerFormat { calls: Calls::InText, ..format },
            SpecialTokens::Show => AnswerFormat::default(),
        };
        Generation::new(self, prompt, format, options)
    }
}

impl Engine {
    /// Generates a few tokens and discards them, so that the driver does not compile or allocate
    /// during the first answer. Needs a free sequence.
    ///
    /// # Errors
    /// [`Error::NoFreeSequence`], and as [`Generation::next`].
    pub async fn warm_up(&self) -> Result<(), Error> {
        let mut session = self.session()?;
        // The prompt has more rows than `matvec` takes, so that the kernels for long prompts run
        // too.
        let few = self.inner.runner.choices.matvec_rows as usize;
        let prompt = vec![0; (few + 1).min(self.context_length() - 1)];
        let options =
            GenerateOptions { max_tokens: Some(2), ignore_end: true, ..GenerateOptions::default() };
        session.generate(&prompt, &options)?.text().await?;
        Ok(())
    }
}
