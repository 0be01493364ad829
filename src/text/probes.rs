//! What a chat template can do, found out by trying it, as vLLM finds out whether it takes lists. No
//! model's name and no phrase of a template tells it as surely.

use super::call_reader::{Part, read_block};
use super::chat_template::ChatTemplate;
use super::conversation::{Conversation, Message, Role};
use super::markers::Mark;
use super::tool_call::ToolCall;
use super::tools::Tools;
use serde_json::{Map, Value, json};

/// What may be asked of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ability {
    /// Content of this role as a list of text parts gives what the same text gives.
    Lists(Role),
    /// Messages of this role appear, if those of the user do.
    Writes(Role),
    /// A system message that is not the first appears.
    LaterSystem,
    /// A message's reasoning appears before its text.
    Reasoning,
    /// A message's calls can be read again, whatever their arguments are.
    ToolCalls,
    /// A message without text has its end all the same.
    EmptyTurns,
}

/// A text that no template has.
const PROBE: &str = "lfm2-probe";

impl Ability {
    /// Tries it. A template that fails has not the ability, but for [`Ability::Writes`] and
    /// [`Ability::EmptyTurns`]: what it fails at will be told by the conversation itself.
    pub(super) fn of(self, template: &ChatTemplate) -> bool {
        let render = |turns: &[(Role, Value)]| {
            let messages = turns.iter().map(|(role, content)| message(*role, content.clone()));
            template.render(&Conversation::new(messages), false).ok()
        };
        let shows = |text: Option<String>| text.map(|text| text.contains(PROBE));
        let probe = || Value::from(PROBE);
        match self {
            Self::Lists(role) => {
                let list = json!([{ "type": "text", "text": PROBE }]);
                let text = render(&around(role, probe()));
                text.is_some() && text == render(&around(role, list))
            }
            Self::Writes(role) => {
                let user = shows(render(&around(Role::User, probe())));
                user != Some(true) || shows(render(&around(role, probe()))) != Some(false)
            }
            Self::LaterSystem => {
                let mut turns = around(Role::Assistant, "b".into()).to_vec();
                turns.extend([(Role::System, probe()), (Role::User, "c".into())]);
                shows(render(&turns)) == Some(true)
            }
            Self::Reasoning => {
                let mut thought = message(Role::Assistant, "b".into()).fields().clone();
                thought.insert("reasoning_content".to_owned(), probe());
                let thought = Message::of_fields(Role::Assistant, thought);
                let turns = Conversation::new([Message::user("a"), thought]);
                shows(template.render(&turns, false).ok()) == Some(true)
            }
            Self::ToolCalls => writes_calls(template),
            Self::EmptyTurns => {
                let full = render(&[(Role::User, probe()), (Role::Assistant, "b".into())]);
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

/// A conversation in which a message of `role` may stand.
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

/// Renders a call whose arguments break every way of quoting that does not escape.
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
    [(Mark::CallStart, Mark::CallEnd), (Mark::XmlStart, Mark::XmlEnd)].iter().any(|(start, end)| {
        // The list of tools comes first, and may tell how calls are written.
        let from = text.rfind(start.text()).map(|at| at + start.text().len());
        let written = from.and_then(|from| text.get(from..)?.split_once(end.text()));
        let parts = written.map(|(block, _)| read_block(block, Some(&tools), true));
        parts == Some(vec![Part::Call(expected.clone())])
    })
}
