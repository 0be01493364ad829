//! A request in the format of OpenAI's Responses API.

use serde_json::{Map, Value, json};

use super::chat::ChatRequest;
use super::fields::{Unknown, wrong};
use super::place::Place;
use super::translation::{Origins, Translation};
use crate::engine::{Engine, GenerateRequest};
use crate::error::Error;
use crate::formats::one_line;

/// A request for an answer: `POST /v1/responses`.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponsesRequest {
    /// The same request as one of the chat API.
    pub chat: ChatRequest,
    /// Types of tools that were left out, since this server does not run them.
    pub skipped_tools: Vec<String>,
    /// Whether the response is kept for later requests.
    pub stores: bool,
    /// Messages of the conversation that are this request's instructions.
    pub(super) instructions: usize,
    /// Fields that the response repeats.
    pub(super) echo: Map<String, Value>,
    pub(super) namespaces: Vec<Namespaced>,
    origins: Origins,
}

/// A tool of a namespace. The model knows it under one name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Namespaced {
    pub(super) flat: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Fields of a chat request under their names here.
const NAMES: [(&str, &str); 6] = [
    ("messages", "input"),
    ("max_tokens", "max_output_tokens"),
    ("max_completion_tokens", "max_output_tokens"),
    ("response_format", "text.format"),
    ("reasoning_effort", "reasoning.effort"),
    ("verbosity", "text.verbosity"),
];

/// Types of parts with text.
const PARTS: [&str; 6] =
    ["input_text", "output_text", "text", "reasoning_text", "summary_text", "refusal"];

/// Most bytes of the fields that a response repeats, as JSON.
const MOST_REPEATED: usize = 1 << 20;

