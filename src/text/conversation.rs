//! Conversations as written in chat files and requests: messages, tools and options.

use super::error::{TextError, one_line, path, quote};
use super::exact_json::request_json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions; `developer` means the same.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool's answer.
    Tool,
}

impl Role {
    /// The role's name in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "system" | "developer" => Some(Self::System),
            "user" => Some(Self::User),
            "assistant" => Some(Self::Assistant),
            "tool" => Some(Self::Tool),
            _ => None,
        }
    }
}

/// One turn of a conversation, with all fields of its source in their order.
///
/// The template sees all fields (`tool_calls`, `name`, `reasoning_content`, ...).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub struct Message {
    role: Role,
    /// All fields, `role` included. `role` and `content` have been checked.
    fields: Map<String, Value>,
}

impl Message {
    /// A message with text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("role".to_owned(), role.as_str().into());
        fields.insert("content".to_owned(), Value::String(text.into()));
        Self { role, fields }
    }

    /// Instructions to the model.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// A message of the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// A message of the model.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// Adds the reasoning that preceded the message. Empty text changes nothing.
    #[must_use]
    pub fn with_reasoning(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.fields.insert("reasoning_content".to_owned(), text.into());
        }
        self
    }

    /// A tool's answer.
    pub fn tool(text: impl Into<String>) -> Self {
        Self::new(Role::Tool, text)
    }

    /// The author of the message.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The content as text: a string, or text parts joined. `None` for other content (absent, `null`,
    /// or a tool's JSON).
    pub fn text(&self) -> Option<String> {
        match self.fields.get("content")? {
            Value::String(text) => Some(text.clone()),
            Value::Array(parts) => parts.iter().map(|part| part.get("text")?.as_str()).collect(),
            _ => None,
        }
    }

    /// A message of fields that the caller has checked.
    pub(super) fn of_fields(role: Role, fields: Map<String, Value>) -> Self {
        Self { role, fields }
    }

    /// All fields, `role` among them.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Checks a message; `path` names it in errors.
    fn from_value(value: Value, path: &str) -> Result<Self, TextError> {
        let Value::Object(mut fields) = value else {
            return Err(wrong(path, format_args!("must be an object, not {}", kind(&value))));
        };
        let role = match fields.get("role") {
            Some(Value::String(name)) => Role::parse(name).ok_or_else(|| {
                let problem = format_args!(
                    "{} is not one of system, developer, user, assistant, tool",
                    quote(name)
                );
                wrong(format_args!("{path}.role"), problem)
            })?,
            Some(other) => {
                let problem = format_args!("must be a string, not {}", kind(other));
                return Err(wrong(format_args!("{path}.role"), problem));
            }
            None => return Err(wrong(format_args!("{path}.role"), "missing")),
        };
        if let Some(name) = fields.get_mut("role") {
            *name = role.as_str().into();
        }
        check_content(fields.get("content"), role, path)?;
        Ok(Self { role, fields })
    }
}

fn check_content(content: Option<&Value>, role: Role, path: &str) -> Result<(), TextError> {
    let field = format!("{path}.content");
    match content {
        Some(Value::String(_) | Value::Null) => Ok(()),
        // A tool may answer with any JSON value.
        Some(_) if role == Role::Tool => Ok(()),
        Some(Value::Array(parts)) => parts
            .iter()
            .enumerate()
            .try_for_each(|(i, part)| check_part(part, &format!("{field}[{i}]"))),
        Some(other) => {
            let problem =
                format_args!("must be a string, null or a list of text parts, not {}", kind(other));
            Err(wrong(field, problem))
        }
        // A message with tool calls needs no content.
        None if role == Role::Assistant => Ok(()),
        None => Err(wrong(field, "missing")),
    }
}

fn check_part(part: &Value, path: &str) -> Result<(), TextError> {
    let Value::Object(part) = part else {
        return Err(wrong(path, format_args!("must be an object, not {}", kind(part))));
    };
    match part.get("type") {
        Some(Value::String(name)) if name == "text" => {}
        Some(Value::String(name)) => {
            let problem = format_args!("{} is not supported (only \"text\")", quote(name));
            return Err(wrong(format_args!("{path}.type"), problem));
        }
        _ => return Err(wrong(format_args!("{path}.type"), "must be \"text\"")),
    }
    match part.get("text") {
        Some(Value::String(_)) => Ok(()),
        _ => Err(wrong(format_args!("{path}.text"), "must be a string")),
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Value::Object(message.fields)
    }
}

impl TryFrom<Value> for Message {
    type Error = TextError;

    fn try_from(value: Value) -> Result<Self, TextError> {
        Self::from_value(value, "message")
    }
}

