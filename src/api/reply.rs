//! Answers and errors in the format of OpenAI's API.

use serde_json::{Map, Value, json};

use super::fields::Streaming;
use crate::engine::{Completed, Delta, Engine, FinishReason, Timings, TokenLogprobs};
use crate::error::Error;
use crate::text::{Answer, TextError};

impl Engine {
    /// A step's result under OpenAI's names: `content`, `reasoning_content`, `tool_calls` with
    /// whole functions (the caller adds ids), and `logprobs` of its token. Empty fields are omitted.
    #[must_use]
    pub fn piece(&self, delta: &Delta) -> Value {
        self.piece_fields(delta).into()
    }

    /// The fields of [`Engine::piece`].
    pub(super) fn piece_fields(&self, delta: &Delta) -> Map<String, Value> {
        let mut piece = Map::new();
        if !delta.text.is_empty() {
            piece.insert("content".to_owned(), delta.text.as_str().into());
        }
        if !delta.reasoning.is_empty() {
            piece.insert("reasoning_content".to_owned(), delta.reasoning.as_str().into());
        }
        if !delta.tool_calls.is_empty() {
            let calls = delta.tool_calls.iter();
            let calls = calls.map(|c| json!({ "name": c.name, "arguments": c.arguments }));
            piece.insert("tool_calls".to_owned(), calls.collect());
        }
        let logprobs = self.logprobs_json(delta.logprobs.as_slice());
        if logprobs["content"].as_array().is_some_and(|content| !content.is_empty()) {
            piece.insert("logprobs".to_owned(), logprobs);
        }
        piece
    }

    /// The whole answers to a request as OpenAI's `chat.completion`.
    #[must_use]
    pub fn completion(&self, head: &ReplyHead, answers: &[Completed]) -> Value {
        let choices = answers.iter().enumerate().map(|(index, completed)| {
            let logprobs = match completed.logprobs.is_empty() {
                true => Value::Null,
                false => self.logprobs_json(&completed.logprobs),
            };
            json!({
                "index": index,
                "message": message(&head.id, index, &completed.answer),
                "finish_reason": finish_json(completed.finish),
                "logprobs": logprobs,
            })
        });
        let timings: Vec<Timings> = answers.iter().map(|completed| completed.timings).collect();
        json!({
            "id": format!("chatcmpl-{}", head.id),
            "object": "chat.completion",
            "created": head.created,
            "model": head.model,
            "choices": choices.collect::<Vec<_>>(),
            "usage": usage_json(&timings, timings.len()),
            "timings": timings_json(&timings.first().copied().unwrap_or_default()),
        })
    }

    /// `choices[0].logprobs` of OpenAI's API: all tokens of the answer but the one that ends it.
    fn logprobs_json(&self, tokens: &[TokenLogprobs]) -> Value {
        let tokenizer = self.tokenizer().ok();
        let entry = |token: u32, logprob: f32| {
            let bytes = tokenizer.and_then(|t| t.token_bytes(token)).unwrap_or_default();
            let text = String::from_utf8_lossy(bytes);
            json!({ "token": text, "logprob": logprob, "bytes": bytes })
        };
        let said = tokens.iter().filter(|one| !self.is_end(one.token));
        let content = said.map(|one| {
            let mut said = entry(one.token, one.logprob);
            said["top_logprobs"] = one.top.iter().map(|(token, p)| entry(*token, *p)).collect();
            said
        });
        json!({ "content": content.collect::<Vec<_>>(), "refusal": null })
    }
}

/// The beginning that all replies to a request have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyHead {
    /// Names the reply; ids of tool calls begin with it.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
}

/// The id of a tool call: unique among all answers if that of the reply is.
pub(super) fn call_id(id: &str, answer: usize, call: usize) -> String {
    format!("call_{id}_{answer}_{call}")
}

/// The message of a whole answer.
fn message(id: &str, index: usize, answer: &Answer) -> Value {
    let Answer { content, reasoning, tool_calls } = answer;
    let mut message = json!({ "role": "assistant", "content": content });
    if content.is_empty() && !tool_calls.is_empty() {
        message["content"] = Value::Null;
    }
    if !reasoning.is_empty() {
        message["reasoning_content"] = reasoning.as_str().into();
    }
    if !tool_calls.is_empty() {
        let calls = tool_calls.iter().enumerate();
        message["tool_calls"] =
            calls.map(|(call, function)| function.to_json(&call_id(id, index, call))).collect();
    }
    message
}

/// `finish_reason`: `"stop"`, `"tool_calls"`, `"length"`, or null for an answer that was stopped before its end.
pub(super) fn finish_json(finish: Option<FinishReason>) -> Value {
    match finish {
        None => Value::Null,
        Some(FinishReason::ToolCalls) => "tool_calls".into(),
        Some(FinishReason::Stop) => "stop".into(),
        Some(FinishReason::Length) => "length".into(),
    }
}

