//! A session answers: a conversation, a prompt, or a few tokens to warm the device up.

use super::{Engine, GenerateOptions, Generation, Session};
use crate::error::Error;
use crate::text::{AnswerFormat, Calls, Conversation, SpecialTokens};

impl Session {
    /// Answers a conversation by the model's chat template. Reasoning is told apart from the text, and
    /// if the conversation has tools, so are calls of them.
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

    /// Continues a prompt; the text is all that the model says. What the prompt has in common with
    /// the session's tokens is not computed again.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::ContextFull`] if not even one
    /// token of an answer fits, [`Error::Option`]. The session is then as it was.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Generation<'_>, Error> {
        self.answer(prompt, AnswerFormat::default(), options)
    }

    /// Continues a prompt whose answer has a form ([`ModelText::chat`](super::ModelText::chat) gives
    /// both), as [`Session::generate`].
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
    /// Answers a few tokens that nobody sees, so that no driver compiles or allocates while a person
    /// waits for the first answer. Needs a free sequence.
    ///
    /// # Errors
    /// [`Error::NoFreeSequence`], and as [`Generation::next`].
    pub async fn warm_up(&self) -> Result<(), Error> {
        let mut session = self.session()?;
        // More rows than `matvec` takes, so that the kernels of long prompts run too.
        let few = self.inner.runner.choices.matvec_rows as usize;
        let prompt = vec![0; (2 * few).min(self.context_length() - 1)];
        let options =
            GenerateOptions { max_tokens: Some(2), ignore_end: true, ..GenerateOptions::default() };
        session.generate(&prompt, &options)?.text().await?;
        Ok(())
    }
}
