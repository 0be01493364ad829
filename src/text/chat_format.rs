//! Renders conversations in a model's chat format: a chat template, and the conversions without which
//! the template would lose or break content.

use super::answer::{AnswerFormat, AnswerReader};
use super::call_writer::{CallForm, PastCall, write_calls};
use super::chat_template::ChatTemplate;
use super::conversation::{Conversation, Message, Role, wrong};
use super::error::TextError;
use super::exact_json::may_be_rounded;
use super::history::{REASONING, given_fields, joined_text, past_calls, tool_text, with_objects};
use super::markers::{CALL_START, Marker};
use super::probes::Ability;
use super::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A model's format of prompts and answers, recognised from its template and vocabulary.
#[derive(Debug)]
pub struct ChatFormat {
    template: ChatTemplate,
    /// The form of tool calls; `None` if neither template nor vocabulary has a marker of calls.
    calls: Option<CallForm>,
    thinks: bool,
    /// Results of the probes made so far.
    abilities: Mutex<HashMap<Ability, bool>>,
}

/// Placeholders for texts that the template must not change. They are replaced after rendering.
#[derive(Default)]
struct Placeholders {
    /// Makes the placeholders differ from the conversation's own text.
    tag: String,
    /// The texts, each with the path of its field for errors.
    texts: Vec<(String, String)>,
}

impl ChatFormat {
    /// Recognises the format from a template and, if given, the vocabulary.
    #[must_use]
    pub fn new(template: ChatTemplate, tokenizer: Option<&Tokenizer>) -> Self {
        let source = template.source();
        let known = |marker: Marker| {
            source.contains(marker.text())
                || tokenizer.is_some_and(|tokenizer| tokenizer.token_id(marker.text()).is_some())
        };
        let calls = match () {
            () if source.contains(Marker::Function.text()) => Some(CallForm::Xml),
            () if known(Marker::CallStart) => Some(CallForm::Python),
            () if known(Marker::XmlStart) => Some(CallForm::Xml),
            () => None,
        };
        let thinks = known(Marker::ThinkStart) || known(Marker::ThinkEnd);
        Self { template, calls, thinks, abilities: Mutex::default() }
    }

    /// The template.
    #[must_use]
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// Whether the model may reason before it answers.
    #[must_use]
    pub fn thinks(&self) -> bool {
        self.thinks
    }

    /// The model's form of tool calls; `None` if neither template nor vocabulary has a marker of calls.
    #[must_use]
    pub fn call_form(&self) -> Option<CallForm> {
        self.calls
    }

    /// The format for reading an answer to `prompt`. `tools` are the tools offered to the model. `begun`: the
    /// beginning of the answer, if the prompt has it.
    #[must_use]
    pub fn answer_format(
        &self,
        prompt: &str,
        begun: Option<&str>,
        tools: Option<&[Value]>,
    ) -> AnswerFormat {
        let (start, end) = (Marker::ThinkStart.text(), Marker::ThinkEnd.text());
        let reasons = |begun: &str| begun.rfind(start).is_some_and(|at| !begun[at..].contains(end));
        AnswerFormat {
            thinks: self.thinks,
            begins_in_reasoning: match begun {
                Some(begun) => reasons(begun),
                None => prompt.trim_end().ends_with(start),
            },
            ..AnswerFormat::of_vocabulary(None, tools)
        }
    }

    /// Renders a conversation up to the end of its last message's text, which an answer continues. Returns the text,
    /// and that of the message.
    ///
    /// # Errors
    /// As [`ChatFormat::render`]; [`TextError::Conversation`] if the last message is not the assistant's, has no text
    /// or calls tools, or if the template changes the text.
    pub fn render_begun(&self, conversation: &Conversation) -> Result<(String, String), TextError> {
        let path = format!("messages[{}]", conversation.messages.len().saturating_sub(1));
        let last = conversation.messages.last().filter(|last| last.role() == Role::Assistant);
        let begun = last.and_then(Message::text).filter(|text| !text.trim().is_empty());
        let (Some(last), Some(begun)) = (last, begun) else {
            let problem = "continue_final_message: must be a message of the assistant with text";
            return Err(wrong(path, problem));
        };
        if !past_calls(&given_fields(last), &path)?.is_empty() {
            return Err(wrong(path, "continue_final_message: must not have tool calls"));
        }
        // The end of the text is marked, since the text itself may occur again behind it.
        let mut mark = "\u{f8fe}".to_owned();
        let all = serde_json::to_string(conversation).unwrap_or_default();
        while all.contains(&mark) {
            mark.push('-');
        }
        let mut fields = last.fields().clone();
        fields.insert("content".to_owned(), format!("{begun}{mark}").into());
        let mut marked = conversation.clone();
        marked.messages.pop();
        marked.messages.push(Message::of_fields(Role::Assistant, fields));
        let text = self.render(&marked, false)?;
        match text.split_once(&mark) {
            Some((before, _)) => Ok((before.to_owned(), begun)),
            None => Err(wrong(path, "continue_final_message: the chat template leaves it out")),
        }
    }