/// `usage` of answers, of which `n` in a row share a prompt.
pub(super) fn usage_json(answers: &[Timings], n: usize) -> Value {
    let prompts = || answers.iter().step_by(n.max(1));
    let prompt: usize = prompts().map(|timings| timings.cache_n + timings.prompt_n).sum();
    let cached: usize = prompts().map(|timings| timings.cache_n).sum();
    let completion: usize = answers.iter().map(|timings| timings.predicted_n).sum();
    let reasoning: usize = answers.iter().map(|timings| timings.reasoning_n).sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": cached },
        "completion_tokens_details": { "reasoning_tokens": reasoning },
    })
}

/// Adds `usage` to a chunk of a stream, as the request asks for it: the counts so far, null, or nothing.
pub(super) fn add_usage(chunk: &mut Value, streaming: Streaming, counts: impl FnOnce() -> Value) {
    if streaming.always_usage {
        chunk["usage"] = counts();
    } else if streaming.include_usage {
        chunk["usage"] = Value::Null;
    }
}

/// `timings` of an answer under llama-server's names.
pub(super) fn timings_json(timings: &Timings) -> Value {
    json!({
        "cache_n": timings.cache_n,
        "prompt_n": timings.prompt_n,
        "prompt_ms": timings.prompt_ms,
        "prompt_per_second": timings.prompt_per_second(),
        "predicted_n": timings.predicted_n,
        "predicted_ms": timings.predicted_ms,
        "predicted_per_second": timings.predicted_per_second(),
        "first_token_ms": timings.first_token_ms,
        "seed": timings.seed,
    })
}

/// The summary at an answer's end under OpenAI's and llama-server's names: `finish_reason`
/// (`"stop"`, `"tool_calls"`, `"length"`, or null for an answer that was stopped before its end),
/// `usage` and `timings`.
#[must_use]
pub fn summary(finish: Option<FinishReason>, timings: &Timings) -> Value {
    json!({
        "finish_reason": finish_json(finish),
        "usage": usage_json(&[*timings], 1),
        "timings": timings_json(timings),
    })
}

/// An error as OpenAI's API reports it: `{"error": {"message", "type", "param", "code"}}`.
#[must_use]
pub fn error_json(error: &Error) -> Value {
    let param = match error {
        Error::Request { field, .. } => Some(field.as_str()),
        Error::Option { option, .. } => Some(*option),
        Error::Lora { .. } => Some("lora"),
        Error::Text(TextError::Conversation { path, .. }) => Some(path.as_str()),
        Error::Text(TextError::StopString { .. }) => Some("stop"),
        _ => None,
    };
    let code = match error {
        Error::ContextFull { .. } => "context_length_exceeded",
        other => other.code(),
    };
    let kind = if error.is_user() { "invalid_request_error" } else { "server_error" };
    json!({ "error": { "message": error.to_string(), "type": kind, "param": param, "code": code } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::ToolCall;

    #[test]
    fn the_summary_has_the_names_of_openai() {
        let timings = Timings { cache_n: 3, prompt_n: 4, predicted_n: 5, ..Timings::default() };
        let told = summary(Some(FinishReason::ToolCalls), &timings);
        assert_eq!(told["finish_reason"], "tool_calls");
        assert_eq!(told["usage"]["total_tokens"], 12);
        assert_eq!(told["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
        assert_eq!(summary(Some(FinishReason::Stop), &timings)["finish_reason"], "stop");
        assert_eq!(summary(Some(FinishReason::Length), &timings)["finish_reason"], "length");
        assert!(summary(None, &timings)["finish_reason"].is_null());
    }

    #[test]
    fn a_message_has_the_names_of_openai() {
        let call = |name: &str| ToolCall { name: name.to_owned(), arguments: "{}".to_owned() };
        let answer = Answer {
            content: String::new(),
            reasoning: "Hm.".to_owned(),
            tool_calls: vec![call("a"), call("b")],
        };
        let message = message("x", 0, &answer);
        assert_eq!(message["content"], Value::Null);
        assert_eq!(message["reasoning_content"], "Hm.");
        let calls = message["tool_calls"].as_array().unwrap();
        assert_eq!(
            (&calls[0]["id"], &calls[1]["id"]),
            (&json!("call_x_0_0"), &json!("call_x_0_1"))
        );
        assert_eq!(calls[1]["function"], json!({ "name": "b", "arguments": "{}" }));
        let full = Error::ContextFull { prompt: 9, context: 8, most: 8 };
        assert_eq!(error_json(&full)["error"]["code"], "context_length_exceeded");
    }
}