/// A conversation, the input of a chat template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Conversation {
    /// The turns so far. Not empty if the conversation was read from JSON.
    pub messages: Vec<Message>,
    /// Tools the model may call: JSON objects, usually `{"type": "function", "function": {...}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Value>>,
    /// Whether the prompt should end with the beginning of the assistant's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_generation_prompt: Option<bool>,
    /// Whether the answer continues the last message, which is the assistant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continue_final_message: Option<bool>,
    /// Further variables for the template (`enable_thinking`, `documents`, ...).
    #[serde(rename = "chat_template_kwargs", skip_serializing_if = "Map::is_empty")]
    pub template_vars: Map<String, Value>,
}

const KEYS: [&str; 5] = [
    "messages",
    "tools",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template_kwargs",
];
/// Variables that other fields of the conversation set.
const RESERVED_VARS: [&str; 3] = ["messages", "tools", "add_generation_prompt"];

impl Conversation {
    /// A conversation of these turns.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), ..Self::default() }
    }

    /// Reads `{"messages": [...], "tools": [...]?, "add_generation_prompt": bool?,
    /// "continue_final_message": bool?, "chat_template_kwargs": {...}?}`, or the list of messages alone.
    ///
    /// # Errors
    /// [`TextError::Conversation`] naming the message and field: roles other than system
    /// (developer), user, assistant and tool; content that is not a string, `null`, or a list of
    /// `{"type": "text", "text": ...}` (a tool's may be any JSON); unknown fields beside messages.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        let value = request_json(json)
            .map_err(|e| wrong("conversation", format_args!("not valid JSON: {}", one_line(e))))?;
        Self::from_value(value)
    }

    /// As [`Conversation::from_json`], from parsed JSON.
    ///
    /// # Errors
    /// As [`Conversation::from_json`].
    pub fn from_value(value: Value) -> Result<Self, TextError> {
        let mut fields = match value {
            Value::Object(fields) => fields,
            Value::Array(messages) => {
                Map::from_iter([("messages".to_owned(), Value::Array(messages))])
            }
            other => {
                let problem = format_args!(
                    "must be an object with messages or a list of messages, not {}",
                    kind(&other)
                );
                return Err(wrong("conversation", problem));
            }
        };
        if let Some(key) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let problem = format_args!("unknown field (known: {})", KEYS.join(", "));
            return Err(wrong(key, problem));
        }
        let messages = match fields.remove("messages") {
            Some(Value::Array(messages)) => messages,
            Some(other) => {
                return Err(wrong(
                    "messages",
                    format_args!("must be a list, not {}", kind(&other)),
                ));
            }
            None => return Err(wrong("messages", "missing")),
        };
        if messages.is_empty() {
            return Err(wrong("messages", "empty: a conversation needs at least one message"));
        }
        let messages = messages
            .into_iter()
            .enumerate()
            .map(|(i, message)| Message::from_value(message, &format!("messages[{i}]")));
        Ok(Self {
            messages: messages.collect::<Result<_, _>>()?,
            tools: read_tools(fields.remove("tools"))?,
            add_generation_prompt: read_bool(&mut fields, "add_generation_prompt")?,
            continue_final_message: read_bool(&mut fields, "continue_final_message")?,
            template_vars: read_vars(fields.remove("chat_template_kwargs"))?,
        })
    }
}

impl TryFrom<Value> for Conversation {
    type Error = TextError;

    fn try_from(value: Value) -> Result<Self, TextError> {
        Self::from_value(value)
    }
}

fn read_bool(fields: &mut Map<String, Value>, key: &str) -> Result<Option<bool>, TextError> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(other) => Err(wrong(key, format_args!("must be true or false, not {}", kind(&other)))),
    }
}

fn read_tools(tools: Option<Value>) -> Result<Option<Vec<Value>>, TextError> {
    let tools = match tools {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(tools)) => tools,
        Some(other) => {
            return Err(wrong("tools", format_args!("must be a list, not {}", kind(&other))));
        }
    };
    match tools.iter().enumerate().find(|(_, tool)| !tool.is_object()) {
        Some((i, tool)) => {
            let problem = format_args!("must be an object, not {}", kind(tool));
            Err(wrong(format_args!("tools[{i}]"), problem))
        }
        None => Ok(Some(tools)),
    }
}

