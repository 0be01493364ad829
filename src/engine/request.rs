//! A chat request in the format of OpenAI's API, with llama-server's additional fields.

use serde_json::{Map, Value, json};

use super::{
    Engine, GenerateOptions, GenerateRequest, Generation, LogprobsMode, LogprobsOptions,
    MAX_TOP_LOGPROBS, SamplingOptions,
};
use crate::error::Error;
use crate::text::{Conversation, request_json};

/// A request for an answer: `POST /v1/chat/completions` of a server, or
/// `chat.completions.create` of the web package.
///
/// No field is ignored: an unknown or unsupported one is refused by name.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The messages, tools and template options.
    pub conversation: Conversation,
    /// The model's name by the caller; it is not checked.
    pub model: Option<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the last piece of the stream has the token counts.
    pub include_usage: bool,
    max_tokens: Option<usize>,
    stop: Vec<String>,
    logprobs: Option<LogprobsOptions>,
    sampling: Overrides,
}

/// The sampling options of the request; the model's recommendation supplies the others.
#[derive(Clone, Debug, Default, PartialEq)]
struct Overrides {
    temperature: Option<f32>,
    top_k: Option<u32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    logit_bias: Vec<(u32, f32)>,
    seed: Option<u64>,
}

impl ChatRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Error::Request`] for the first field that is unknown, not supported or of the wrong type,
    /// [`Error::Text`] for an invalid message. Ranges are checked by [`GenerateOptions::check`].
    pub fn from_json(json: &str) -> Result<Self, Error> {
        let fields = match request_json(json) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(wrong("request", "must be an object")),
            Err(e) => return Err(wrong("request", format!("not valid JSON: {e}"))),
        };
        let mut fields = Fields(fields);
        let mut conversation = Map::new();
        for key in ["messages", "tools", "chat_template_kwargs"] {
            if let Some(value) = fields.take(key) {
                conversation.insert(key.to_owned(), value);
            }
        }
        fields.tool_choice(&mut conversation)?;
        let stream = fields.bool("stream")?.unwrap_or(false);
        let request = Self {
            conversation: Conversation::from_value(Value::Object(conversation))?,
            model: fields.string("model")?,
            stream,
            include_usage: fields.stream_options(stream)?,
            max_tokens: fields.max_tokens()?,
            stop: fields.stop()?,
            logprobs: fields.logprobs()?,
            sampling: Overrides {
                temperature: fields.float("temperature")?,
                top_k: fields.or_minus_one("top_k")?.map(|k| k.unwrap_or(0)),
                top_p: fields.float("top_p")?,
                min_p: fields.float("min_p")?,
                repetition_penalty: fields.float("repetition_penalty")?,
                presence_penalty: fields.float("presence_penalty")?,
                frequency_penalty: fields.float("frequency_penalty")?,
                logit_bias: fields.logit_bias()?,
                seed: fields.or_minus_one("seed")?.flatten(),
            },
        };
        fields.only("n", &json!(1), "only 1 answer a request is supported")?;
        fields.only("parallel_tool_calls", &json!(true), "only true: the model decides")?;
        let text = json!({ "type": "text" });
        fields.only("response_format", &text, "only {\"type\": \"text\"} is supported")?;
        fields.end()?;
        Ok(request)
    }

    /// The prompt and options of the answer on `engine`.
    ///
    /// # Errors
    /// [`Error::Text`] if the template refuses the conversation, and as [`ChatRequest::options`].
    pub fn resolve(&self, engine: &Engine) -> Result<GenerateRequest, Error> {
        let (prompt, format) = engine.chat_prompt(&self.conversation)?;
        Ok(GenerateRequest { prompt, format, options: self.options(engine)? })
    }

    /// Options for an answer on `engine`: those of the request, else the model's recommendation.
    ///
    /// # Errors
    /// As [`GenerateOptions::check`].
    pub fn options(&self, engine: &Engine) -> Result<GenerateOptions, Error> {
        let own = engine.recommended_sampling();
        let given = &self.sampling;
        let sampling = SamplingOptions {
            temperature: given.temperature.unwrap_or(own.temperature),
            top_k: given.top_k.unwrap_or(own.top_k),
            top_p: given.top_p.unwrap_or(own.top_p),
            min_p: given.min_p.unwrap_or(own.min_p),
            repetition_penalty: given.repetition_penalty.unwrap_or(own.repetition_penalty),
            presence_penalty: given.presence_penalty.unwrap_or(own.presence_penalty),
            frequency_penalty: given.frequency_penalty.unwrap_or(own.frequency_penalty),
            logit_bias: given.logit_bias.clone(),
            seed: given.seed.or(own.seed),
        };
        sampling.check_tokens(engine.config().vocab_size)?;
        let options = GenerateOptions {
            sampling: Some(sampling),
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            logprobs: self.logprobs,
            ..GenerateOptions::default()
        };
        options.check()?;
        Ok(options)
    }
}

impl Engine {
    /// Answers a request of the chat API.
    ///
    /// # Errors
    /// As [`ChatRequest::resolve`] and [`Engine::generate`].
    pub fn chat(&self, request: &ChatRequest) -> Result<Generation, Error> {
        self.generate(request.resolve(self)?)
    }
}

fn wrong(field: &str, problem: impl Into<String>) -> Error {
    Error::Request { field: field.to_owned(), problem: problem.into() }
}

/// The fields that have not been read yet.
struct Fields(Map<String, Value>);

impl Fields {
    /// Takes a field's value; null counts as absent.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    fn bool(&mut self, key: &str) -> Result<Option<bool>, Error> {
        let read =
            |value: Value| value.as_bool().ok_or_else(|| wrong(key, "must be true or false"));
        self.take(key).map(read).transpose()
    }

    fn string(&mut self, key: &str) -> Result<Option<String>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(key, "must be a string")),
        }
    }

    fn float(&mut self, key: &str) -> Result<Option<f32>, Error> {
        let read = |value: Value| match value.as_f64() {
            Some(number) => Ok(number as f32),
            None => Err(wrong(key, "must be a number")),
        };
        self.take(key).map(read).transpose()
    }

    /// A whole number; `Some(None)` for -1, which other servers take for "none".
    fn or_minus_one<T: TryFrom<u64>>(&mut self, key: &str) -> Result<Option<Option<T>>, Error> {
        let problem = "must be a whole number from 0, or -1";
        let read = |value: Value| match value.as_i64() {
            Some(-1) => Ok(None),
            _ => {
                let whole = value.as_u64().and_then(|n| T::try_from(n).ok());
                whole.map(Some).ok_or_else(|| wrong(key, problem))
            }
        };
        self.take(key).map(read).transpose()
    }

    /// `logit_bias`: an object from token ids to the biases of their logits.
    fn logit_bias(&mut self) -> Result<Vec<(u32, f32)>, Error> {
        let key = "logit_bias";
        let entries = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Object(entries)) => entries,
            Some(_) => return Err(wrong(key, "must be an object of token ids and numbers")),
        };
        let read = |(id, bias): (String, Value)| {
            let token = id.parse::<u32>().ok().filter(|token| token.to_string() == id);
            let token = token.ok_or_else(|| wrong(key, format!("{id:?} is no token id")))?;
            let bias = bias.as_f64().ok_or_else(|| wrong(key, "must have numbers as values"))?;
            Ok((token, bias as f32))
        };
        entries.into_iter().map(read).collect()
    }

    /// `max_tokens` or `max_completion_tokens`, which mean the same.
    fn max_tokens(&mut self) -> Result<Option<usize>, Error> {
        let (old, new) = ("max_tokens", "max_completion_tokens");
        match (self.or_minus_one(old)?.flatten(), self.or_minus_one(new)?.flatten()) {
            (Some(a), Some(b)) if a != b => {
                Err(wrong(new, format!("is {b}, and {old} is {a}: give one of them")))
            }
            (a, b) => Ok(a.or(b)),
        }
    }

    fn stop(&mut self) -> Result<Vec<String>, Error> {
        let problem = "must be a string or a list of strings";
        match self.take("stop") {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(all)) => all
                .into_iter()
                .map(|one| match one {
                    Value::String(text) => Ok(text),
                    _ => Err(wrong("stop", problem)),
                })
                .collect(),
            Some(_) => Err(wrong("stop", problem)),
        }
    }

    /// `logprobs` and `top_logprobs`: log-probabilities of the model's own distribution.
    fn logprobs(&mut self) -> Result<Option<LogprobsOptions>, Error> {
        let wanted = self.bool("logprobs")?.unwrap_or(false);
        let top = self.take("top_logprobs").map(|value| {
            let whole = value.as_u64().and_then(|n| u32::try_from(n).ok());
            whole.filter(|n| *n <= MAX_TOP_LOGPROBS)
        });
        match (wanted, top) {
            (_, Some(None)) => {
                let problem = format!("must be a whole number from 0 to {MAX_TOP_LOGPROBS}");
                Err(wrong("top_logprobs", problem))
            }
            (false, Some(Some(1..))) => Err(wrong("top_logprobs", "needs \"logprobs\": true")),
            (false, _) => Ok(None),
            (true, top) => {
                let top = top.flatten().unwrap_or(0);
                Ok(Some(LogprobsOptions { top, mode: LogprobsMode::Raw }))
            }
        }
    }

    /// `stream_options`: whether the last piece has the token counts.
    fn stream_options(&mut self, stream: bool) -> Result<bool, Error> {
        let Some(value) = self.take("stream_options") else { return Ok(false) };
        if !stream {
            return Err(wrong("stream_options", "needs \"stream\": true"));
        }
        let Value::Object(options) = value else {
            return Err(wrong("stream_options", "must be an object"));
        };
        let mut options = Fields(options);
        let include = options.bool("include_usage")?.unwrap_or(false);
        match options.0.keys().next() {
            Some(key) => Err(wrong("stream_options", format!("{key:?} is not supported"))),
            None => Ok(include),
        }
    }

    /// `tool_choice`: `auto` leaves the choice to the model, `none` hides the tools from it.
    fn tool_choice(&mut self, conversation: &mut Map<String, Value>) -> Result<(), Error> {
        match self.string("tool_choice")?.as_deref() {
            None | Some("auto") => {}
            Some("none") => {
                conversation.remove("tools");
            }
            Some(_) => {
                return Err(wrong("tool_choice", "only \"auto\" and \"none\" are supported"));
            }
        }
        Ok(())
    }

    /// A field with one supported value, which is also its default.
    fn only(&mut self, key: &str, value: &Value, problem: &str) -> Result<(), Error> {
        match self.take(key) {
            Some(other) if other != *value => Err(wrong(key, problem)),
            _ => Ok(()),
        }
    }

    fn end(self) -> Result<(), Error> {
        match self.0.into_iter().find(|(_, value)| !value.is_null()) {
            Some((key, _)) => Err(wrong(&key, "is not supported: leave it out")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#""messages": [{"role": "user", "content": "Hi"}]"#;

    fn read(rest: &str) -> Result<ChatRequest, Error> {
        ChatRequest::from_json(&format!("{{{MESSAGES}{rest}}}"))
    }

    #[test]
    fn every_field_is_read() {
        let request = read(
            r#", "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "max_tokens": 5, "stop": "\n", "temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1,
            "repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": -0.3, "seed": 7,
            "n": 1, "logprobs": false, "logit_bias": {"5": -100, "17": 2.5}, "tool_choice": "auto", "tools": [{}],
            "response_format": {"type": "text"}"#,
        )
        .unwrap();
        assert_eq!(request.model.as_deref(), Some("m"));
        assert!(request.stream && request.include_usage);
        assert_eq!((request.max_tokens, &request.stop[..]), (Some(5), &["\n".to_owned()][..]));
        let expected = Overrides {
            temperature: Some(0.5),
            top_k: Some(3),
            top_p: Some(0.9),
            min_p: Some(0.1),
            repetition_penalty: Some(1.1),
            presence_penalty: Some(0.2),
            frequency_penalty: Some(-0.3),
            logit_bias: vec![(5, -100.0), (17, 2.5)],
            seed: Some(7),
        };
        assert_eq!(request.sampling, expected);
        assert_eq!(request.conversation.tools.map(|tools| tools.len()), Some(1));
        let bare = read("").unwrap();
        assert!(!bare.stream && bare.conversation.tools.is_none());
        assert_eq!(bare.sampling, Overrides::default());
        let hidden = read(r#", "tools": [{}], "tool_choice": "none""#).unwrap();
        assert_eq!(hidden.conversation.tools, None);
    }

    /// -1 means unlimited, off or random, as in llama.cpp and vLLM.
    #[test]
    fn minus_one_means_none() {
        let none = read(r#", "max_tokens": -1, "top_k": -1, "seed": -1"#).unwrap();
        assert_eq!(
            (none.max_tokens, none.sampling.top_k, none.sampling.seed),
            (None, Some(0), None)
        );
        let scored = read(r#", "logprobs": true, "top_logprobs": 3"#).unwrap().logprobs;
        assert_eq!(scored, Some(LogprobsOptions { top: 3, mode: LogprobsMode::Raw }));
        assert_eq!(read(r#", "logprobs": false, "top_logprobs": 0"#).unwrap().logprobs, None);
        let other = read(r#", "max_tokens": -1, "max_completion_tokens": 7"#).unwrap();
        assert_eq!(other.max_tokens, Some(7));
    }

    #[test]
    fn unsupported_fields_are_refused_by_name() {
        for (rest, field) in [
            (r#", "logit_bias": [[5, 1]]"#, "logit_bias"),
            (r#", "logit_bias": {"05": 1}"#, "logit_bias"),
            (r#", "logit_bias": {"-5": 1}"#, "logit_bias"),
            (r#", "logit_bias": {"hello": 1}"#, "logit_bias"),
            (r#", "logit_bias": {"5": "1"}"#, "logit_bias"),
            (r#", "n": 2"#, "n"),
            (r#", "logprobs": 1"#, "logprobs"),
            (r#", "logprobs": true, "top_logprobs": 21"#, "top_logprobs"),
            (r#", "logprobs": true, "top_logprobs": -1"#, "top_logprobs"),
            (r#", "top_logprobs": 2"#, "top_logprobs"),
            (r#", "response_format": {"type": "json_object"}"#, "response_format"),
            (r#", "tool_choice": "required""#, "tool_choice"),
            (r#", "tool_choice": {"type": "function"}"#, "tool_choice"),
            (r#", "stream_options": {"include_usage": true}"#, "stream_options"),
            (r#", "stream": true, "stream_options": {"x": 1}"#, "stream_options"),
            (r#", "max_tokens": 1, "max_completion_tokens": 2"#, "max_completion_tokens"),
            (r#", "max_tokens": -2"#, "max_tokens"),
            (r#", "top_k": 1.5"#, "top_k"),
            (r#", "top_k": -2"#, "top_k"),
            (r#", "seed": "-1""#, "seed"),
            (r#", "top_k": 5000000000"#, "top_k"),
            (r#", "temperature": "hot""#, "temperature"),
            (r#", "stop": [1]"#, "stop"),
            (r#", "stream": 1"#, "stream"),
            (r#", "best_of": 2"#, "best_of"),
        ] {
            match read(rest) {
                Err(Error::Request { field: named, .. }) => assert_eq!(named, field, "{rest}"),
                other => panic!("{rest}: {other:?}"),
            }
        }
        for (json, start) in [
            ("", "request: not valid JSON"),
            ("[]", "request: must be an object"),
            ("{}", "messages: missing"),
            (r#"{"messages": [{"role": "x"}]}"#, "messages[0].role"),
        ] {
            let error = ChatRequest::from_json(json).unwrap_err();
            assert!(error.to_string().starts_with(start), "{error}");
            assert_eq!(error.code(), "invalid_request", "{json}");
        }
    }
}
