//! Probes of a chat template's abilities: small conversations are rendered and the results examined.
//!
//! vLLM detects support for lists of text parts in the same way. A model's name or a phrase in the
//! template would be less reliable.

use super::call_reader::{Part, read_block};
use super::chat_template::ChatTemplate;
use super::conversation::{Conversation, Message, Role};
use super::markers::Marker;
use super::tool_call::ToolCall;
use super::tools::Tools;
use serde_json::{Map, Value, json};

/// An ability of a chat template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ability {
    /// A list of text parts as content of this role renders like the same text.
    Lists(Role),
    /// Messages of this role are rendered. Assumed if the probe cannot tell.
    Writes(Role),
    /// A system message after the first turn is rendered.
    LaterSystem,
    /// A message's reasoning is rendered.
    Reasoning,
    /// Rendered calls can be read back, even if their arguments contain quotes and escapes.
    ToolCalls,
    /// An empty message is rendered like others. Assumed if the probe cannot tell.
    EmptyTurns,
}

/// Text that no template contains.
const PROBE: &str = "lfm2-probe";

impl Ability {
    /// Probes a template. A template that fails lacks the ability, except [`Ability::Writes`] and
    /// [`Ability::EmptyTurns`]: there, rendering the conversation itself will report the error.
    pub(super) fn probe(self, template: &ChatTemplate) -> bool {
        let render = |turns: &[(Role, Value)]| {
            let messages = turns.iter().map(|(role, content)| message(*role, content.clone()));
            template.render(&Conversation::new(messages), false).ok()
        };
        let shows = |text: Option<String>| text.map(|text| text.contains(PROBE));
        let text = || Value::from(PROBE);
        match self {
            Self::Lists(role) => {
                let list = json!([{ "type": "text", "text": PROBE }]);
                let rendered = render(&around(role, text()));
                rendered.is_some() && rendered == render(&around(role, list))
            }
            Self::Writes(role) => {
                let user = shows(render(&around(Role::User, text())));
                user != Some(true) || shows(render(&around(role, text()))) != Some(false)
            }
            Self::LaterSystem => {
                let mut turns = around(Role::Assistant, "b".into()).to_vec();
                turns.extend([(Role::System, text()), (Role::User, "c".into())]);
                shows(render(&turns)) == Some(true)
            }
            Self::Reasoning => {
                let mut thought = message(Role::Assistant, "b".into()).fields().clone();
                thought.insert("reasoning_content".to_owned(), text());
                let thought = Message::of_fields(Role::Assistant, thought);
                let turns = Conversation::new([Message::user("a"), thought]);
                shows(template.render(&turns, false).ok()) == Some(true)
            }
            Self::ToolCalls => writes_calls(template),
            Self::EmptyTurns => {
                let full = render(&[(Role::User, text()), (Role::Assistant, "b".into())]);
                let empty = render(&[(Role::User, "".into()), (Role::Assistant, "b".into())]);
                full.zip(empty).is_none_or(|(full, empty)| full.replace(PROBE, "") == empty)
            }
        }
    }
}

fn message(role: Role, content: Value) -> Message {
    let role_name = ("role".to_owned(), Value::from(role.as_str()));
    Message::of_fields(role, Map::from_iter([role_name, ("content".to_owned(), content)]))
}

/// A minimal conversation with a message of `role`.
fn around(role: Role, content: Value) -> Vec<(Role, Value)> {
    match role {
        Role::System => vec![(role, content), (Role::User, "a".into())],
        Role::User => vec![(role, content)],
        Role::Assistant => vec![(Role::User, "a".into()), (role, content)],
        Role::Tool => {
            vec![(Role::User, "a".into()), (Role::Assistant, "b".into()), (role, content)]
        }
    }
}

/// Renders a call whose arguments break every kind of quoting without escapes, and reads it back.
fn writes_calls(template: &ChatTemplate) -> bool {
    let arguments = json!({
        "text": "it's \"so\"\\n\n', n=3)", "n": 2, "flag": true, "list": ["it's"], "none": null,
    });
    let tool = json!({ "type": "function", "function": { "name": PROBE, "description": "", "parameters": {
        "type": "object", "properties": {
            "text": { "type": "string" }, "n": { "type": "integer" }, "flag": { "type": "boolean" },
            "list": { "type": "array" }, "none": { "type": "null" },
        },
    } } });
    let call = json!({ "id": "call00001", "type": "function",
        "function": { "name": PROBE, "arguments": arguments } });
    let expected = ToolCall { name: PROBE.to_owned(), arguments: arguments.to_string() };
    let mut called = message(Role::Assistant, "".into()).fields().clone();
    called.insert("tool_calls".to_owned(), json!([call]));
    let called = Message::of_fields(Role::Assistant, called);
    let turns = [Message::user("a"), called, Message::tool("b")];
    let tools = Tools::new(std::slice::from_ref(&tool));
    let conversation = Conversation { tools: Some(vec![tool]), ..Conversation::new(turns) };
    let Ok(text) = template.render(&conversation, false) else { return false };
    [(Marker::CallStart, Marker::CallEnd), (Marker::XmlStart, Marker::XmlEnd)].iter().any(
        |(start, end)| {
            // The list of tools comes first and may contain an example of a call.
            let from = text.rfind(start.text()).map(|at| at + start.text().len());
            let written = from.and_then(|from| text.get(from..)?.split_once(end.text()));
            let parts = written.map(|(block, _)| read_block(block, Some(&tools), true));
            parts == Some(vec![Part::Call(expected.clone())])
        },
    )
}
