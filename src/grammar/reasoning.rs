//! Reasoning before an answer of a given form.

use super::lark::{literal, marker};
use super::source::{Form, Source};
use crate::text::{AnswerFormat, THINK_MARKERS, Tokenizer};

/// The rule `think`, which the rules of `format` define; `None` if the model does not reason.
pub(super) fn rules(format: &AnswerFormat, tokenizer: &Tokenizer) -> Option<String> {
    if !format.thinks {
        return None;
    }
    let [start, end] = THINK_MARKERS;
    let start = marker(tokenizer, start);
    let thought = match tokenizer.token_id(end) {
        // No text has special tokens.
        Some(id) => format!("thought: THOUGHT? <[{id}]> THOUGHT_SPACE?\nTHOUGHT: /(?s:.+)/\n"),
        None => format!(
            "thought: thought_text THOUGHT_SPACE?\nthought_text[suffix={}]: /(?s:.*)/\n",
            literal(end)
        ),
    };
    let think = match format.begins_in_reasoning {
        true => "think: thought\n".to_owned(),
        false => format!("think: ({start} thought)?\n"),
    };
    Some(format!("{think}{thought}THOUGHT_SPACE: /[ \\t\\r\\n]{{1,8}}/\n"))
}

/// Lets reasoning come before the first of the grammars, if the model may reason.
pub(super) fn before(
    mut grammars: Vec<Source>,
    format: &AnswerFormat,
    tokenizer: &Tokenizer,
) -> Vec<Source> {
    let Some(rules) = rules(format, tokenizer) else { return grammars };
    if let Some(answer) = grammars.first_mut() {
        answer.name = Some("answer".to_owned());
    }
    let whole = Form::Lark(format!("start: think @answer\n{rules}"));
    grammars.insert(0, whole.into());
    grammars
}
