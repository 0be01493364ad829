//! A request in the format of Anthropic's Messages API.

use serde_json::{Value, json};

use super::chat::ChatRequest;
use super::fields::{Unknown, wrong};
use super::place::Place;
use super::translation::{Origins, Translation};
use super::turns::Turn;
use crate::engine::{Engine, GenerateRequest};
use crate::error::Error;

/// A request for an answer, `POST /v1/messages`, or for the number of its tokens, `POST /v1/messages/count_tokens`.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagesRequest {
    /// The same request as one of the chat API.
    pub chat: ChatRequest,
    /// Types of tools that were left out, since this server does not run them.
    pub skipped_tools: Vec<String>,
    /// Whether the answer has the model's reasoning.
    pub(super) shows_thinking: bool,
    pub(super) stop_sequences: Vec<String>,
    origins: Origins,
}

/// Fields of a chat request under Anthropic's names.
const NAMES: [(&str, &str); 5] = [
    ("stop", "stop_sequences"),
    ("max_completion_tokens", "max_tokens"),
    ("response_format", "output_config.format"),
    ("reasoning_effort", "output_config.effort"),
    ("parallel_tool_calls", "tool_choice.disable_parallel_tool_use"),
];

/// Fields that change no answer: hints for the cache and for servers that bill.
const WITHOUT_EFFECT: [&str; 6] =
    ["cache_control", "diagnostics", "inference_geo", "speed", "user_profile_id", "workspace_id"];

/// Beginning of a line that some clients put before their instructions. It differs from request to request, so the
/// prefix cache would never find the rest.
const BILLING: &str = "x-anthropic-billing-header:";

impl MessagesRequest {
    /// Reads a request, and says whether it may have unknown fields.
    ///
    /// # Errors
    /// [`Error::Request`] for the first field that is missing, unknown, not supported or of the wrong type.
    pub fn read(json: &str, unknown: Unknown) -> Result<Self, Error> {
        let request = Translation::of_json(json, &NAMES)?;
        if request.fields.0.get("max_tokens").is_none_or(Value::is_null) {
            return Err(wrong("max_tokens", "missing"));
        }
        Self::translate(request, unknown)
    }

    /// Reads a request for the number of tokens, which needs no `max_tokens`.
    ///
    /// # Errors
    /// As [`MessagesRequest::read`].
    pub fn read_to_count(json: &str, unknown: Unknown) -> Result<Self, Error> {
        Self::translate(Translation::of_json(json, &NAMES)?, unknown)
    }

    fn translate(mut request: Translation, unknown: Unknown) -> Result<Self, Error> {
        request.fields.without_effect(&WITHOUT_EFFECT);
        request.instructions()?;
        request.messages()?;
        request.tools()?;
        request.tool_choice()?;
        let shows_thinking = request.thinking()?;
        request.output()?;
        if let Some(edits) = request.fields.take("context_management") {
            request.ignore_others(&Place::new(&edits, "context_management"), &[])?;
        }
        if let Some(stop) = request.fields.take("stop_sequences") {
            request.set("stop", stop);
        }
        let skipped_tools = std::mem::take(&mut request.skipped);
        let (chat, origins) = request.finish(unknown)?;
        let stop_sequences = chat.stop().to_vec();
        Ok(Self { chat, skipped_tools, shows_thinking, stop_sequences, origins })
    }

    /// The prompt and options of the answer on `engine`.
    ///
    /// # Errors
    /// As [`ChatRequest::resolve`], with the names of this request's fields.
    pub fn resolve(&self, engine: &Engine) -> Result<GenerateRequest, Error> {
        self.chat.resolve(engine).map_err(|error| self.origins.named(error))
    }

    /// The number of the prompt's tokens, as `{"input_tokens"}`.
    ///
    /// # Errors
    /// [`Error::Text`] if the text cannot be encoded, or the template refuses the conversation.
    pub fn count_tokens(&self, engine: &Engine) -> Result<Value, Error> {
        let tokens = engine.encode_chat(&self.chat.conversation);
        let tokens = tokens.map_err(|error| self.origins.named(error))?;
        Ok(json!({ "input_tokens": tokens.len() }))
    }
}

impl Translation {
    /// `system`: a text or blocks of text, which become one message.
    fn instructions(&mut self) -> Result<(), Error> {
        let Some(system) = self.fields.take("system") else { return Ok(()) };
        let text = instructions(&Place::new(&system, "system"))?;
        if !text.is_empty() {
            self.turns.says("system", &text, "system");
        }
        Ok(())
    }

    fn messages(&mut self) -> Result<(), Error> {
        let messages = self.fields.take("messages");
        let messages = messages.ok_or_else(|| wrong("messages", "missing"))?;
        for message in Place::new(&messages, "messages").list("must be a list")? {
            let content = message.need("content")?;
            match message.need_text("role")? {
                "user" => self.user(&message, &content)?,
                "assistant" => self.assistant(&message, &content)?,
                "system" => self.turns.says("system", &instructions(&content)?, &message.path),
                _ => {
                    let problem = "must be \"user\", \"assistant\" or \"system\"";
                    return Err(message.need("role")?.wrong(problem));
                }
            }
        }
        Ok(())
    }

