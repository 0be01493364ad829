//! Answers and errors in the format of OpenAI's API.

use serde_json::{Map, Value, json};

use super::{Delta, FinishReason, Timings};
use crate::error::Error;
use crate::text::Answer;

/// A step's result under OpenAI's names: `content`, `reasoning_content`, and `tool_calls` with
/// whole functions; the caller adds ids. Empty fields are omitted.
#[must_use]
pub fn piece(delta: &Delta) -> Value {
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
    piece.into()
}

/// The summary at an answer's end under OpenAI's and llama-server's names: `finish_reason`
/// (`"stop"`, `"tool_calls"`, `"length"`, or null for an answer that was stopped before its end),
/// `usage` and `timings`.
#[must_use]
pub fn summary(finish: Option<FinishReason>, timings: &Timings) -> Value {
    let prompt = timings.cache_n + timings.prompt_n;
    json!({
        "finish_reason": finish.map(|finish| match finish {
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }),
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": timings.predicted_n,
            "total_tokens": prompt + timings.predicted_n,
            "prompt_tokens_details": { "cached_tokens": timings.cache_n },
        },
        "timings": {
            "cache_n": timings.cache_n,
            "prompt_n": timings.prompt_n,
            "prompt_ms": timings.prompt_ms,
            "prompt_per_second": timings.prompt_per_second(),
            "predicted_n": timings.predicted_n,
            "predicted_ms": timings.predicted_ms,
            "predicted_per_second": timings.predicted_per_second(),
            "first_token_ms": timings.first_token_ms,
            "seed": timings.seed,
        },
    })
}

/// A whole answer as OpenAI's `chat.completion`. `id` names the answer; its calls get ids that begin with it.
/// `created` is in seconds since 1970.
#[must_use]
pub fn completion(
    (id, created, model): (&str, u64, &str),
    answer: &Answer,
    finish: Option<FinishReason>,
    timings: &Timings,
) -> Value {
    let Answer { content, reasoning, tool_calls } = answer;
    let mut message = json!({ "role": "assistant", "content": content });
    if content.is_empty() && !tool_calls.is_empty() {
        message["content"] = Value::Null;
    }
    if !reasoning.is_empty() {
        message["reasoning_content"] = reasoning.as_str().into();
    }
    if !tool_calls.is_empty() {
        let calls = tool_calls.iter().enumerate().map(|(index, call)| {
            let function = json!({ "name": call.name, "arguments": call.arguments });
            json!({ "id": format!("call_{id}_{index}"), "type": "function", "function": function })
        });
        message["tool_calls"] = calls.collect();
    }
    let mut end = summary(finish, timings);
    let finish_reason = end["finish_reason"].take();
    let choice =
        json!({ "index": 0, "message": message, "finish_reason": finish_reason, "logprobs": null });
    json!({
        "id": format!("chatcmpl-{id}"),
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": end["usage"].take(),
        "timings": end["timings"].take(),
    })
}

/// An error as OpenAI's API reports it: `{"error": {"message", "type", "param", "code"}}`.
#[must_use]
pub fn error_json(error: &Error) -> Value {
    let param = match error {
        Error::Request { field, .. } => Some(field.as_str()),
        Error::Option { option, .. } => Some(*option),
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
    fn a_completion_has_the_names_of_openai() {
        let call = |name: &str| ToolCall { name: name.to_owned(), arguments: "{}".to_owned() };
        let answer = Answer {
            content: String::new(),
            reasoning: "Hm.".to_owned(),
            tool_calls: vec![call("a"), call("b")],
        };
        let timings = Timings { prompt_n: 4, predicted_n: 5, ..Timings::default() };
        let whole = completion(("x", 7, "m"), &answer, Some(FinishReason::ToolCalls), &timings);
        let choice = &whole["choices"][0];
        assert_eq!((&whole["id"], &whole["created"]), (&json!("chatcmpl-x"), &json!(7)));
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], Value::Null);
        assert_eq!(choice["message"]["reasoning_content"], "Hm.");
        let calls = choice["message"]["tool_calls"].as_array().unwrap();
        assert_eq!((&calls[0]["id"], &calls[1]["id"]), (&json!("call_x_0"), &json!("call_x_1")));
        assert_eq!(calls[1]["function"], json!({ "name": "b", "arguments": "{}" }));
        assert_eq!(whole["usage"]["total_tokens"], 9);
        let full = Error::ContextFull { prompt: 9, context: 8, most: 8 };
        assert_eq!(error_json(&full)["error"]["code"], "context_length_exceeded");
    }
}
