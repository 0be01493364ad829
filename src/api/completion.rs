//! A text completion request in the format of OpenAI's API: `POST /v1/completions`.

use serde_json::{Value, json};

use super::chat::MOST_ANSWERS;
use super::fields::{Fields, Streaming, Unknown, wrong};
use super::lora::LoraField;
use super::sampling::Overrides;
use super::structure::Wanted;
use crate::engine::{
    AllowedTokens, Engine, GenerateOptions, GenerateRequest, LogprobsMode, LogprobsOptions,
    MAX_TOP_LOGPROBS,
};
use crate::error::Error;
use crate::text::{AnswerFormat, SpecialTokens};

/// Most prompts of a request.
const MOST_PROMPTS: usize = 256;
/// Tokens of an answer by default, as in OpenAI's API.
const MAX_TOKENS: usize = 16;

/// A prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompletionPrompt {
    /// Text, which gets the tokenizer's beginning-of-text token.
    Text(String),
    /// Token ids, to which nothing is added.
    Ids(Vec<u32>),
}

/// A request to continue texts.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// The prompts.
    pub prompts: Vec<CompletionPrompt>,
    /// The model's name by the caller. A LoRA adapter's name chooses it; other names are not checked.
    pub model: Option<String>,
    /// Whether and how the answers are streamed.
    pub streaming: Streaming,
    /// Number of answers to each prompt.
    pub n: usize,
    /// Whether the answers begin with their prompts.
    pub echo: bool,
    /// Number of most probable tokens at each position; `None`: no log-probabilities.
    pub logprobs: Option<u32>,
    /// Unknown fields that were ignored.
    pub ignored: Vec<String>,
    pub(super) wanted: Wanted,
    pub(super) lora: Option<LoraField>,
    max_tokens: usize,
    add_special_tokens: bool,
    stop: Vec<String>,
    ignore_end: bool,
    no_cache: bool,
    sampling: Overrides,
}

impl CompletionRequest {
    /// Reads a request, and says whether it may have unknown fields.
    ///
    /// # Errors
    /// [`Error::Request`] for the first field that is unknown, not supported or of the wrong type.
    pub fn read(json: &str, unknown: Unknown) -> Result<Self, Error> {
        let mut fields = Fields::of_json(json)?;
        let prompts = match fields.take("prompt") {
            None => return Err(wrong("prompt", "missing")),
            Some(value) => prompts(value)?,
        };
        let n = fields.whole("n", 1, MOST_ANSWERS)?.unwrap_or(1);
        let max_tokens: Option<Option<usize>> = fields.or_minus_one("max_tokens")?;
        let request = Self {
            prompts,
            model: fields.string("model")?,
            streaming: fields.streaming()?,
            n: n as usize,
            echo: fields.bool("echo")?.unwrap_or(false),
            logprobs: fields.whole("logprobs", 0, MAX_TOP_LOGPROBS.into())?.map(|top| top as u32),
            ignored: Vec::new(),
            wanted: Wanted::take(&mut fields)?,
            lora: fields.lora()?,
            max_tokens: max_tokens.map_or(MAX_TOKENS, |most| most.unwrap_or(usize::MAX)),
            add_special_tokens: fields.bool("add_special_tokens")?.unwrap_or(true),
            stop: fields.stop()?,
            ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
            no_cache: !fields.bool("cache_prompt")?.unwrap_or(true),
            sampling: Overrides::read(&mut fields)?,
        };
        if request.max_tokens == 0 && !request.echo {
            return Err(wrong("max_tokens", "must be at least 1, or \"echo\": true"));
        }
        fields.only("best_of", &json!(n))?;
        fields.only("suffix", &json!(""))?;
        fields.defaults_of_others()?;
        fields.without_effect(&["user"]);
        Ok(Self { ignored: fields.end(unknown)?, ..request })
    }

    /// The requests of all answers: `n` for the first prompt, then for the second, and so on.
    ///
    /// # Errors
    /// [`Error::Text`] if a prompt cannot be encoded, and as [`CompletionRequest::lora`] and
    /// [`GenerateOptions::check`].
    pub fn resolve_all(&self, engine: &Engine) -> Result<Vec<GenerateRequest>, Error> {
        let allowed = self.wanted.rule(engine, &AnswerFormat::default())?;
        let mut all = Vec::with_capacity(self.prompts.len() * self.n);
        for prompt in &self.prompts {
            let ids = match prompt {
                CompletionPrompt::Ids(ids) => ids.clone(),
                CompletionPrompt::Text(text) => {
                    engine.tokenizer()?.encode(text, self.add_special_tokens)?
                }
            };
            engine.check_room(&ids)?;
            for answer in 0..self.n {
                let options = self.options(engine, answer, allowed.clone())?;
                let format = AnswerFormat::default();
                all.push(GenerateRequest { prompt: ids.clone(), format, options });
            }
        }
        Ok(all)
    }

