//! `tool_choice`: whether the model may, must or must not call tools, and which.

use serde_json::Value;

use super::fields::{Fields, wrong};
use crate::error::Error;
use crate::text::function_of;

/// Whether the model calls tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// It calls none: the tools are hidden from it.
    None,
    /// It calls at least one.
    Required,
    /// It calls this one.
    Named(String),
}

/// The values that are supported, for errors.
const NEED: &str = "must be \"auto\", \"none\", \"required\", {\"type\": \"function\", \"function\": {\"name\": ...}} \
                    or {\"type\": \"allowed_tools\", ...}";

fn name_of(tool: &Value) -> Option<&str> {
    function_of(tool).get("name")?.as_str()
}

/// Takes `tools`, each of which must be a function with a name.
pub(super) fn take_tools(fields: &mut Fields) -> Result<Option<Vec<Value>>, Error> {
    let tools = match fields.take("tools") {
        None => return Ok(None),
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(wrong("tools", "must be a list")),
    };
    for (index, tool) in tools.iter().enumerate() {
        let field = format!("tools[{index}]");
        match tool.get("type").and_then(Value::as_str) {
            Some("function") | None => {}
            Some(other) => {
                let problem = format!("the type {other:?} is not supported, only \"function\"");
                return Err(wrong(&field, problem));
            }
        }
        if name_of(tool).is_none_or(str::is_empty) {
            return Err(wrong(&field, "must be an object whose function has a name"));
        }
    }
    Ok(Some(tools))
}

impl ToolChoice {
    /// Takes `tool_choice`, and leaves in `tools` those that the model may call.
    ///
    /// # Errors
    /// [`Error::Request`] for a choice that is invalid, or that no tool of the request fulfils.
    pub(super) fn take(fields: &mut Fields, tools: &mut Option<Vec<Value>>) -> Result<Self, Error> {
        let key = "tool_choice";
        let choice = match fields.take(key) {
            None => return Ok(Self::Auto),
            Some(Value::String(word)) => match word.as_str() {
                "auto" => Self::Auto,
                "none" => Self::None,
                // The name in other APIs, which their clients carry over.
                "required" | "any" => Self::Required,
                _ => return Err(wrong(key, NEED)),
            },
            Some(Value::Object(choice)) => Self::of_object(&choice.into(), tools)?,
            Some(_) => return Err(wrong(key, NEED)),
        };
        if choice == Self::None {
            *tools = None;
        }
        let offered = tools.as_deref().unwrap_or_default();
        match &choice {
            Self::Required if offered.is_empty() => Err(wrong(key, "needs tools")),
            Self::Named(name) if !offered.iter().any(|tool| name_of(tool) == Some(name)) => {
                Err(wrong(key, format!("{name:?} is no tool of the request")))
            }
            _ => Ok(choice),
        }
    }

    fn of_object(choice: &Value, tools: &mut Option<Vec<Value>>) -> Result<Self, Error> {
        let key = "tool_choice";
        let kind = choice.get("type").and_then(Value::as_str);
        if kind != Some("allowed_tools") {
            let name = name_of(choice).filter(|_| kind.is_none_or(|kind| kind == "function"));
            return Ok(Self::Named(name.ok_or_else(|| wrong(key, NEED))?.to_owned()));
        }
        // The Chat API nests the fields, the Responses API does not.
        let allowed = choice.get("allowed_tools").unwrap_or(choice);
        let names = allowed.get("tools").and_then(Value::as_array);
        let names: Option<Vec<&str>> = names.map(|all| all.iter().filter_map(name_of).collect());
        let names = names.ok_or_else(|| wrong(key, "allowed_tools needs a list \"tools\""))?;
        let offered = tools.get_or_insert_default();
        let missing =
            names.iter().find(|name| !offered.iter().any(|tool| name_of(tool) == Some(name)));
        if let Some(name) = missing {
            return Err(wrong(key, format!("{name:?} is no tool of the request")));
        }
        offered.retain(|tool| name_of(tool).is_some_and(|name| names.contains(&name)));
        match allowed.get("mode").and_then(Value::as_str) {
            None | Some("auto") => Ok(Self::Auto),
            Some("required") => Ok(Self::Required),
            Some(_) => Err(wrong(key, "the mode must be \"auto\" or \"required\"")),
        }
    }
}
