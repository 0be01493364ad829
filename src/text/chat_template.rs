//! Chat templates, which render a conversation as the text that the model was trained on.
//!
//! Templates are programs for jinja2 within transformers' `apply_chat_template`. They run in our own
//! interpreter of that language (`text/jinja`) with a budget of work: a template is as untrusted as
//! any other file of a model.

use super::conversation::{Conversation, Message};
use super::error::{TextError, one_line, quote};
use super::jinja::{Class, Error, Program};
use super::strftime::{Moment, strftime};
use crate::formats::{Metadata, json_bytes, without_mark};
use serde_json::{Map, Value as Json};
use std::fmt;
use std::sync::Arc;

/// Maximum size of a template in a GGUF file; LFM2.5's has 4 kB.
const MAX_BYTES: usize = 4 << 20;

/// Texts of special tokens, under their names in templates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokenTexts {
    /// Begins a text, e.g. `<|startoftext|>`.
    pub bos_token: Option<String>,
    /// Ends an answer, e.g. `<|im_end|>`.
    pub eos_token: Option<String>,
    /// Pads batches.
    pub pad_token: Option<String>,
    /// Stands for unknown text.
    pub unk_token: Option<String>,
}

impl SpecialTokenTexts {
    /// Reads the tokens of a `tokenizer_config.json`: each a string or `{"content": ...}`.
    ///
    /// # Errors
    /// [`TextError::TokenizerConfig`] if the file is not a JSON object or a token is neither of them.
    pub fn from_tokenizer_config(tokenizer_config: &[u8]) -> Result<Self, TextError> {
        Self::from_map(&parse_config(tokenizer_config)?)
    }

    /// Reads the tokens of a GGUF file's metadata; `text` gives the text of a token.
    ///
    /// # Errors
    /// [`TextError::Key`] if an id is invalid.
    pub fn from_gguf<'t>(
        metadata: &Metadata,
        text: impl Fn(u32) -> Option<&'t str>,
    ) -> Result<Self, TextError> {
        let token = |name: &str| -> Result<Option<String>, TextError> {
            let id = metadata.token(&format!("tokenizer.ggml.{name}_token_id"), usize::MAX)?;
            Ok(id.and_then(&text).map(str::to_owned))
        };
        Ok(Self {
            bos_token: token("bos")?,
            eos_token: token("eos")?,
            pad_token: token("padding")?,
            unk_token: token("unknown")?,
        })
    }

    fn from_map(config: &Map<String, Json>) -> Result<Self, TextError> {
        let token = |key: &str| match config.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(other) => match other.get("content") {
                Some(Json::String(text)) => Ok(Some(text.clone())),
                _ => Err(bad_config(key, "must be a string or an object with content")),
            },
        };
        Ok(Self {
            bos_token: token("bos_token")?,
            eos_token: token("eos_token")?,
            pad_token: token("pad_token")?,
            unk_token: token("unk_token")?,
        })
    }

    fn named(&self) -> [(&'static str, &Option<String>); 4] {
        [
            ("bos_token", &self.bos_token),
            ("eos_token", &self.eos_token),
            ("pad_token", &self.pad_token),
            ("unk_token", &self.unk_token),
        ]
    }
}

