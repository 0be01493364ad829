//! A streamed answer: server-sent events, and the times at which tokens arrive.

use std::io::{self, BufRead, Read};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::formats::one_line;

/// Longest line of a stream.
const LONGEST_LINE: u64 = 1 << 20;

/// A request without a whole answer.
#[derive(Clone, Debug, Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("status {status}: {message}")]
    Status { status: u16, message: String },
    #[error("the stream ended before the answer did")]
    Cut,
    #[error("the stream has an error: {0}")]
    Reported(String),
    #[error("an event of the stream is no chunk of a completion: {0}")]
    Malformed(String),
    #[error("the answer has no tokens")]
    NoTokens,
    #[error("the answer has no `usage`: the server does not know `stream_options`")]
    NoUsage,
    #[error("this machine cannot start a thread: {0}")]
    NoThread(String),
}

/// Times and tokens of one answer. Times are in seconds from the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Time to first token.
    pub first: f64,
    /// Time to the last token.
    pub last: f64,
    /// Time between each token and the one before it.
    pub gaps: Vec<f64>,
    pub prompt_tokens: usize,
    pub cached_tokens: Option<usize>,
    pub output_tokens: usize,
}

/// The next event's data; `None` at the end of the stream.
pub fn next_event(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut data: Option<String> = None;
    loop {
        let mut line = Vec::new();
        let read = stream.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            // An event without its blank line is incomplete.
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is cut or too long"));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            if data.is_some() {
                return Ok(data);
            }
        } else if let Some(text) = line.strip_prefix("data:") {
            let text = text.strip_prefix(' ').unwrap_or(text);
            data = Some(match data {
                Some(before) => before + "\n" + text,
                None => text.to_owned(),
            });
        }
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<usize>,
}

/// The message of an error in OpenAI's shape, or the whole error.
pub fn error_message(error: &Value) -> String {
    let message = error.get("message").and_then(Value::as_str);
    one_line(&message.map_or_else(|| error.to_string(), str::to_owned))
}

/// Reads the events of one answer.
#[derive(Default)]
pub struct AnswerTimes {
    sample: Sample,
    /// Tokens that have arrived.
    arrived: usize,
    has_usage: bool,
}

impl AnswerTimes {
    /// Reads an event's data, which arrived `at` this time. Returns whether it was the last event.
    pub fn event(&mut self, data: &str, at: f64) -> Result<bool, Failure> {
        if data == "[DONE]" {
            return Ok(true);
        }
        let malformed = |e: serde_json::Error| Failure::Malformed(one_line(&e));
        let chunk: Chunk = serde_json::from_str(data).map_err(malformed)?;
        if let Some(error) = chunk.error {
            return Err(Failure::Reported(error_message(&error)));
        }
        let has_text =
            chunk.choices.iter().any(|choice| choice.text.as_ref().is_some_and(|t| !t.is_empty()));
        let counted = chunk.usage.as_ref().map(|usage| usage.completion_tokens);
        let tokens = match counted {
            // The last count comes in an event of its own, behind the tokens.
            _ if chunk.choices.is_empty() => 0,
            Some(counted) => counted.saturating_sub(self.arrived),
            None => usize::from(has_text),
        };
        self.arrive(tokens, at);
        if let Some(usage) = chunk.usage {
            self.has_usage = true;
            self.sample.prompt_tokens = usage.prompt_tokens;
            self.sample.output_tokens = usage.completion_tokens;
            self.sample.cached_tokens = usage.prompt_tokens_details.and_then(|d| d.cached_tokens);
        }
        Ok(false)
    }

    fn arrive(&mut self, tokens: usize, at: f64) {
        if tokens == 0 {
            return;
        }
        if self.arrived == 0 {
            self.sample.first = at;
        } else {
            // Tokens of one event were held back together, so they share the time since the last event.
            let gap = (at - self.sample.last) / tokens as f64;
            self.sample.gaps.extend(std::iter::repeat_n(gap, tokens));
        }
        self.arrived += tokens;
        self.sample.last = at;
    }