fn read_vars(vars: Option<Value>) -> Result<Map<String, Value>, TextError> {
    let path = "chat_template_kwargs";
    let vars = match vars {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(vars)) => vars,
        Some(other) => {
            return Err(wrong(path, format_args!("must be an object, not {}", kind(&other))));
        }
    };
    match vars.keys().find(|key| RESERVED_VARS.contains(&key.as_str())) {
        Some(key) => {
            let problem = "reserved; set it beside \"messages\", not here";
            Err(wrong(format_args!("{path}.{key}"), problem))
        }
        None => Ok(vars),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn wrong(field: impl std::fmt::Display, problem: impl std::fmt::Display) -> TextError {
    TextError::Conversation { path: path(field), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        Conversation::from_json(json).unwrap_err().to_string()
    }

    #[test]
    fn objects_and_bare_lists_are_read() {
        let list = r#"[{"role": "user", "content": "Hi"}]"#;
        let bare = Conversation::from_json(list).unwrap();
        assert_eq!(bare, Conversation::new([Message::user("Hi")]));
        let full = format!(
            r#"{{"messages": {list}, "tools": [{{"name": "f"}}], "add_generation_prompt": false,
                "chat_template_kwargs": {{"enable_thinking": true}}}}"#
        );
        let full = Conversation::from_json(&full).unwrap();
        assert_eq!(full.messages, bare.messages);
        assert_eq!(full.tools.as_ref().map(Vec::len), Some(1));
        assert_eq!(full.add_generation_prompt, Some(false));
        assert_eq!(full.template_vars["enable_thinking"], true);
        let again = serde_json::to_string(&full).unwrap();
        assert_eq!(Conversation::from_json(&again).unwrap(), full);
        assert_eq!(serde_json::from_str::<Conversation>(&again).unwrap(), full);
    }

    #[test]
    fn unknown_message_fields_are_kept_in_order() {
        let json = r#"[{"name":"n","role":"assistant","tool_calls":[{"id":1}],"z":1,"a":null}]"#;
        let conversation = Conversation::from_json(json).unwrap();
        let keys: Vec<_> = conversation.messages[0].fields().keys().collect();
        assert_eq!(keys, ["name", "role", "tool_calls", "z", "a"]);
        assert_eq!(conversation.messages[0].text(), None);
    }

    #[test]
    fn developer_means_system_and_text_parts_are_joined() {
        let json = r#"[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#;
        let message = &Conversation::from_json(json).unwrap().messages[0];
        assert_eq!(message.role(), Role::System);
        assert_eq!(message.fields()["role"], "system");
        assert_eq!(message.text().as_deref(), Some("ab"));
    }

    #[test]
    fn a_tool_may_answer_in_any_json() {
        for content in ["{\"t\": 20}", "[1, 2]", "3", "true", "null", "\"x\""] {
            let json = format!(r#"[{{"role":"tool","content":{content}}}]"#);
            Conversation::from_json(&json).unwrap();
        }
    }

    #[test]
    fn every_error_names_index_and_field() {
        let user = r#"{"role":"user","content":"x"}"#;
        let cases = [
            ("", "conversation: not valid JSON"),
            (
                "5",
                "conversation: must be an object with messages or a list of messages, not a number",
            ),
            ("[]", "messages: empty"),
            ("{}", "messages: missing"),
            (r#"{"messages": {}}"#, "messages: must be a list, not an object"),
            (r#"{"messages": [], "n": 1}"#, "n: unknown field"),
            (r#"{"messages": [], "n\n\u001b": 1}"#, r"n\n\u{1b}: unknown field"),
            (&format!("[{user}, 7]"), "messages[1]: must be an object, not a number"),
            (&format!("[{user}, {{}}]"), "messages[1].role: missing"),
            (
                &format!(r#"[{user}, {{"role": null}}]"#),
                "messages[1].role: must be a string, not null",
            ),
            (
                &format!(r#"[{user}, {{"role": "bot", "content": ""}}]"#),
                "messages[1].role: \"bot\" is not one of",
            ),
            (r#"[{"role": "user"}]"#, "messages[0].content: missing"),
            (
                r#"[{"role": "user", "content": 3}]"#,
                "messages[0].content: must be a string, null or a list",
            ),
            (
                r#"[{"role": "user", "content": ["x"]}]"#,
                "messages[0].content[0]: must be an object, not a string",
            ),
            (
                r#"[{"role": "user", "content": [{"type": "image_url"}]}]"#,
                "messages[0].content[0].type: \"image_url\" is not supported",
            ),
            (
                r#"[{"role": "user", "content": [{"text": "x"}]}]"#,
                "messages[0].content[0].type: must be \"text\"",
            ),
            (
                r#"[{"role": "user", "content": [{"type": "text", "text": 1}]}]"#,
                "messages[0].content[0].text: must be a string",
            ),
            (
                &format!(r#"{{"messages": [{user}], "tools": {{}}}}"#),
                "tools: must be a list, not an object",
            ),
            (
                &format!(r#"{{"messages": [{user}], "tools": ["f"]}}"#),
                "tools[0]: must be an object, not a string",
            ),
            (
                &format!(r#"{{"messages": [{user}], "add_generation_prompt": 1}}"#),
                "add_generation_prompt: must be true or false",
            ),
            (
                &format!(r#"{{"messages": [{user}], "chat_template_kwargs": []}}"#),
                "chat_template_kwargs: must be an object",
            ),
            (
                &format!(r#"{{"messages": [{user}], "chat_template_kwargs": {{"tools": 1}}}}"#),
                "chat_template_kwargs.tools: reserved",
            ),
            (
                &format!("[{}1{}]", "[".repeat(200), "]".repeat(200)),
                "conversation: not valid JSON: recursion limit",
            ),
        ];
        for (json, expected) in cases {
            let message = error(json);
            assert!(message.starts_with(expected), "{json}\n{message}\n{expected}");
            assert!(!message.contains('\n'));
        }
    }
}
