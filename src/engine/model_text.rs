//! A model's tokenizer and chat template.

use super::lazy_grammars::LazyGrammars;
use crate::error::Error;
use crate::formats::{FormatError, Metadata, ModelFiles, ModelKind, SourceError, gguf};
use crate::text::{
    AnswerFormat, ChatFormat, ChatTemplate, Conversation, Message, SpecialTokenTexts, TextError,
    Tokenizer,
};

const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
const MAX_TEMPLATE_BYTES: u64 = 4 << 20;

/// A model's tokenizer and chat template: everything that text needs without the weights.
pub struct ModelText {
    /// The model's name in errors: its directory or file, or `embedded`.
    place: String,
    /// `None` if the model has no tokenizer.
    tokenizer: Option<Tokenizer>,
    /// The tokenizer's file, for errors.
    tokenizer_file: &'static str,
    /// The chat format, or the reason for its absence.
    format: Result<ChatFormat, TextError>,
    /// Special tokens that templates know by name.
    special: SpecialTokenTexts,
    /// The end-of-text token by tokenizer_config.json.
    named_end: Option<String>,
    pub(super) grammars: LazyGrammars,
}

impl ModelText {
    /// Reads the tokenizer and the template of a model of either kind. A directory may have neither
    /// config.json nor weights. Ids must be below `vocab_size`.
    ///
    /// # Errors
    /// An invalid tokenizer. A missing or invalid template is reported when a conversation is
    /// rendered.
    pub async fn open(files: &ModelFiles, vocab_size: usize) -> Result<Self, Error> {
        if !files.is_file() && files.open("tokenizer.json")?.is_some() {
            return Self::from_files(files, vocab_size).await;
        }
        match files.kind().await {
            Ok(ModelKind::Gguf { source, .. }) => {
                let header = gguf::read_header(&*source, 0).await?;
                Self::from_gguf(files.place(), &header.metadata, vocab_size)
            }
            // config.json may be missing too.
            Ok(ModelKind::Hub) | Err(FormatError::Source(SourceError::Missing { .. })) => {
                Self::from_files(files, vocab_size).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads tokenizer and template from a GGUF file's metadata. `place` is the model's name in
    /// errors.
    ///
    /// # Errors
    /// As [`ModelText::open`].
    pub fn from_gguf(place: &str, metadata: &Metadata, vocab_size: usize) -> Result<Self, Error> {
        let tokenizer = Tokenizer::from_gguf(metadata, vocab_size)?;
        let text = |id| tokenizer.as_ref().and_then(|tokenizer| tokenizer.token_text(id));
        let special = SpecialTokenTexts::from_gguf(metadata, text);
        let template = special.clone().and_then(|s| ChatTemplate::from_gguf(metadata, &s));
        let format = template.map(|template| ChatFormat::new(template, tokenizer.as_ref()));
        let special = special.unwrap_or_default();
        let tokenizer_file = "tokenizer in its metadata";
        let place = place.to_owned();
        Ok(Self {
            place,
            format,
            tokenizer,
            tokenizer_file,
            special,
            named_end: None,
            grammars: LazyGrammars::default(),
        })
    }

    /// Reads tokenizer.json, and the template from chat_template.jinja or tokenizer_config.json.
    async fn from_files(files: &ModelFiles, vocab_size: usize) -> Result<Self, Error> {
        let tokenizer = match files.read_small("tokenizer.json", MAX_TOKENIZER_BYTES).await? {
            Some(bytes) => Some(Tokenizer::from_json(&bytes, vocab_size)?),
            None => None,
        };
        let jinja = files.read_small("chat_template.jinja", MAX_TEMPLATE_BYTES).await?;
        let config = files.read_small("tokenizer_config.json", MAX_TOKENIZER_BYTES).await?;
        let first = tokenizer.as_ref().and_then(|t| Some((t, *t.encode("", true).ok()?.first()?)));
        let bos = first.and_then(|(tokenizer, id)| tokenizer.token_text(id));
        let template = ChatTemplate::from_files(jinja.as_deref(), config.as_deref())
            .map(|template| template.with_default_bos(bos));
        // An invalid file is reported when a conversation is rendered, like an invalid template.
        let special = config.map(|config| SpecialTokenTexts::from_tokenizer_config(&config));
        let mut special = special.and_then(Result::ok).unwrap_or_default();
        special.bos_token = special.bos_token.or(bos.map(str::to_owned));
        let format = template.map(|template| ChatFormat::new(template, tokenizer.as_ref()));
        let tokenizer_file = "tokenizer.json";
        let named_end = special.eos_token.clone();
        let place = files.place().to_owned();
        Ok(Self {
            place,
            tokenizer,
            tokenizer_file,
            format,
            special,
            named_end,
            grammars: LazyGrammars::default(),
        })
    }

    /// The text of a model that has neither tokenizer nor template.
    pub(super) fn none(place: &str) -> Self {
        Self {
            place: place.to_owned(),
            tokenizer: None,
            tokenizer_file: "tokenizer.json",
            format: Err(TextError::NoTemplate),
            special: SpecialTokenTexts::default(),
            named_end: None,
            grammars: LazyGrammars::default(),
        }
    }

    /// The same model with another chat template.
    ///
    /// # Errors
    /// [`Error::Text`] if it does not parse.
    pub fn with_chat_template(self, source: &str) -> Result<Self, Error> {
        let template = ChatTemplate::new(source, &self.special)?;
        let format = Ok(ChatFormat::new(template, self.tokenizer.as_ref()));
        Ok(Self { format, ..self })
    }

    /// The same model without its tokenizer: every id may be sampled, and answers are ids.
    #[must_use]
    pub fn without_tokenizer(self) -> Self {
        Self { tokenizer: None, grammars: LazyGrammars::default(), ..self }
    }

    /// The model's name in errors: its directory or file, or `embedded`.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The model's name: that of its file, folder or repository.
    #[must_use]
    pub fn name(&self) -> String {
        match self.place() {
            "embedded" => "demo".to_owned(),
            place => crate::formats::model_name(place),
        }
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`Error::NoTextFile`] if the model has none.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.tokenizer.as_ref().ok_or_else(|| Error::NoTextFile {
            place: self.place.clone(),
            file: self.tokenizer_file,
        })
    }

    /// The text of the chat template; `None` if there is none that can be used.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.format.as_ref().ok().map(|format| format.template().source())
    }

    /// The special tokens that the model's files name, by their texts.
    #[must_use]
    pub fn special_tokens(&self) -> &SpecialTokenTexts {
        &self.special
    }

    /// The id of the end-of-text token by tokenizer_config.json.
    pub(super) fn named_end(&self) -> Option<u32> {
        self.tokenizer.as_ref()?.token_id(self.named_end.as_ref()?)
    }

    /// Renders a conversation by the model's chat template.
    ///
    /// # Errors
    /// [`Error::Text`] if there is no template, or it refuses the conversation.
    pub fn render(
        &self,
        conversation: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<String, Error> {
        Ok(self.format()?.render(conversation, add_generation_prompt)?)
    }

    pub(super) fn format(&self) -> Result<&ChatFormat, Error> {
        self.format.as_ref().map_err(|e| Error::Text(e.clone()))
    }

    /// The token ids of a conversation up to the beginning of the assistant's answer, or without
    /// that beginning if the conversation says so.
    ///
    /// # Errors
    /// As [`ModelText::render`] and [`ModelText::tokenizer`].
    pub fn encode_chat(&self, conversation: &Conversation) -> Result<Vec<u32>, Error> {
        Ok(self.chat(conversation)?.0)
    }

    /// As [`ModelText::encode_chat`], together with the format of the answer.
    ///
    /// # Errors
    /// As [`ModelText::encode_chat`].
    pub fn chat(&self, conversation: &Conversation) -> Result<(Vec<u32>, AnswerFormat), Error> {
        let (text, begun) = self.chat_text(conversation)?;
        // The template writes the beginning-of-text token itself.
        let ids = self.tokenizer()?.encode(&text, false)?;
        let tools = conversation.tools.as_deref().filter(|tools| !tools.is_empty());
        Ok((ids, self.format()?.answer_format(&text, begun.as_deref(), tools)))
    }

    /// The text of a conversation's prompt, and the beginning of the answer that it ends with.
    pub(super) fn chat_text(
        &self,
        conversation: &Conversation,
    ) -> Result<(String, Option<String>), Error> {
        if conversation.continue_final_message == Some(true) {
            let (text, begun) = self.format()?.render_begun(conversation)?;
            return Ok((text, Some(begun)));
        }
        let answer_begins = conversation.add_generation_prompt.unwrap_or(true);
        Ok((self.render(conversation, answer_begins)?, None))
    }

    /// The format of an answer whose prompt is unknown. With `tools` only calls of these are read,
    /// without them calls of any tool.
    #[must_use]
    pub fn answer_format(&self, tools: Option<&[serde_json::Value]>) -> AnswerFormat {
        let format = match &self.format {
            Ok(format) => {
                // A template that refuses these turns adds no beginning to the answer.
                let turns = Conversation::new([Message::user("Hi")]);
                let prompt = format.render(&turns, true).unwrap_or_default();
                format.answer_format(&prompt, None, tools)
            }
            Err(_) => AnswerFormat::of_vocabulary(self.tokenizer.as_ref(), tools),
        };
        if tools.is_some() { format } else { format.with_any_calls() }
    }
}