    /// Renders a conversation. `add_generation_prompt` adds the beginning of the assistant's answer.
    ///
    /// Content that the template cannot render is converted first:
    /// - arguments given as JSON text become objects;
    /// - calls that the template would drop or quote wrongly are written into the content, in the
    ///   model's own form;
    /// - lists of text parts are joined if the template takes no lists;
    /// - a tool's answer becomes text;
    /// - system messages at the beginning become one.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`], and [`TextError::Conversation`] for a message that would be lost.
    pub fn render(
        &self,
        conversation: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        let mut placeholders = Placeholders::default();
        let prepared = self.prepare(conversation, &mut placeholders)?;
        let text = self.template.render(&prepared, add_generation_prompt)?;
        placeholders.fill(&text)
    }

    fn can(&self, ability: Ability) -> bool {
        let known = || self.abilities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(can) = known().get(&ability).copied() {
            return can;
        }
        let can = ability.probe(&self.template);
        known().insert(ability, can);
        can
    }

    fn prepare(
        &self,
        conversation: &Conversation,
        placeholders: &mut Placeholders,
    ) -> Result<Conversation, TextError> {
        let mut messages = Vec::with_capacity(conversation.messages.len());
        // Templates take instructions from the first message. Later system messages join it if the
        // template would drop them.
        let mut instructions: Vec<&Message> = Vec::new();
        for (i, message) in conversation.messages.iter().enumerate() {
            let leads = messages.is_empty();
            if message.role() == Role::System && (leads || !self.can(Ability::LaterSystem)) {
                instructions.push(message);
            } else {
                messages.push((i, message));
            }
        }
        let mut prepared = Vec::with_capacity(messages.len() + 1);
        if let Some(instruction) = merged(&instructions) {
            prepared.push(self.message(&instruction, "messages[0]", conversation, placeholders)?);
        }
        for (i, message) in messages {
            let path = format!("messages[{i}]");
            prepared.push(self.message(message, &path, conversation, placeholders)?);
        }
        Ok(Conversation { messages: prepared, ..conversation.clone() })
    }

    fn message(
        &self,
        message: &Message,
        path: &str,
        conversation: &Conversation,
        placeholders: &mut Placeholders,
    ) -> Result<Message, TextError> {
        let role = message.role();
        let mut fields = given_fields(message);
        if role == Role::Tool && fields.get("content").is_some_and(may_be_rounded) {
            let problem = "has a number beyond 64 bits, which may have been rounded; pass the content \
                           as text";
            return Err(wrong(format_args!("{path}.content"), problem));
        }
        let mut content = self.content(role, fields.get("content").cloned());
        let silent = content.as_str() == Some("");
        if !silent && !self.can(Ability::Writes(role)) {
            let problem = format_args!(
                "the model's chat template leaves out messages of the role {}",
                role.as_str()
            );
            return Err(wrong(path, problem));
        }
        if role == Role::Assistant {
            let calls = past_calls(&fields, path)?;
            fields.shift_remove("function_call");
            fields.shift_remove("tool_calls");
            let mut text = joined_text(&content).or(content.as_str().map(str::to_owned));
            let before = text.clone();
            if let Some(text) = &mut text {
                self.place_reasoning(&mut fields, text);
                // The content may already hold the calls in the model's own form.
                if !calls.is_empty() && !self.has_calls(text, &calls) {
                    match with_objects(&calls, message.fields()) {
                        Some(objects) if self.can(Ability::ToolCalls) => {
                            fields.insert("tool_calls".to_owned(), objects);
                        }
                        _ => {
                            let path = format!("{path}.tool_calls");
                            let form = self.calls.ok_or_else(|| {
                                let problem = "neither the model's chat template nor its \
                                               vocabulary shows its form of tool calls";
                                wrong(&path, problem)
                            })?;
                            text.push_str(&placeholders.add(
                                write_calls(form, &calls),
                                path,
                                conversation,
                            ));
                        }
                    }
                }
            }
            if text != before {
                content = text.unwrap_or_default().into();
            }
        } else if silent && !self.can(Ability::EmptyTurns) {
            content = placeholders.add(String::new(), path.to_owned(), conversation).into();
        }
        fields.insert("content".to_owned(), content);
        Ok(Message::of_fields(role, fields))
    }