/// A parsed chat template.
#[derive(Clone)]
pub struct ChatTemplate {
    program: Arc<Program>,
    source: Arc<str>,
    special: SpecialTokenTexts,
    /// The time for `strftime_now`; `None` for the local time.
    time: Option<Moment>,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("special", &self.special).finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TextError::Template`] with the line of a syntax error. Also for an empty template, which
    /// transformers accepts: every conversation would render as nothing.
    pub fn new(source: &str, special: &SpecialTokenTexts) -> Result<Self, TextError> {
        if source.trim().is_empty() {
            let problem = "is empty: every conversation would render as nothing; use --raw to send \
                           the prompt as it is";
            return Err(TextError::Template { line: None, problem: problem.to_owned() });
        }
        let program = Program::compile(source).map_err(|e| template_error(&e, 0))?;
        let (program, source) = (Arc::new(program), source.into());
        Ok(Self { program, source, special: special.clone(), time: None })
    }

    /// Takes the template from a model's files: `chat_template.jinja`, or else `chat_template` in
    /// `tokenizer_config.json` (a template, or a list of named ones of which `default` is taken).
    ///
    /// # Errors
    /// [`TextError::NoTemplate`] if neither holds one; otherwise as [`ChatTemplate::new`] and
    /// [`SpecialTokenTexts::from_tokenizer_config`].
    pub fn from_files(
        chat_template_jinja: Option<&[u8]>,
        tokenizer_config: Option<&[u8]>,
    ) -> Result<Self, TextError> {
        let config = tokenizer_config.map(parse_config).transpose()?.unwrap_or_default();
        let special = SpecialTokenTexts::from_map(&config)?;
        if let Some(bytes) = chat_template_jinja {
            let source = std::str::from_utf8(bytes).map_err(|e| TextError::Template {
                line: None,
                problem: format!("chat_template.jinja is not UTF-8 (byte {})", e.valid_up_to()),
            })?;
            return Self::new(without_mark(source), &special);
        }
        match config.get("chat_template") {
            None | Some(Json::Null) => Err(TextError::NoTemplate),
            Some(Json::String(source)) => Self::new(source, &special),
            Some(Json::Array(named)) => Self::new(default_of(named)?, &special),
            Some(_) => {
                let problem = "must be a string or a list of {\"name\", \"template\"}";
                Err(bad_config("chat_template", problem))
            }
        }
    }

    /// Takes the template of a GGUF file's metadata.
    ///
    /// # Errors
    /// [`TextError::Key`] if there is none; otherwise as [`ChatTemplate::new`].
    pub fn from_gguf(metadata: &Metadata, special: &SpecialTokenTexts) -> Result<Self, TextError> {
        const KEY: &str = "tokenizer.chat_template";
        let Some(source) = metadata.string(KEY)? else {
            let problem = "is missing: no chat template; use --raw to send the prompt as it is";
            return Err(metadata.error(KEY, problem).into());
        };
        if source.len() > MAX_BYTES {
            let problem = format!("is {} bytes long, at most {MAX_BYTES} are read", source.len());
            return Err(metadata.error(KEY, problem).into());
        }
        Self::new(source, special)
    }

    /// Sets the time for `strftime_now`, in seconds since 1970 on a clock without a time zone.
    ///
    /// The default is the local time: of the system, or of the page or worker in a browser.
    #[must_use]
    pub fn with_time(mut self, seconds: i64) -> Self {
        self.time = Some(Moment::utc(seconds));
        self
    }

    /// Sets the text of the BOS token if `tokenizer_config.json` names none. `bos` is the token that
    /// the tokenizer itself puts before a text.
    #[must_use]
    pub fn with_default_bos(mut self, bos: Option<&str>) -> Self {
        if self.special.bos_token.is_none() {
            self.special.bos_token = bos.map(str::to_owned);
        }
        self
    }

    /// The template's text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation. `add_generation_prompt` adds the beginning of the assistant's answer.
    ///
    /// As in transformers, message fields that are `null` are left out, and reasoning under any of
    /// its names (`reasoning_content`, `thinking`, `reasoning`) is passed under the first two. If the
    /// template then fails, it runs again with the `null` fields, as in transformers before
    /// version 5: LFM2's own template is from that time.
    ///
    /// # Errors
    /// [`TextError::Template`] if the template fails, [`TextError::TemplateRaised`] if it refuses
    /// the conversation, [`TextError::TemplateRunaway`] if it exceeds its budget.
    pub fn render(
        &self,
        conversation: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        let messages = |null| {
            let prepared = conversation.messages.iter().map(|m| prepare(m.fields(), null));
            Json::Array(prepared.collect())
        };
        let mut vars = Map::new();
        for (name, text) in self.special.named() {
            if let Some(text) = text {
                vars.insert(name.to_owned(), Json::String(text.clone()));
            }
        }
        vars.insert("documents".to_owned(), Json::Null);
        vars.extend(conversation.template_vars.clone());
        let tools = conversation.tools.clone().map_or(Json::Null, Json::Array);
        vars.insert("tools".to_owned(), tools);
        vars.insert("add_generation_prompt".to_owned(), add_generation_prompt.into());
        vars.insert("messages".to_owned(), messages(Null::LeftOut));

        let rendered = self.run(&vars, budget(&vars));
        let has_null = |message: &Message| message.fields().values().any(Json::is_null);
        if matches!(rendered, Err(TextError::Template { .. }))
            && conversation.messages.iter().any(has_null)
        {
            vars.insert("messages".to_owned(), messages(Null::Given));
            return self.run(&vars, budget(&vars)).or(rendered);
        }
        rendered
    }

    fn run(&self, vars: &Map<String, Json>, fuel: u64) -> Result<String, TextError> {
        let clock = |format: &str| strftime(format, self.time.unwrap_or_else(Moment::now));
        self.program.render(vars, fuel, &clock).map_err(|e| template_error(&e, fuel))
    }
}

/// Treatment of message fields that are `null`.
#[derive(Clone, Copy, PartialEq)]
enum Null {
    LeftOut,
    Given,
}

/// A message as transformers passes it to templates.
fn prepare(fields: &Map<String, Json>, null: Null) -> Json {
    let given = fields.iter().filter(|(_, value)| null == Null::Given || !value.is_null());
    let mut message: Map<String, Json> = given.map(|(k, v)| (k.clone(), v.clone())).collect();
    let names = ["reasoning_content", "thinking", "reasoning"];
    let reasoning = names.iter().find_map(|name| message.get(*name).filter(|v| !v.is_null()));
    if let Some(reasoning) = reasoning.cloned() {
        if !message.contains_key("thinking") {
            message.shift_insert(0, "thinking".to_owned(), reasoning.clone());
        }
        message.insert("reasoning_content".to_owned(), reasoning);
    }
    Json::Object(message)
}

/// Number of steps that a template may take. A step is one instruction or 64 bytes of new text.
///
/// The budget is a fixed part for the template's own work, a part per value and byte of its input
/// (enough to go through the messages several times), and the number of tools times their bytes,
/// since templates append one tool at a time to a growing text. LFM2's and LFM2.5's templates need at
/// most a third of it.
fn budget(vars: &Map<String, Json>) -> u64 {
    let size = |value: &Json| {
        let mut size = Size::default();
        value.add_to(&mut size);
        size
    };
    let total = vars.values().map(size).fold(Size::default(), |a, b| Size {
        values: a.values.saturating_add(b.values),
        bytes: a.bytes.saturating_add(b.bytes),
    });
    let tools = vars.get("tools").map(size).unwrap_or_default();
    let count = vars.get("tools").and_then(Json::as_array).map_or(0, Vec::len);
    let growing = tools.bytes.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX)) / 16;
    200_000u64
        .saturating_add(total.values.saturating_mul(600))
        .saturating_add(total.bytes.saturating_mul(2))
        .saturating_add(growing)
}

#[derive(Default)]
struct Size {
    values: u64,
    bytes: u64,
}

trait AddTo {
    fn add_to(&self, size: &mut Size);
}

impl AddTo for Json {
    fn add_to(&self, size: &mut Size) {
        size.values += 1;
        match self {
            Json::String(text) => size.bytes += u64::try_from(text.len()).unwrap_or(0),
            Json::Array(items) => items.iter().for_each(|item| item.add_to(size)),
            Json::Object(fields) => {
                for (key, value) in fields {
                    size.bytes += u64::try_from(key.len()).unwrap_or(0);
                    value.add_to(size);
                }
            }
            _ => {}
        }
    }
}

fn template_error(error: &Error, fuel: u64) -> TextError {
    let line = error.line();
    match error.class() {
        Class::Raised => TextError::TemplateRaised { message: one_line(error.message()) },
        Class::Fuel => TextError::TemplateRunaway { line, fuel },
        _ => TextError::Template { line, problem: one_line(error.message()) },
    }
}

fn default_of(named: &[Json]) -> Result<&str, TextError> {
    let mut names = Vec::new();
    for (i, entry) in named.iter().enumerate() {
        match (entry.get("name"), entry.get("template")) {
            (Some(Json::String(name)), Some(Json::String(template))) if name == "default" => {
                return Ok(template);
            }
            (Some(Json::String(name)), Some(Json::String(_))) => names.push(quote(name)),
            _ => {
                let problem = "must be {\"name\": string, \"template\": string}";
                return Err(bad_config(&format!("chat_template[{i}]"), problem));
            }
        }
    }
    let problem = format!("no template named \"default\" (found: {})", names.join(", "));
    Err(bad_config("chat_template", &one_line(problem)))
}

fn parse_config(bytes: &[u8]) -> Result<Map<String, Json>, TextError> {
    match serde_json::from_slice(&json_bytes(bytes)) {
        Ok(Json::Object(config)) => Ok(config),
        Ok(_) => Err(bad_config("file", "must be a JSON object")),
        Err(e) => Err(bad_config("file", &format!("not valid JSON: {}", one_line(e)))),
    }
}

fn bad_config(field: &str, problem: &str) -> TextError {
    TextError::TokenizerConfig { field: field.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The budget must not stop real conversations: both templates need at most a third of it.
    #[test]
    fn conversations_need_a_fraction_of_the_budget() {
        let special = SpecialTokenTexts::default();
        let call =
            json!([{"function": {"name": "f", "arguments": {"a": "x", "b": [1, {"c": 2}]}}}]);
        let tool = json!({"type": "function", "function": {"name": "f", "description": "d".repeat(300),
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}});
        let turn = |i: usize, words: usize| match i % 3 {
            0 => json!({"role": "user", "content": "word ".repeat(words)}),
            1 => {
                json!({"role": "assistant", "content": format!("<think>{}</think>x", "t ".repeat(words)),
                "tool_calls": call})
            }
            _ => json!({"role": "tool", "content": {"a": 1}}),
        };
        for source in [
            include_str!("../../tests/fixtures/lfm2_chat_template.jinja"),
            include_str!("../../tests/fixtures/lfm25_chat_template.jinja"),
        ] {
            let template = ChatTemplate::new(source, &special).unwrap();
            for (turns, words, tools) in
                [(3000, 1, 0), (300, 1000, 0), (3, 300_000, 0), (3, 1, 300)]
            {
                let messages: Vec<Json> = (0..turns).map(|i| turn(i, words)).collect();
                let vars = json!({"messages": messages, "tools": vec![tool.clone(); tools]});
                let vars = vars.as_object().unwrap();
                let third = budget(vars) / 3;
                assert!(template.run(vars, third).is_ok(), "{turns} {words} {tools}");
            }
        }
    }
}
