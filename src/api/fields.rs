//! Reads the fields of a request, each with an error that names it.

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::formats::one_line;
use crate::text::request_json;

/// The error of a field.
pub(super) fn wrong(field: &str, problem: impl Into<String>) -> Error {
    Error::Request { field: field.to_owned(), problem: problem.into() }
}

/// The fields that have not been read yet.
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// The fields of a request as JSON.
    ///
    /// # Errors
    /// [`Error::Request`] if the text is not an object as JSON.
    pub(super) fn of_json(json: &str) -> Result<Self, Error> {
        match request_json(json) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(wrong("request", "must be an object")),
            Err(e) => Err(wrong("request", format!("not valid JSON: {}", one_line(&e)))),
        }
    }

    /// Takes a field's value; null counts as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.0.shift_remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn bool(&mut self, key: &str) -> Result<Option<bool>, Error> {
        let read =
            |value: Value| value.as_bool().ok_or_else(|| wrong(key, "must be true or false"));
        self.take(key).map(read).transpose()
    }

    pub(super) fn string(&mut self, key: &str) -> Result<Option<String>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(key, "must be a string")),
        }
    }

    pub(super) fn float(&mut self, key: &str) -> Result<Option<f32>, Error> {
        let read = |value: Value| match value.as_f64() {
            Some(number) => Ok(number as f32),
            None => Err(wrong(key, "must be a number")),
        };
        self.take(key).map(read).transpose()
    }

    /// A whole number between two bounds, both included.
    pub(super) fn whole(&mut self, key: &str, low: u64, high: u64) -> Result<Option<u64>, Error> {
        let read = |value: Value| {
            let whole = value.as_u64().filter(|n| (low..=high).contains(n));
            whole.ok_or_else(|| wrong(key, format!("must be a whole number from {low} to {high}")))
        };
        self.take(key).map(read).transpose()
    }

    /// A whole number; `Some(None)` for -1, which other servers take for "none".
    pub(super) fn or_minus_one<T: TryFrom<u64>>(
        &mut self,
        key: &str,
    ) -> Result<Option<Option<T>>, Error> {
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

    /// `seed`: any whole number of 64 bits; -1 is a random one.
    pub(super) fn seed(&mut self) -> Result<Option<u64>, Error> {
        match self.take("seed") {
            None => Ok(None),
            Some(value) => match (value.as_i64(), value.as_u64()) {
                (Some(-1), _) => Ok(None),
                (Some(negative), None) => Ok(Some(negative as u64)),
                (_, Some(seed)) => Ok(Some(seed)),
                (None, None) => Err(wrong("seed", "must be a whole number of 64 bits")),
            },
        }
    }

    /// `logit_bias`: an object from token ids to the biases of their logits.
    pub(super) fn logit_bias(&mut self) -> Result<Vec<(u32, f32)>, Error> {
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

    pub(super) fn stop(&mut self) -> Result<Vec<String>, Error> {
        let problem = "must be a string or a list of strings";
        let stop: Vec<String> = match self.take("stop") {
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(all)) => all
                .into_iter()
                .map(|one| match one {
                    Value::String(text) => Ok(text),
                    _ => Err(wrong("stop", problem)),
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong("stop", problem)),
        };
        // All are looked for at every byte of an answer.
        if stop.len() > MOST_STOPS || stop.iter().any(|text| text.len() > MOST_STOP_BYTES) {
            let problem = format!("at most {MOST_STOPS} strings of {MOST_STOP_BYTES} bytes");
            return Err(wrong("stop", problem));
        }
        Ok(stop)
    }

    /// `stream` and `stream_options`.
    pub(super) fn streaming(&mut self) -> Result<Streaming, Error> {
        let stream = self.bool("stream")?.unwrap_or(false);
        let mut streaming = Streaming { stream, ..Streaming::default() };
        let Some(value) = self.take("stream_options") else { return Ok(streaming) };
        if !stream {
            return Err(wrong("stream_options", "needs \"stream\": true"));
        }
        let Value::Object(options) = value else {
            return Err(wrong("stream_options", "must be an object"));
        };
        let mut options = Fields(options);
        let always = options.bool("continuous_usage_stats")?.unwrap_or(false);
        streaming.always_usage = always;
        streaming.include_usage = options.bool("include_usage")?.unwrap_or(false) || always;
        // It asks for padding against observers of a stream's lengths; none is a valid answer.
        options.bool("include_obfuscation")?;
        match options.0.keys().next() {
            Some(key) => Err(wrong("stream_options", format!("{key:?} is not supported"))),
            None => Ok(streaming),
        }
    }

    /// Takes fields that change no answer, whatever their values are.
    pub(super) fn without_effect(&mut self, keys: &[&str]) {
        keys.iter().for_each(|key| drop(self.take(key)));
    }

    /// A field with one supported value, which is also its default.
    pub(super) fn only(&mut self, key: &str, value: &Value) -> Result<(), Error> {
        match self.take(key) {
            Some(other) if other != *value => {
                Err(wrong(key, format!("only {value} is supported: leave it out")))
            }
            _ => Ok(()),
        }
    }

    /// Fields that routers and other servers' clients send, each with the only value that is supported.
    pub(super) fn defaults_of_others(&mut self) -> Result<(), Error> {
        for key in [
            "no_stop_trim",
            "return_hidden_states",
            "use_beam_search",
            "return_token_ids",
            "return_tokens_as_token_ids",
        ] {
            self.only(key, &json!(false))?;
        }
        for key in ["skip_special_tokens", "spaces_between_special_tokens"] {
            self.only(key, &json!(true))?;
        }
        Ok(())
    }

    /// Ends reading: returns the names of unknown fields, or refuses the first.
    pub(super) fn end(self, unknown: Unknown) -> Result<Vec<String>, Error> {
        let given = self.0.into_iter().filter(|(_, value)| !value.is_null());
        let names: Vec<String> = given.map(|(key, _)| key).collect();
        match (unknown, names.first()) {
            (Unknown::Refuse, Some(key)) => {
                let renamed = RENAMED.iter().find(|(old, _)| old == key);
                let problem = match renamed {
                    Some((_, new)) => format!("is not supported: use {new}"),
                    None => "is not supported: leave it out".to_owned(),
                };
                // A client chooses the name, so it may be long or have line breaks.
                Err(wrong(&one_line(key), problem))
            }
            _ => Ok(names),
        }
    }
}

/// Most stop strings, and bytes of one.
const MOST_STOPS: usize = 64;
const MOST_STOP_BYTES: usize = 1024;

/// Fields of other servers, and our name for the same.
const RENAMED: [(&str, &str); 12] = [
    ("functions", "tools"),
    ("function_call", "tool_choice"),
    ("repeat_penalty", "repetition_penalty"),
    ("n_predict", "max_tokens"),
    ("grammar", "structured_outputs.grammar"),
    ("json_schema", "response_format"),
    ("guided_json", "structured_outputs.json"),
    ("guided_regex", "structured_outputs.regex"),
    ("guided_grammar", "structured_outputs.grammar"),
    ("adapters", "lora"),
    ("adapter_id", "lora"),
    ("lora_path", "lora"),
];

/// Treatment of fields that no request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// The first one is an error.
    #[default]
    Refuse,
    /// They are ignored, and listed in `ignored`.
    Ignore,
}

/// Whether and how an answer is streamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streaming {
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the last piece of the stream has the token counts.
    pub include_usage: bool,
    /// Whether every piece has the token counts so far.
    pub always_usage: bool,
}