    /// Whether the answers have no tokens of their own, since only the prompts are scored.
    #[must_use]
    pub fn only_prompts(&self) -> bool {
        self.max_tokens == 0
    }

    fn options(
        &self,
        engine: &Engine,
        answer: usize,
        allowed: Option<AllowedTokens>,
    ) -> Result<GenerateOptions, Error> {
        let logprobs = self.logprobs.map(|top| LogprobsOptions { top, mode: LogprobsMode::Raw });
        let options = GenerateOptions {
            sampling: Some(self.sampling.on(engine, answer)?),
            // Scores of a prompt come before the first token.
            max_tokens: Some(self.max_tokens.max(1)),
            stop: self.stop.clone(),
            specials: SpecialTokens::Hide,
            logprobs,
            prompt_logprobs: logprobs.filter(|_| self.echo).map(|options| options.top),
            allowed,
            lora: self.lora(engine)?,
            ignore_end: self.ignore_end,
            no_cache: self.no_cache,
        };
        options.check()?;
        Ok(options)
    }
}

/// Reads `prompt`: a text, a list of ids, or a list of these.
fn prompts(value: Value) -> Result<Vec<CompletionPrompt>, Error> {
    let need = || wrong("prompt", "must be a string, a list of token ids, or a list of these");
    let ids = |list: &[Value]| -> Option<Vec<u32>> {
        list.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect()
    };
    let one = |value: Value| match value {
        Value::String(text) => Ok(CompletionPrompt::Text(text)),
        Value::Array(list) => ids(&list).map(CompletionPrompt::Ids).ok_or_else(need),
        _ => Err(need()),
    };
    match value {
        Value::Array(list) if !list.is_empty() && !list[0].is_number() => {
            if list.len() > MOST_PROMPTS {
                return Err(wrong("prompt", format!("has more than {MOST_PROMPTS} prompts")));
            }
            list.into_iter().map(one).collect()
        }
        value => Ok(vec![one(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<CompletionRequest, Error> {
        CompletionRequest::read(&format!("{{{rest}}}"), Unknown::Refuse)
    }

    #[test]
    fn prompts_are_texts_ids_and_lists_of_them() {
        let (text, ids) =
            (CompletionPrompt::Text("a".to_owned()), CompletionPrompt::Ids(vec![1, 2]));
        for (json, expected) in [
            (r#""a""#, vec![text.clone()]),
            ("[1, 2]", vec![ids.clone()]),
            ("[[1, 2]]", vec![ids.clone()]),
            (r#"["a", "a"]"#, vec![text.clone(), text.clone()]),
            (r#"["a", [1, 2]]"#, vec![text, ids]),
        ] {
            assert_eq!(read(&format!(r#""prompt": {json}"#)).unwrap().prompts, expected, "{json}");
        }
        for json in ["1", "{}", "[1, \"a\"]", "[-1]", "[[1.5]]", "[4294967296]", "null"] {
            let error = read(&format!(r#""prompt": {json}"#)).unwrap_err();
            assert!(error.to_string().starts_with("prompt: "), "{json}: {error}");
        }
    }

    #[test]
    fn fields_are_read_or_refused_by_name() {
        let request = read(
            r#""prompt": "a", "echo": true, "logprobs": 1, "max_tokens": 0, "seed": 1234, "n": 2,
            "best_of": 2, "stream": true, "temperature": 0, "user": "u", "suffix": null"#,
        )
        .unwrap();
        assert!(request.echo && request.streaming.stream && request.only_prompts());
        assert_eq!((request.n, request.logprobs), (2, Some(1)));
        for (rest, field) in [
            (r#""max_tokens": 0"#, "max_tokens"),
            (r#""logprobs": 21"#, "logprobs"),
            (r#""logprobs": true"#, "logprobs"),
            (r#""best_of": 3"#, "best_of"),
            (r#""suffix": "x""#, "suffix"),
            (r#""messages": []"#, "messages"),
        ] {
            match read(&format!(r#""prompt": "a", {rest}"#)) {
                Err(Error::Request { field: named, .. }) => assert_eq!(named, field, "{rest}"),
                other => panic!("{rest}: {other:?}"),
            }
        }
    }
}
