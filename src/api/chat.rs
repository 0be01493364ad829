//! A chat request in the format of OpenAI's API, with llama-server's and vLLM's additional fields.

use serde_json::{Map, Value, json};

use super::fields::{Fields, Streaming, Unknown, wrong};
use super::lora::LoraField;
use super::sampling::Overrides;
use super::structure::{ToolRules, Wanted};
use super::tool_choice::{ToolChoice, take_tools};
use crate::engine::{
    Engine, GenerateOptions, GenerateRequest, Generation, LogprobsMode, LogprobsOptions,
    MAX_TOP_LOGPROBS,
};
use crate::error::Error;
use crate::text::{Conversation, Message, Role};

/// Most answers to one request.
pub(super) const MOST_ANSWERS: u64 = 64;

/// A request for an answer: `POST /v1/chat/completions` of the server, `chat.completions.create` of the web package,
/// or a line of `lfm2 batch`.
///
/// No field is ignored in silence: one that would change the answer and is not supported is refused by name.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The messages, tools and template options.
    pub conversation: Conversation,
    /// The model's name by the caller. A LoRA adapter's name chooses it; other names are not checked.
    pub model: Option<String>,
    /// Whether and how the answer is streamed.
    pub streaming: Streaming,
    /// Number of answers.
    pub n: usize,
    /// Whether the model calls tools.
    pub tool_choice: ToolChoice,
    /// Unknown fields that were ignored.
    pub ignored: Vec<String>,
    pub(super) wanted: Wanted,
    pub(super) rules: ToolRules,
    pub(super) lora: Option<LoraField>,
    max_tokens: Option<usize>,
    stop: Vec<String>,
    logprobs: Option<LogprobsOptions>,
    ignore_end: bool,
    no_cache: bool,
    sampling: Overrides,
}

/// Fields of the conversation, without its tools.
const CONVERSATION: [&str; 4] =
    ["messages", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"];

/// Fields that change no answer: names of users and conversations, and hints for servers that bill or store.
const WITHOUT_EFFECT: [&str; 10] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "client_metadata",
    "prediction",
];

/// Lets the refusals in an assistant's earlier messages be text, as the model wrote them.
fn refusals_as_text(messages: &mut Value) {
    for message in messages.as_array_mut().into_iter().flatten() {
        let parts = message.get_mut("content").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            if part["type"] == "refusal" {
                *part = json!({ "type": "text", "text": part["refusal"] });
            }
        }
    }
}