    /// Whether the text contains these calls. A marker alone does not count: prose may mention it.
    fn has_calls(&self, text: &str, calls: &[PastCall]) -> bool {
        if !text.contains(CALL_START) && !text.contains(Marker::XmlStart.text()) {
            return false;
        }
        let thinks = self.thinks;
        let format = AnswerFormat { thinks, ..AnswerFormat::default() }.with_any_calls();
        let mut reader = AnswerReader::new(format);
        let mut answer = reader.push(text);
        answer.append(reader.finish());
        calls.iter().all(|call| answer.tool_calls.iter().any(|read| read.name == call.name))
    }

    /// Converts content to a form that the template takes.
    fn content(&self, role: Role, content: Option<Value>) -> Value {
        match content {
            None => "".into(),
            Some(content) => match joined_text(&content) {
                Some(_) if self.can(Ability::Lists(role)) => content,
                Some(text) => text.into(),
                None if role == Role::Tool => tool_text(&content).into(),
                None => content,
            },
        }
    }

    /// Moves a message's reasoning to the place where the template looks for it.
    fn place_reasoning(&self, fields: &mut serde_json::Map<String, Value>, text: &mut String) {
        let thought = REASONING.iter().find_map(|name| fields.get(*name)?.as_str());
        let Some(thought) = thought.map(str::to_owned) else { return };
        let (start, end) = (Marker::ThinkStart.text(), Marker::ThinkEnd.text());
        let said_already = text.trim_start().starts_with(start);
        if !thought.is_empty() && !said_already && self.can(Ability::Reasoning) {
            return;
        }
        REASONING.iter().for_each(|name| drop(fields.shift_remove(*name)));
        if self.thinks && !said_already && !thought.is_empty() {
            text.insert_str(0, &format!("{start}{thought}{end}"));
        }
    }
}

/// Merges instructions into one message.
fn merged(instructions: &[&Message]) -> Option<Message> {
    let (first, rest) = instructions.split_first()?;
    if rest.is_empty() {
        return Some((*first).clone());
    }
    let texts = instructions.iter().filter_map(|message| message.text());
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    let mut fields = first.fields().clone();
    fields.insert("content".to_owned(), json!(texts.join("\n\n")));
    Some(Message::of_fields(Role::System, fields))
}

impl Placeholders {
    fn name(&self, i: usize) -> String {
        format!("\u{f8fe}{}{i}\u{f8ff}", self.tag)
    }

    /// Replaces the placeholders in the rendered text, in one pass.
    fn fill(&self, text: &str) -> Result<String, TextError> {
        let begin = format!("\u{f8fe}{}", self.tag);
        let mut found = vec![false; self.texts.len()];
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, after)) = rest.split_once(&begin).filter(|_| !found.is_empty()) {
            out.push_str(before);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let number = after.get(..digits).and_then(|digits| digits.parse::<usize>().ok());
            let behind = after.get(digits..).and_then(|rest| rest.strip_prefix('\u{f8ff}'));
            let placeholder = number.and_then(|i| Some((found.get_mut(i)?, self.texts.get(i)?)));
            match (placeholder, behind) {
                (Some((found, (whole, _))), Some(behind)) => {
                    *found = true;
                    out.push_str(whole);
                    rest = behind;
                }
                _ => {
                    out.push_str(&begin);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        match self.texts.iter().zip(found).find(|(_, found)| !found) {
            Some(((_, path), _)) => Err(wrong(path, "the model's chat template leaves it out")),
            None => Ok(out),
        }
    }

    /// Returns a placeholder for `text`. An error names `path` if the template drops it.
    fn add(&mut self, text: String, path: String, conversation: &Conversation) -> String {
        if self.texts.is_empty() {
            // Placeholders have private-use characters. The tag grows if the conversation has them.
            let all = serde_json::to_string(conversation).unwrap_or_default();
            while all.contains(&format!("\u{f8fe}{}", self.tag)) {
                self.tag.push('-');
            }
        }
        self.texts.push((text, path));
        self.name(self.texts.len() - 1)
    }
}