    /// The answer, after its last event.
    pub fn end(self) -> Result<Sample, Failure> {
        match (self.arrived, self.has_usage) {
            (0, _) => Err(Failure::NoTokens),
            (_, false) => Err(Failure::NoUsage),
            (_, true) => Ok(self.sample),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> io::Result<Vec<String>> {
        let mut stream = io::Cursor::new(text.as_bytes().to_vec());
        let mut all = Vec::new();
        while let Some(data) = next_event(&mut stream)? {
            all.push(data);
        }
        Ok(all)
    }

    #[test]
    fn events_are_separated_by_blank_lines() {
        let text = ": keep-alive\n\ndata: {\"a\": 1}\r\n\r\nevent: x\ndata:one\ndata: two\nid: 3\n\n\n\
                    data: [DONE]\n\n";
        assert_eq!(events(text).unwrap(), ["{\"a\": 1}", "one\ntwo", "[DONE]"]);
        assert!(events("").unwrap().is_empty());
        // Cut streams.
        assert_eq!(events("data: whole\n\ndata: no blank line\n").unwrap(), ["whole"]);
        assert!(events("data: whole\n\ndata: cu").is_err());
        assert!(events(&"x".repeat(2 << 20)).is_err());
    }

    fn read(chunks: &[(&str, f64)]) -> Result<Sample, Failure> {
        let mut times = AnswerTimes::default();
        for (data, at) in chunks {
            if times.event(data, *at)? {
                return times.end();
            }
        }
        Err(Failure::Cut)
    }

    const TOTAL: &str = r#"{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 8}}}"#;

    #[test]
    fn a_chunk_with_text_is_a_token_where_chunks_have_no_counts() {
        let token = r#"{"choices": [{"text": "a"}], "usage": null}"#;
        let end = r#"{"choices": [{"text": "", "finish_reason": "length"}]}"#;
        let chunks =
            [(token, 1.0), (token, 1.5), (token, 2.5), (end, 3.0), (TOTAL, 3.0), ("[DONE]", 3.0)];
        let sample = read(&chunks).unwrap();
        assert_eq!((sample.first, sample.last), (1.0, 2.5));
        assert_eq!(sample.gaps, [0.5, 1.0]);
        assert_eq!((sample.prompt_tokens, sample.output_tokens), (9, 3));
        assert_eq!(sample.cached_tokens, Some(8));
    }

    #[test]
    fn counts_tell_the_tokens_of_a_chunk() {
        let chunk = |text: &str, n: usize| {
            format!(
                r#"{{"choices": [{{"text": "{text}"}}], "usage": {{"completion_tokens": {n}}}}}"#
            )
        };
        let (one, three) = (chunk("a", 1), chunk("bcd", 4));
        let (silent, same) = (chunk("", 5), chunk("", 5));
        let sample =
            read(&[(&one, 1.0), (&three, 4.0), (&silent, 4.5), (&same, 9.0), ("[DONE]", 9.0)]);
        let sample = sample.unwrap();
        assert_eq!((sample.first, sample.last, sample.output_tokens), (1.0, 4.5, 5));
        assert_eq!(sample.gaps, [1.0, 1.0, 1.0, 0.5]);
    }

    #[test]
    fn failures_have_words() {
        let token = r#"{"choices": [{"text": "a"}]}"#;
        let error = r#"{"error": {"message": "no memory", "code": null}}"#;
        let words = |chunks: &[(&str, f64)]| read(chunks).unwrap_err().to_string();
        assert!(words(&[(token, 1.0)]).contains("ended before"));
        assert!(words(&[(token, 1.0), (error, 2.0)]).contains("no memory"));
        assert!(words(&[(token, 1.0), ("{", 2.0)]).contains("no chunk"));
        assert!(words(&[(TOTAL, 1.0), ("[DONE]", 1.0)]).contains("no tokens"));
        assert!(words(&[(token, 1.0), ("[DONE]", 1.0)]).contains("usage"));
    }
}