impl ChatRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Error::Request`] for the first field that is unknown, not supported or of the wrong type,
    /// [`Error::Text`] for an invalid message. Ranges are checked by [`GenerateOptions::check`].
    pub fn from_json(json: &str) -> Result<Self, Error> {
        Self::read(json, Unknown::Refuse)
    }

    /// Reads a request, and says whether it may have unknown fields.
    ///
    /// # Errors
    /// As [`ChatRequest::from_json`].
    pub fn read(json: &str, unknown: Unknown) -> Result<Self, Error> {
        Self::of_fields(Fields::of_json(json)?, unknown)
    }

    /// As [`ChatRequest::read`], from the fields.
    pub(super) fn of_fields(mut fields: Fields, unknown: Unknown) -> Result<Self, Error> {
        let mut conversation = Map::new();
        for key in CONVERSATION {
            if let Some(mut value) = fields.take(key) {
                refusals_as_text(&mut value);
                conversation.insert(key.to_owned(), value);
            }
        }
        let mut tools = take_tools(&mut fields)?;
        let tool_choice = ToolChoice::take(&mut fields, &mut tools)?;
        let rules = ToolRules::take(&mut fields, &tool_choice, tools.as_deref())?;
        if let Some(tools) = tools {
            conversation.insert("tools".to_owned(), tools.into());
        }
        let mut conversation = Conversation::from_value(Value::Object(conversation))?;
        fields.reasoning_effort(&mut conversation.template_vars)?;
        let prefilled = prefills(&conversation);
        conversation.continue_final_message.get_or_insert(prefilled);
        let request = Self {
            conversation,
            model: fields.string("model")?,
            streaming: fields.streaming()?,
            n: fields.whole("n", 1, MOST_ANSWERS)?.unwrap_or(1) as usize,
            tool_choice,
            ignored: Vec::new(),
            wanted: Wanted::take(&mut fields)?,
            rules,
            lora: fields.lora()?,
            max_tokens: fields.max_tokens()?,
            stop: fields.stop()?,
            logprobs: fields.logprobs()?,
            ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
            no_cache: !fields.bool("cache_prompt")?.unwrap_or(true),
            sampling: Overrides::read(&mut fields)?,
        };
        fields.without_effect(&WITHOUT_EFFECT);
        fields.defaults_of_others()?;
        for (key, value) in [
            ("best_of", json!(1)),
            ("echo", json!(false)),
            ("suffix", json!(null)),
            ("modalities", json!(["text"])),
            ("verbosity", json!("medium")),
            ("separate_reasoning", json!(true)),
            ("stream_reasoning", json!(true)),
            ("include_reasoning", json!(true)),
        ] {
            fields.only(key, &value)?;
        }
        Ok(Self { ignored: fields.end(unknown)?, ..request })
    }

    /// The prompt and options of the answer on `engine`.
    ///
    /// # Errors
    /// [`Error::Text`] if the template refuses the conversation, and as [`ChatRequest::options`].
    pub fn resolve(&self, engine: &Engine) -> Result<GenerateRequest, Error> {
        let (prompt, mut format) = engine.chat_prompt(&self.conversation)?;
        if self.tools_are_restricted(engine) {
            // Text before calls may look like a call, which would not follow its schema.
            format = format.with_marked_calls();
        }
        engine.check_room(&prompt)?;
        let mut options = self.options(engine)?;
        options.allowed = self.rule(engine, &format)?;
        Ok(GenerateRequest { prompt, format, options })
    }

    /// The strings that end an answer.
    pub(super) fn stop(&self) -> &[String] {
        &self.stop
    }

    /// The prompt and options of all `n` answers.
    ///
    /// # Errors
    /// As [`ChatRequest::resolve`].
    pub fn resolve_all(&self, engine: &Engine) -> Result<Vec<GenerateRequest>, Error> {
        let first = self.resolve(engine)?;
        let one = |answer| {
            let mut request = first.clone();
            request.options.sampling = Some(self.sampling.on(engine, answer)?);
            Ok(request)
        };
        (0..self.n).map(one).collect()
    }

    /// Checks a request for one answer on `engine`, but for its conversation.
    ///
    /// # Errors
    /// [`Error::Request`] if it asks for several answers, or for a structure that this engine does not support, and as
    /// [`ChatRequest::options`].
    pub fn check_single(&self, engine: &Engine) -> Result<(), Error> {
        if self.n != 1 {
            return Err(wrong("n", "only 1 answer a request is supported here"));
        }
        self.check_rules(engine)?;
        self.options(engine).map(|_| ())
    }

    /// Options for an answer on `engine`: those of the request, else the model's recommendation.
    ///
    /// # Errors
    /// As [`ChatRequest::lora`] and [`GenerateOptions::check`].
    pub fn options(&self, engine: &Engine) -> Result<GenerateOptions, Error> {
        let options = GenerateOptions {
            sampling: Some(self.sampling.on(engine, 0)?),
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            logprobs: self.logprobs,
            lora: self.lora(engine)?,
            ignore_end: self.ignore_end,
            no_cache: self.no_cache,
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
    /// As [`ChatRequest::resolve`] and [`Engine::generate`]; [`Error::Request`] if it asks for several answers.
    pub fn chat(&self, request: &ChatRequest) -> Result<Generation, Error> {
        request.check_single(self)?;
        self.generate(request.resolve(self)?)
    }
}

/// Whether the answer continues the last message: one of the assistant with text that calls no tool. llama-server and ollama
/// do the same.
fn prefills(conversation: &Conversation) -> bool {
    let last = conversation.messages.last().filter(|last| last.role() == Role::Assistant);
    let calls = |message: &Message| {
        let calls = message.fields().get("tool_calls").and_then(Value::as_array);
        let call = message.fields().get("function_call").filter(|call| !call.is_null());
        call.is_some() || calls.is_some_and(|calls| !calls.is_empty())
    };
    let says = |message: &Message| message.text().is_some_and(|text| !text.trim().is_empty());
    conversation.add_generation_prompt.is_none()
        && last.is_some_and(|last| !calls(last) && says(last))
}

impl Fields {
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

    /// `logprobs` and `top_logprobs`: log-probabilities of the model's own distribution.
    fn logprobs(&mut self) -> Result<Option<LogprobsOptions>, Error> {
        let wanted = self.bool("logprobs")?.unwrap_or(false);
        let top = self.whole("top_logprobs", 0, MAX_TOP_LOGPROBS.into())?.unwrap_or(0) as u32;
        match (wanted, top) {
            (false, 1..) => Err(wrong("top_logprobs", "needs \"logprobs\": true")),
            (false, 0) => Ok(None),
            (true, top) => Ok(Some(LogprobsOptions { top, mode: LogprobsMode::Raw })),
        }
    }

    /// `reasoning_effort`, a variable of the template. `none` and `minimal` also set `enable_thinking` to false, the
    /// variable of templates that can leave reasoning out.
    fn reasoning_effort(&mut self, variables: &mut Map<String, Value>) -> Result<(), Error> {
        let key = "reasoning_effort";
        let Some(effort) = self.string(key)? else { return Ok(()) };
        if !["none", "minimal", "low", "medium", "high", "xhigh", "max"].contains(&effort.as_str())
        {
            return Err(wrong(key, "must be none, minimal, low, medium, high, xhigh or max"));
        }
        if ["none", "minimal"].contains(&effort.as_str()) {
            variables.entry("enable_thinking").or_insert(false.into());
        }
        variables.entry(key).or_insert(effort.into());
        Ok(())
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
            "n": 1, "logprobs": false, "logit_bias": {"5": -100, "17": 2.5}, "tool_choice": "auto", "tools": [{"name": "f"}],
            "response_format": {"type": "text"}"#,
        )
        .unwrap();
        assert_eq!(request.model.as_deref(), Some("m"));
        assert!(request.streaming.stream && request.streaming.include_usage);
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
        assert!(!bare.streaming.stream && bare.conversation.tools.is_none());
        assert_eq!(bare.sampling, Overrides::default());
        let hidden = read(r#", "tools": [{"name": "f"}], "tool_choice": "none""#).unwrap();
        assert_eq!(hidden.conversation.tools, None);
    }

    /// Fields that real clients and routers send without being asked (serving.md 1.2).
    #[test]
    fn fields_without_effect_are_accepted() {
        let request = read(
            r#", "user": "u", "metadata": {"a": "b"}, "store": true, "service_tier": "auto", "safety_identifier": "s",
            "prompt_cache_key": "k", "prompt_cache_retention": "24h", "client_metadata": {}, "prediction": {},
            "logprobs": false, "no_stop_trim": false, "ignore_eos": false, "continue_final_message": false,
            "skip_special_tokens": true, "separate_reasoning": true, "stream_reasoning": true,
            "return_hidden_states": false, "include_reasoning": true, "best_of": 1, "echo": false, "suffix": null,
            "parallel_tool_calls": true, "modalities": ["text"], "verbosity": "medium", "seed": null,
            "stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": false}"#,
        );
        let bare = read(
            r#", "stream": true, "stream_options": {"include_usage": true}, "continue_final_message": false"#,
        );
        assert_eq!(request.unwrap(), bare.unwrap());
        let quiet = read(r#", "reasoning_effort": "none""#).unwrap().conversation.template_vars;
        assert_eq!(
            Value::from(quiet),
            json!({ "enable_thinking": false, "reasoning_effort": "none" })
        );
        let own =
            r#", "reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": true}"#;
        assert_eq!(read(own).unwrap().conversation.template_vars["enable_thinking"], true);
        let unknown = format!(r#"{{{MESSAGES}, "a": 1, "b": null, "c": [2]}}"#);
        assert_eq!(ChatRequest::read(&unknown, Unknown::Ignore).unwrap().ignored, ["a", "c"]);
    }

    #[test]
    fn a_tool_choice_selects_tools() {
        let tools =
            r#", "tools": [{"type": "function", "function": {"name": "f"}}, {"name": "g"}]"#;
        let named = |kind: &str, more: &str| {
            format!(r#"{tools}, "tool_choice": {{"type": "{kind}", {more}}}"#)
        };
        let f = ToolChoice::Named("f".to_owned());
        let only_g = r#""tools": [{"type": "function", "function": {"name": "g"}}]"#;
        for (rest, choice, offered) in [
            (tools.to_owned(), ToolChoice::Auto, 2),
            (format!(r#"{tools}, "tool_choice": "none""#), ToolChoice::None, 0),
            (format!(r#"{tools}, "tool_choice": "required""#), ToolChoice::Required, 2),
            (named("function", r#""function": {"name": "f"}"#), f.clone(), 2),
            (named("function", r#""name": "f""#), f, 2),
            (
                named(
                    "allowed_tools",
                    &format!(r#""allowed_tools": {{"mode": "auto", {only_g}}}"#),
                ),
                ToolChoice::Auto,
                1,
            ),
            (
                named("allowed_tools", &format!(r#""mode": "required", {only_g}"#)),
                ToolChoice::Required,
                1,
            ),
        ] {
            let request = read(&rest).unwrap_or_else(|e| panic!("{rest}: {e}"));
            assert_eq!(
                (request.tool_choice, request.conversation.tools.map_or(0, |t| t.len())),
                (choice, offered),
                "{rest}"
            );
        }
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
        assert_eq!(read(r#", "seed": -5"#).unwrap().sampling.seed, Some(u64::MAX - 4));
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
            (r#", "n": 0"#, "n"),
            (r#", "n": 65"#, "n"),
            (r#", "best_of": 2, "n": 2"#, "best_of"),
            (r#", "modalities": ["audio"]"#, "modalities"),
            (r#", "reasoning_effort": "much""#, "reasoning_effort"),
            (r#", "skip_special_tokens": false"#, "skip_special_tokens"),
            (r#", "functions": []"#, "functions"),
            (r#", "tools": {}"#, "tools"),
            (r#", "tools": [{"name": "f"}, {}]"#, "tools[1]"),
            (r#", "tools": [{"type": "web_search"}]"#, "tools[0]"),
            (r#", "tools": [1]"#, "tools[0]"),
            (r#", "seed": 1.5"#, "seed"),
            (r#", "logprobs": 1"#, "logprobs"),
            (r#", "logprobs": true, "top_logprobs": 21"#, "top_logprobs"),
            (r#", "logprobs": true, "top_logprobs": -1"#, "top_logprobs"),
            (r#", "top_logprobs": 2"#, "top_logprobs"),
            (r#", "response_format": {"type": "xml"}"#, "response_format"),
            (r#", "response_format": {"type": "json_schema"}"#, "response_format"),
            (r#", "structured_outputs": {"json": {}, "regex": "a"}"#, "structured_outputs"),
            (
                r#", "response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}"#,
                "structured_outputs",
            ),
            (
                r#", "tools": [{"name": "f"}], "tool_choice": {"type": "function", "function": {"name": "g"}}"#,
                "tool_choice",
            ),
            (
                r#", "tools": [{"name": "f"}], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"name": "g"}]}}"#,
                "tool_choice",
            ),
            (r#", "tool_choice": "always""#, "tool_choice"),
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
        let long = read(&format!(", \"a\\n{}\": 1", "b".repeat(10_000))).unwrap_err().to_string();
        assert!(long.lines().count() == 1 && long.len() < 1_000, "{long}");
        let refused = r#"{"messages": [
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "user", "content": "Why?"}]}"#;
        let refused = ChatRequest::from_json(refused).unwrap().conversation;
        assert_eq!(refused.messages[0].text().as_deref(), Some("No."));
        for (json, start) in [
            ("", "request: not valid JSON"),
            ("[]", "request: must be an object"),
            ("{}", "messages: missing"),
            (
                r#"{"messages": [{"role": "user", "content": ""}], "continue_final_message": 1}"#,
                "continue_final_message: must",
            ),
            (r#"{"messages": [{"role": "x"}]}"#, "messages[0].role"),
        ] {
            let error = ChatRequest::from_json(json).unwrap_err();
            assert!(error.to_string().starts_with(start), "{error}");
            assert_eq!(error.code(), "invalid_request", "{json}");
        }
    }
}