    /// A message of the user: its texts, and the results of tools as messages of their own.
    fn user(&mut self, message: &Place<'_>, content: &Place<'_>) -> Result<(), Error> {
        if let Some(text) = content.value.as_str() {
            self.turns.says("user", text, &message.path);
            return Ok(());
        }
        let mut text: Option<String> = None;
        let mut results = false;
        for block in content.list(NEED_CONTENT)? {
            match block.need_text("type")? {
                "text" => text.get_or_insert_default().push_str(block.need_text("text")?),
                "tool_result" => {
                    if let Some(text) = text.take() {
                        self.turns.says("user", &text, &message.path);
                    }
                    let result = block.get("content");
                    let result = result
                        .map(|content| content.texts(NEED_CONTENT, &["text"], ""))
                        .transpose()?;
                    let mut result = result.unwrap_or_default();
                    let failed = block.get("is_error").map(|failed| failed.flag()).transpose()?;
                    if failed == Some(true) {
                        // Templates know no other way to tell the model.
                        result = ["Error", &result].join(if result.is_empty() { "" } else { ": " });
                    }
                    self.turns.result(block.need_text("tool_use_id")?, &result, &block.path);
                    results = true;
                }
                kind => return Err(block.unsupported(kind, "text and tool_result")),
            }
        }
        if text.is_some() || !results {
            self.turns.says("user", &text.unwrap_or_default(), &message.path);
        }
        Ok(())
    }

    fn assistant(&mut self, message: &Place<'_>, content: &Place<'_>) -> Result<(), Error> {
        self.turns.end_turn();
        let turn = self.turns.turn(&message.path);
        if let Some(text) = content.value.as_str() {
            turn.say(text);
            return Ok(());
        }
        for block in content.list(NEED_CONTENT)? {
            match block.need_text("type")? {
                "text" => turn.say(block.need_text("text")?),
                "thinking" => turn.reasoning.push_str(block.need_text("thinking")?),
                // Only the service that wrote it can read it.
                "redacted_thinking" => {
                    self.ignored.push(format!("{} (redacted_thinking)", block.path));
                }
                "tool_use" => call(turn, &block)?,
                kind => return Err(block.unsupported(kind, "text, thinking and tool_use")),
            }
        }
        Ok(())
    }

    /// `tools`: those with a schema, which clients run. Others are tools of Anthropic's servers or models.
    fn tools(&mut self) -> Result<(), Error> {
        let Some(tools) = self.fields.take("tools") else { return Ok(()) };
        for tool in Place::new(&tools, "tools").list("must be a list")? {
            match tool.get_text("type")? {
                None | Some("custom") => {}
                Some(kind) => {
                    self.skip_tool(&tool, kind);
                    continue;
                }
            }
            let name = tool.need_text("name")?;
            let schema = tool.need("input_schema")?;
            schema.object()?;
            self.function_tool(&tool, name, Some(schema.value))?;
        }
        Ok(())
    }

    fn tool_choice(&mut self) -> Result<(), Error> {
        let Some(choice) = self.fields.take("tool_choice") else { return Ok(()) };
        let choice = Place::new(&choice, "tool_choice");
        let chosen = match choice.need_text("type")? {
            "auto" => json!("auto"),
            "any" => json!("required"),
            "none" => json!("none"),
            "tool" => {
                json!({ "type": "function", "function": { "name": choice.need_text("name")? } })
            }
            _ => return Err(choice.need("type")?.wrong("must be auto, any, tool or none")),
        };
        self.set("tool_choice", chosen);
        if let Some(alone) = choice.get("disable_parallel_tool_use") {
            self.set("parallel_tool_calls", !alone.flag()?);
        }
        Ok(())
    }

    /// `thinking`: a variable of templates that can leave reasoning out. Returns whether the answer has the reasoning.
    fn thinking(&mut self) -> Result<bool, Error> {
        let Some(thinking) = self.fields.take("thinking") else { return Ok(true) };
        let thinking = Place::new(&thinking, "thinking");
        let (thinks, shows) = match thinking.need_text("type")? {
            "enabled" | "adaptive" => (true, true),
            "between_tools" => (false, true),
            "disabled" => (false, false),
            _ => {
                let problem = "must be enabled, adaptive, between_tools or disabled";
                return Err(thinking.need("type")?.wrong(problem));
            }
        };
        self.set_variable("enable_thinking", thinks);
        self.ignore_others(&thinking, &["type", "display"])?;
        Ok(shows && thinking.get_text("display")? != Some("omitted"))
    }

    /// `output_config`: the effort of reasoning, and the form of the answer.
    fn output(&mut self) -> Result<(), Error> {
        let Some(output) = self.fields.take("output_config") else { return Ok(()) };
        let output = Place::new(&output, "output_config");
        if let Some(effort) = output.get_text("effort")? {
            self.set("reasoning_effort", effort);
        }
        if let Some(format) = output.get("format") {
            if format.need_text("type")? != "json_schema" {
                return Err(format.need("type")?.wrong("must be \"json_schema\""));
            }
            let schema = json!({ "schema": format.need("schema")?.value });
            let format = json!({ "type": "json_schema", "json_schema": schema });
            self.set("response_format", format);
        }
        self.ignore_others(&output, &["effort", "format"])
    }
}

/// The need of a message's content.
const NEED_CONTENT: &str = "must be a string or a list of blocks";

/// The call of a tool in a message of the assistant.
fn call(turn: &mut Turn, block: &Place<'_>) -> Result<(), Error> {
    let input = block.get("input");
    // Text is an object with a number beyond 64 bits, which `request_json` has kept exact.
    let input = match input {
        Some(input) if input.value.is_object() || input.value.is_string() => input.value.clone(),
        Some(input) => return Err(input.wrong("must be an object")),
        None => json!({}),
    };
    turn.call(block.need_text("id")?, block.need_text("name")?, input);
    Ok(())
}

/// Instructions without the line of a client's billing.
fn instructions(content: &Place<'_>) -> Result<String, Error> {
    let text = content.texts(NEED_CONTENT, &["text"], "\n\n")?;
    let lines = text.split_inclusive('\n');
    let kept: String = lines.filter(|line| !line.starts_with(BILLING)).collect();
    Ok(match kept.len() == text.len() {
        true => text,
        false => kept.trim_start_matches('\n').to_owned(),
    })
}
