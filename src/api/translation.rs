//! A request in another API's format, while it becomes a chat request: that has all checks.

use serde_json::{Map, Value, json};

use super::chat::ChatRequest;
use super::fields::{Fields, Unknown, wrong};
use super::place::Place;
use super::turns::Turns;
use crate::error::Error;
use crate::formats::one_line;
use crate::text::TextError;

/// Names of a chat request's fields, each with its name in the other API.
type Names = &'static [(&'static str, &'static str)];

/// A request that is being translated.
pub(super) struct Translation {
    /// The fields that have not been translated. The chat request's reader takes them as they are.
    pub(super) fields: Fields,
    pub(super) turns: Turns,
    /// Parts that are left out.
    pub(super) ignored: Vec<String>,
    /// Types of tools that are left out.
    pub(super) skipped: Vec<String>,
    /// The tools of the chat request.
    functions: Vec<Value>,
    /// The place of each of them.
    tool_places: Vec<String>,
    names: Names,
}

/// The names of a request's parts, for errors about the chat request that it has become.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origins {
    names: Names,
    /// The place of each message.
    messages: Vec<String>,
    /// The place of each tool.
    tools: Vec<String>,
}

impl Translation {
    /// Begins with a request as JSON.
    ///
    /// # Errors
    /// [`Error::Request`] if it is no object, or has a field under the chat request's name.
    pub(super) fn of_json(json: &str, names: Names) -> Result<Self, Error> {
        let mut fields = Fields::of_json(json)?;
        for (name, own) in names.iter().filter(|(name, own)| name != own) {
            if fields.take(name).is_some() {
                return Err(wrong(name, format!("is not supported: use {own}")));
            }
        }
        fields.only("n", &json!(1))?;
        fields.only("logprobs", &json!(false))?;
        fields.only("top_logprobs", &json!(0))?;
        let (turns, ignored, skipped, functions, tool_places) = Default::default();
        Ok(Self { fields, turns, ignored, skipped, functions, tool_places, names })
    }

    /// Sets a field of the chat request.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.fields.0.insert(key.to_owned(), value.into());
    }

    /// Sets a variable of the template, unless the request itself does.
    pub(super) fn set_variable(&mut self, key: &str, value: impl Into<Value>) {
        let variables = self.fields.0.entry("chat_template_kwargs").or_insert(Value::Null);
        if variables.is_null() {
            *variables = Map::new().into();
        }
        if let Some(variables) = variables.as_object_mut() {
            variables.entry(key).or_insert(value.into());
        }
    }

    /// Notes the fields of an object that are not among `known`.
    pub(super) fn ignore_others(&mut self, place: &Place<'_>, known: &[&str]) -> Result<(), Error> {
        let others = place.object()?.iter().filter(|(_, value)| !value.is_null());
        let others = others.filter(|(key, _)| !known.contains(&key.as_str()));
        self.ignored.extend(others.map(|(key, _)| format!("{}.{key}", place.path)));
        Ok(())
    }

    /// Adds a tool of the chat request, under this name.
    ///
    /// # Errors
    /// [`Error::Request`] if another tool has the name: nobody could tell whose calls are whose.
    pub(super) fn function_tool(
        &mut self,
        tool: &Place<'_>,
        name: &str,
        parameters: Option<&Value>,
    ) -> Result<(), Error> {
        // Absent parts stay absent, since templates show all.
        let mut function = json!({ "name": name });
        if let Some(description) = tool.get_text("description")? {
            function["description"] = description.into();
        }
        if let Some(parameters) = parameters {
            function["parameters"] = parameters.clone();
        }
        if let Some(strict) = tool.get("strict") {
            function["strict"] = strict.flag()?.into();
        }
        if self.functions.iter().any(|other| other["function"]["name"] == name) {
            let name = one_line(&format_args!("{name:?}"));
            return Err(tool.wrong(format!("another tool is called {name} too")));
        }
        self.functions.push(json!({ "type": "function", "function": function }));
        self.tool_places.push(tool.path.clone());
        Ok(())
    }

    /// Notes a tool of a type that neither the client nor this server runs.
    pub(super) fn skip_tool(&mut self, tool: &Place<'_>, kind: &str) {
        let kind: String = one_line(&kind);
        self.ignored.push(format!("{} ({kind})", tool.path));
        self.skipped.push(kind);
    }

    /// The chat request.
    ///
    /// # Errors
    /// As [`ChatRequest::read`], under the names of this request.
    pub(super) fn finish(mut self, unknown: Unknown) -> Result<(ChatRequest, Origins), Error> {
        let (messages, places) = std::mem::take(&mut self.turns).finish();
        let tools = std::mem::take(&mut self.tool_places);
        let origins = Origins { names: self.names, messages: places, tools };
        self.set("messages", messages);
        let functions = std::mem::take(&mut self.functions);
        if !functions.is_empty() {
            self.set("tools", functions);
        }
        let chat = ChatRequest::of_fields(self.fields, unknown);
        let mut chat = chat.map_err(|error| origins.named(error))?;
        self.ignored.append(&mut chat.ignored);
        chat.ignored = self.ignored;
        Ok((chat, origins))
    }
}

impl Origins {
    /// An error about the chat request, as one about this request.
    pub(super) fn named(&self, error: Error) -> Error {
        match error {
            Error::Request { field, problem } => {
                Error::Request { field: self.own(&field), problem }
            }
            Error::Text(TextError::Conversation { path, problem }) => {
                Error::Request { field: self.own(&path), problem }
            }
            Error::Text(e @ TextError::StopString { .. }) => {
                wrong(&self.own("stop"), e.to_string())
            }
            Error::Option { option, got, need } if self.own(option) != option => {
                wrong(&self.own(option), format!("got {got}, need {need}"))
            }
            other => other,
        }
    }

    fn own(&self, field: &str) -> String {
        if let Some((_, own)) = self.names.iter().find(|(name, _)| *name == field) {
            return (*own).to_owned();
        }
        let place = |list: &str, places: &[String]| {
            let (index, _) = field.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
            places.get(index.parse::<usize>().ok()?).cloned()
        };
        let place = place("messages", &self.messages).or_else(|| place("tools", &self.tools));
        place.unwrap_or_else(|| field.to_owned())
    }
}