/// Fields that a response repeats as they are, each with its default.
fn repeated() -> [(&'static str, Value); 14] {
    [
        ("instructions", Value::Null),
        ("previous_response_id", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("user", Value::Null),
        ("safety_identifier", Value::Null),
        ("prompt_cache_key", Value::Null),
        ("tool_choice", json!("auto")),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("temperature", Value::Null),
        ("top_p", Value::Null),
        ("presence_penalty", Value::Null),
        ("frequency_penalty", Value::Null),
    ]
}

impl ResponsesRequest {
    /// Reads a request, and says whether it may have unknown fields. `previous` has the messages of the stored response
    /// with an id.
    ///
    /// # Errors
    /// [`Error::Request`] for the first field that is missing, unknown, not supported or of the wrong type, and for a
    /// previous response that is not stored.
    pub fn read(
        json: &str,
        unknown: Unknown,
        previous: impl FnOnce(&str) -> Option<Vec<Value>>,
    ) -> Result<Self, Error> {
        let mut request = Translation::of_json(json, &NAMES)?;
        let mut echo = request.echo();
        let stores = request.own_fields()?;
        echo.insert("store".to_owned(), stores.into());
        let instructions = request.fields.string("instructions")?.filter(|text| !text.is_empty());
        if let Some(text) = &instructions {
            request.turns.says("system", text, "instructions");
        }
        if let Some(id) = request.fields.string("previous_response_id")? {
            let messages = previous(&id).ok_or_else(|| {
                let id = one_line(&format_args!("{id:?}"));
                wrong("previous_response_id", format!("the response {id} is not stored"))
            })?;
            for message in messages {
                request.turns.push(message, "previous_response_id");
            }
        }
        let namespaces = request.function_tools(&mut echo)?;
        request.input()?;
        request.text(&mut echo)?;
        request.reasoning(&mut echo)?;
        check_size(&echo)?;
        let skipped_tools = std::mem::take(&mut request.skipped);
        let (chat, origins) = request.finish(unknown)?;
        let instructions = usize::from(instructions.is_some());
        Ok(Self { chat, skipped_tools, stores, instructions, echo, namespaces, origins })
    }

    /// The prompt and options of the answer on `engine`.
    ///
    /// # Errors
    /// As [`ChatRequest::resolve`], with the names of this request's fields.
    pub fn resolve(&self, engine: &Engine) -> Result<GenerateRequest, Error> {
        self.chat.resolve(engine).map_err(|error| self.origins.named(error))
    }
}

impl Translation {
    /// The fields that the response repeats as they are.
    fn echo(&self) -> Map<String, Value> {
        let given = |key: &str| self.fields.0.get(key).filter(|value| !value.is_null());
        let field = |(key, default): (&str, Value)| {
            (key.to_owned(), given(key).cloned().unwrap_or(default))
        };
        repeated().into_iter().map(field).collect()
    }

    /// Fields that no chat request has. Returns whether the response is stored.
    fn own_fields(&mut self) -> Result<bool, Error> {
        for key in ["user", "safety_identifier", "prompt_cache_key"] {
            self.fields.string(key)?;
        }
        if self.fields.take("metadata").is_some_and(|metadata| !metadata.is_object()) {
            return Err(wrong("metadata", "must be an object"));
        }
        self.fields.only("background", &json!(false))?;
        self.fields.only("truncation", &json!("disabled"))?;
        // It limits the calls of tools that the server runs: this one runs none.
        self.fields.whole("max_tool_calls", 0, u64::MAX)?;
        if let Some(most) = self.fields.take("max_output_tokens") {
            self.set("max_tokens", most);
        }
        if let Some(include) = self.fields.take("include") {
            for wanted in Place::new(&include, "include").list("must be a list of strings")? {
                if wanted.text()? == "message.output_text.logprobs" {
                    return Err(wanted.wrong("is not supported: leave it out"));
                }
            }
        }
        // The input is a record of turns. Its last one is not begun.
        self.fields.0.entry("continue_final_message").or_insert(false.into());
        Ok(self.fields.bool("store")?.unwrap_or(true))
    }

    /// `tools`: functions, also those of namespaces. Tools that OpenAI's servers run are left out.
    fn function_tools(&mut self, echo: &mut Map<String, Value>) -> Result<Vec<Namespaced>, Error> {
        let (mut kept, mut namespaces) = (Vec::new(), Vec::new());
        let tools = self.fields.take("tools").unwrap_or_else(|| json!([]));
        for tool in Place::new(&tools, "tools").list("must be a list")? {
            match tool.need_text("type")? {
                "function" => self.function(&tool, tool.need_text("name")?)?,
                "namespace" => {
                    let namespace = tool.need_text("name")?;
                    for inner in tool.need("tools")?.list("must be a list")? {
                        let kind = inner.need_text("type")?;
                        if kind != "function" {
                            self.skip_tool(&inner, kind);
                            continue;
                        }
                        let name = inner.need_text("name")?;
                        let flat = flat_name(namespace, name);
                        self.function(&inner, &flat)?;
                        let (namespace, name) = (namespace.to_owned(), name.to_owned());
                        namespaces.push(Namespaced { flat, namespace, name });
                    }
                }
                kind => {
                    self.skip_tool(&tool, kind);
                    continue;
                }
            }
            let mut shown = tool.object()?.clone();
            if tool.need_text("type")? == "function" {
                for key in ["description", "parameters", "strict"] {
                    shown.entry(key).or_insert(Value::Null);
                }
            }
            kept.push(Value::Object(shown));
        }
        echo.insert("tools".to_owned(), kept.into());
        Ok(namespaces)
    }

    /// A tool of the chat request, under this name.
    fn function(&mut self, tool: &Place<'_>, name: &str) -> Result<(), Error> {
        let parameters = tool.get("parameters");
        if let Some(parameters) = &parameters {
            parameters.object()?;
        }
        self.function_tool(tool, name, parameters.map(|parameters| parameters.value))
    }

    /// `input`: a text of the user, or the items of a conversation.
    fn input(&mut self) -> Result<(), Error> {
        let input = self.fields.take("input").ok_or_else(|| wrong("input", "missing"))?;
        if let Some(text) = input.as_str() {
            self.turns.says("user", text, "input");
            return Ok(());
        }
        for item in Place::new(&input, "input").list("must be a string or a list of items")? {
            let path = item.path.as_str();
            match item.get_text("type")?.unwrap_or("message") {
                "message" => self.message(&item)?,
                "reasoning" => {
                    let (own, summary) = (item.get("content"), item.get("summary"));
                    let text = own.or(summary).map(|parts| texts(&parts)).transpose()?;
                    let turn = self.turns.turn(path);
                    if !turn.content.is_empty() || !turn.calls.is_empty() {
                        self.turns.end_turn();
                    }
                    self.turns.turn(path).reasoning.push_str(&text.unwrap_or_default());
                }
                "function_call" => {
                    let (id, name) = (item.need_text("call_id")?, item.need_text("name")?);
                    let name = match item.get_text("namespace")? {
                        Some(namespace) => flat_name(namespace, name),
                        None => name.to_owned(),
                    };
                    let arguments = item.need_text("arguments")?;
                    self.turns.turn(path).call(id, &name, arguments.into());
                }
                "function_call_output" => {
                    let text = texts(&item.need("output")?)?;
                    self.turns.result(item.need_text("call_id")?, &text, path);
                }
                "item_reference" => {
                    let problem = "references to items are not supported: send the item itself, or \
                                   previous_response_id";
                    return Err(wrong(&format!("{path}.type"), problem));
                }
                kind => {
                    let need = "message, reasoning, function_call and function_call_output";
                    return Err(item.unsupported(kind, need));
                }
            }
        }
        Ok(())
    }

    fn message(&mut self, item: &Place<'_>) -> Result<(), Error> {
        let text = texts(&item.need("content")?)?;
        match item.need_text("role")? {
            "user" => self.turns.says("user", &text, &item.path),
            "system" | "developer" => self.turns.says("system", &text, &item.path),
            "assistant" => {
                let turn = self.turns.turn(&item.path);
                if !turn.content.is_empty() && turn.calls.is_empty() {
                    self.turns.end_turn();
                }
                self.turns.turn(&item.path).say(&text);
            }
            _ => {
                let problem = "must be user, assistant, system or developer";
                return Err(item.need("role")?.wrong(problem));
            }
        }
        Ok(())
    }

    /// `text`: the form of the answer.
    fn text(&mut self, echo: &mut Map<String, Value>) -> Result<(), Error> {
        let text = self.fields.take("text").unwrap_or_else(|| json!({}));
        let text = Place::new(&text, "text");
        text.object()?;
        let mut shown = json!({ "type": "text" });
        if let Some(format) = text.get("format") {
            shown = format.value.clone();
            let wanted = match format.need_text("type")? {
                "text" | "json_object" => shown.clone(),
                "json_schema" => {
                    let schema = format.need("schema")?.value;
                    // Clients demand all fields. A schema holds whether `strict` asks for it or not.
                    let mut all = json!({ "description": null, "strict": true });
                    for (key, value) in format.object()? {
                        all[key] = value.clone();
                    }
                    shown = all;
                    json!({ "type": "json_schema", "json_schema": { "schema": schema } })
                }
                kind => return Err(format.unsupported(kind, "text, json_object and json_schema")),
            };
            self.set("response_format", wanted);
        }
        if let Some(verbosity) = text.get("verbosity") {
            self.set("verbosity", verbosity.value.clone());
        }
        echo.insert("text".to_owned(), json!({ "format": shown }));
        self.ignore_others(&text, &["format", "verbosity"])
    }

    /// `reasoning`: its effort. Summaries of it are not written.
    fn reasoning(&mut self, echo: &mut Map<String, Value>) -> Result<(), Error> {
        let reasoning = self.fields.take("reasoning").unwrap_or_else(|| json!({}));
        let reasoning = Place::new(&reasoning, "reasoning");
        let effort = reasoning.get_text("effort")?;
        if let Some(effort) = effort {
            self.set("reasoning_effort", effort);
        }
        echo.insert("reasoning".to_owned(), json!({ "effort": effort, "summary": null }));
        self.ignore_others(&reasoning, &["effort"])
    }
}

/// Checks the size of the fields that a response repeats, which wait with its answer.
fn check_size(echo: &Map<String, Value>) -> Result<(), Error> {
    let sizes = echo.iter().map(|(key, value)| (value.to_string().len(), key));
    let sizes: Vec<(usize, &String)> = sizes.collect();
    let total: usize = sizes.iter().map(|(size, _)| size).sum();
    match sizes.iter().max() {
        Some((_, key)) if total > MOST_REPEATED => {
            let most = MOST_REPEATED >> 10;
            Err(wrong(key, format!("is too long: a response repeats at most {most} KiB of fields")))
        }
        _ => Ok(()),
    }
}

/// The name of a namespace's tool for the model.
fn flat_name(namespace: &str, name: &str) -> String {
    format!("{namespace}__{name}")
}

/// The text of a string or of parts.
fn texts(content: &Place<'_>) -> Result<String, Error> {
    content.texts("must be a string or a list of parts", &PARTS, "")
}
