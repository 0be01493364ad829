//! Lines of a chat: parsing of commands and messages, and their effect on the conversation. Tests need
//! neither terminal nor GPU.

use std::path::PathBuf;

use super::options::{OrMinusOne, in_words, or_minus_one};
use super::thinking::Thinking;
use crate::engine::GenerateOptions;
use crate::text::{
    Conversation, Message, Role, StopStrings, TOOL_CALL_MARKERS, ToolCall, tool_calls,
};

/// Commands and their descriptions in `/help`.
pub const COMMANDS: &[(&str, &str)] = &[
    ("/help", "print this list"),
    ("/clear", "start a new conversation (also /new)"),
    ("/regen", "answer the last message again"),
    ("/undo", "remove the last message and its answer"),
    ("/system TEXT", "set the system prompt; without TEXT, remove it"),
    ("/set NAME VALUE", "set an option that /show lists, e.g. /set temperature 0.7"),
    ("/show", "print the options and the conversation"),
    ("/lora [NAME [SCALE]]", "list the LoRA adapters, or use one from now on; off uses none"),
    ("/read FILE", "send a file as the message"),
    ("/tool RESULT", "give a tool's result: text, @FILE, or several lines between \"\"\""),
    ("/save FILE", "write the conversation as JSON, and its state; /save! overwrites another file"),
    ("/load FILE", "continue a conversation from JSON, with its state if it is there"),
    ("/tokens", "print how much of the context is used"),
    ("/stats", "print token counts and speeds of the last answer"),
    ("/exit", "end the chat (also /bye, /quit, Ctrl-D)"),
];

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// An empty line.
    Empty,
    /// A message to the model.
    Message(String),
    /// A command.
    Command(Command),
}

/// A command with its argument.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    Clear,
    Regen,
    Undo,
    System(String),
    Set(String, String),
    Show,
    /// An adapter and perhaps its scale; empty lists them.
    Lora(String),
    Read(PathBuf),
    Tool(ToolResult),
    Save {
        path: PathBuf,
        /// Also if the file belongs to another conversation.
        overwrite: bool,
    },
    Load(PathBuf),
    Tokens,
    Stats,
    Exit,
}

/// The result of a tool.
#[derive(Debug, PartialEq, Eq)]
pub enum ToolResult {
    /// The text itself.
    Text(String),
    /// The text of a file.
    File(PathBuf),
}

/// Whether a message or a tool's result begins with `"""` and has no end yet.
pub fn is_open(text: &str) -> bool {
    let text = text.trim_start();
    let text = text.strip_prefix("/tool").map_or(text, str::trim_start);
    text.strip_prefix(QUOTES).is_some_and(|rest| !rest.trim_end().ends_with(QUOTES))
}

const QUOTES: &str = "\"\"\"";

/// The text between `"""`, if it begins with them.
fn between_quotes(text: &str) -> Option<&str> {
    let quoted = text.strip_prefix(QUOTES)?;
    Some(quoted.strip_suffix(QUOTES).unwrap_or(quoted).trim_matches('\n'))
}

/// Parses a line, or several between `"""`.
///
/// # Errors
/// Describes an unknown command or a missing argument.
pub fn parse(line: &str) -> Result<Input, String> {
    let trimmed = line.trim();
    if let Some(inner) = between_quotes(trimmed) {
        return Ok(match inner.trim() {
            "" => Input::Empty,
            _ => Input::Message(inner.to_owned()),
        });
    }
    if trimmed.is_empty() {
        return Ok(Input::Empty);
    }
    if !trimmed.starts_with('/') {
        return Ok(Input::Message(trimmed.to_owned()));
    }
    let (name, argument) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
    let argument = argument.trim();
    let file = || match argument {
        // `-`, stdin, is the source of commands.
        "" | "-" => Err(format!("{name} needs a file name")),
        path => Ok(PathBuf::from(path)),
    };
    let command = match name {
        "/help" | "/?" => Command::Help,
        "/clear" | "/new" => Command::Clear,
        "/regen" => Command::Regen,
        "/undo" => Command::Undo,
        "/system" => Command::System(argument.to_owned()),
        "/set" => match argument.split_once(char::is_whitespace) {
            Some((name, value)) => Command::Set(name.to_owned(), value.trim().to_owned()),
            None => return Err("/set needs a name and a value, e.g. /set temperature 0.7".into()),
        },
        "/show" => Command::Show,
        "/lora" => Command::Lora(argument.to_owned()),
        "/read" => Command::Read(file()?),
        "/tool" => Command::Tool(match (between_quotes(argument), argument.strip_prefix('@')) {
            (Some(text), _) => ToolResult::Text(text.to_owned()),
            (None, Some("" | "-")) => return Err("/tool @ needs a file name".to_owned()),
            (None, Some(path)) => ToolResult::File(PathBuf::from(path)),
            (None, None) => ToolResult::Text(argument.to_owned()),
        }),
        "/save" => Command::Save { path: file()?, overwrite: false },
        "/save!" => Command::Save { path: file()?, overwrite: true },
        "/load" => Command::Load(file()?),
        "/tokens" => Command::Tokens,
        "/stats" => Command::Stats,
        "/exit" | "/bye" | "/quit" => Command::Exit,
        unknown => return Err(format!("{unknown}: no such command; /help lists them")),
    };
    Ok(Input::Command(command))
}

/// A conversation and the options of its answers.
pub struct Repl {
    pub conversation: Conversation,
    pub options: GenerateOptions,
    /// Whether the markers of tool calls are printed. The conversation always contains them, since the
    /// model must see its calls unchanged.
    pub tool_calls: bool,
    /// Whether a line of statistics follows each answer.
    pub verbose: bool,
    /// Whether reasoning is printed.
    pub thinking: Thinking,
}

impl Repl {
    /// The printed form of an answer's text.
    pub fn visible(&self, text: &str) -> String {
        match self.tool_calls {
            true => text.to_owned(),
            false => TOOL_CALL_MARKERS.iter().fold(text.to_owned(), |t, m| t.replace(m, "")),
        }
    }

    /// Whether the conversation ends with a message to answer.
    pub fn is_waiting(&self) -> bool {
        let last = self.conversation.messages.last().map(Message::role);
        matches!(last, Some(Role::User | Role::Tool))
    }

    /// The calls of the last answer without a result, in order.
    pub fn open_calls(&self) -> Vec<ToolCall> {
        let messages = &self.conversation.messages;
        let results = messages.iter().rev().take_while(|m| m.role() == Role::Tool).count();
        let answer = messages.iter().rev().nth(results).filter(|m| m.role() == Role::Assistant);
        let calls = answer.map(|m| tool_calls(&m.text().unwrap_or_default())).unwrap_or_default();
        calls.into_iter().skip(results).collect()
    }

    /// Removes all messages but the system prompt; the tools stay.
    pub fn clear(&mut self) {
        self.conversation.messages.retain(|m| m.role() == Role::System);
    }

    /// Sets the system prompt, or removes it if the text is empty.
    pub fn system(&mut self, text: &str) {
        let messages = &mut self.conversation.messages;
        if messages.first().is_some_and(|m| m.role() == Role::System) {
            messages.remove(0);
        }
        if !text.is_empty() {
            messages.insert(0, Message::system(text));
        }
    }

    /// Removes the last user message and all after it; returns whether there was one.
    pub fn undo(&mut self) -> bool {
        let last = self.conversation.messages.iter().rposition(|m| m.role() == Role::User);
        last.inspect(|at| self.conversation.messages.truncate(*at)).is_some()
    }

    /// Removes the last answer, so that the model answers again; returns whether there is a message to
    /// answer. A fixed seed is incremented, or the answer would be the same.
    pub fn regen(&mut self) -> bool {
        let messages = &mut self.conversation.messages;
        let last = messages.iter().rposition(|m| m.role() != Role::Assistant);
        let Some(last) = last.filter(|at| messages[*at].role() != Role::System) else {
            return false;
        };
        messages.truncate(last + 1);
        if let Some(sampling) = &mut self.options.sampling {
            sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(1));
        }
        true
    }

    /// Sets an option by its name on the command line; returns its line of [`Repl::show`].
    ///
    /// # Errors
    /// Describes an unknown name or a wrong value; nothing changes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<String, String> {
        fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
            value
                .parse()
                .map_err(|_| format!("invalid value {value:?} for {name}: expected a number"))
        }
        fn or_off<T: std::str::FromStr>(name: &str, value: &str) -> Result<Option<T>, String> {
            if matches!(value, "off" | "random") {
                return Ok(None);
            }
            let read = or_minus_one(value).map(OrMinusOne::number);
            read.map_err(|need| format!("invalid value {value:?} for {name}: {need}"))
        }
        let on_or_off = || match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(format!("invalid value {value:?} for {name}: expected on or off")),
        };
        let mut options = self.options.clone();
        let mut sampling = options.sampling.clone().unwrap_or_default();
        let (mut tool_calls, mut verbose) = (self.tool_calls, self.verbose);
        let mut thinking = self.thinking;
        let plain = name.trim_start_matches('-').replace('_', "-");
        let canonical = match plain.as_str() {
            "temp" => "temperature",
            "repeat-penalty" => "repetition-penalty",
            "predict" | "n-predict" => "max-tokens",
            other => other,
        };
        match canonical {
            "temperature" => sampling.temperature = number(name, value)?,
            "top-k" => sampling.top_k = or_off(name, value)?.unwrap_or(0),
            "top-p" => sampling.top_p = number(name, value)?,
            "min-p" => sampling.min_p = number(name, value)?,
            "repetition-penalty" => sampling.repetition_penalty = number(name, value)?,
            "presence-penalty" => sampling.presence_penalty = number(name, value)?,
            "frequency-penalty" => sampling.frequency_penalty = number(name, value)?,
            "seed" => sampling.seed = or_off(name, value)?,
            "max-tokens" => match or_off(name, value)? {
                Some(0) => {
                    return Err(format!("invalid value 0 for {name}: expected at least 1, or off"));
                }
                n => options.max_tokens = n,
            },
            "stop" => options.stop = stop_strings(value)?,
            "tool-calls" => tool_calls = on_or_off()?,
            "verbose" => verbose = on_or_off()?,
            "thinking" => {
                thinking = value.parse().map_err(|expected| {
                    format!("invalid value {value:?} for {name}: {expected}")
                })?;
            }
            _ => return Err(format!("{name}: no such option; /show lists them")),
        }
        sampling.check().map_err(|e| e.to_string())?;
        options.sampling = Some(sampling);
        (self.options, self.tool_calls, self.verbose) = (options, tool_calls, verbose);
        self.thinking = thinking;
        let shown = self.show();
        let is_it = |line: &&str| line.split(' ').next() == Some(canonical);
        Ok(shown.lines().find(is_it).unwrap_or_default().to_owned())
    }

    /// The options, one per line.
    pub fn show(&self) -> String {
        let on_or_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        let max = self.options.max_tokens;
        let max = max.map_or("to the end of the context".to_owned(), |n| n.to_string());
        let own = [
            ("max-tokens", max),
            ("stop", serde_json::json!(self.options.stop).to_string()),
            ("tool-calls", on_or_off(self.tool_calls)),
            ("verbose", on_or_off(self.verbose)),
            ("thinking", self.thinking.to_string()),
        ];
        let sampling = in_words(&self.options.sampling.clone().unwrap_or_default());
        let lines = sampling.into_iter().chain(own).map(|(name, value)| format!("{name} {value}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Parses plain text, a JSON string (`"\n"`; `""` for no stop string), or a JSON list of strings.
fn stop_strings(value: &str) -> Result<Vec<String>, String> {
    let wrong = |e: serde_json::Error| format!("stop: not a JSON string or list of strings: {e}");
    let stops: Vec<String> = match value.chars().next() {
        Some('[') => serde_json::from_str(value).map_err(wrong)?,
        Some('"') => vec![serde_json::from_str(value).map_err(wrong)?],
        _ => vec![value.to_owned()],
    };
    let stops: Vec<String> = stops.into_iter().filter(|s| !s.is_empty()).collect();
    StopStrings::new(&stops).map_err(|e| e.to_string())?;
    Ok(stops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SamplingOptions;

    fn repl() -> Repl {
        Repl {
            conversation: Conversation::default(),
            options: GenerateOptions {
                sampling: Some(SamplingOptions::default()),
                ..GenerateOptions::default()
            },
            tool_calls: false,
            verbose: true,
            thinking: Thinking::default(),
        }
    }

    fn roles(repl: &Repl) -> Vec<Role> {
        repl.conversation.messages.iter().map(Message::role).collect()
    }

    #[test]
    fn lines_are_messages_or_commands() {
        let message = |s: &str| Ok(Input::Message(s.to_owned()));
        assert_eq!(parse("  hello "), message("hello"));
        assert_eq!(parse("\"\"\"a\n  b\n\"\"\""), message("a\n  b"));
        assert_eq!(parse("   "), Ok(Input::Empty));
        assert_eq!(parse("/?"), Ok(Input::Command(Command::Help)));
        let save = |overwrite| Command::Save { path: "a b.json".into(), overwrite };
        assert_eq!(parse("/save  a b.json "), Ok(Input::Command(save(false))));
        assert_eq!(parse("/save! a b.json"), Ok(Input::Command(save(true))));
        let tool = |result| Ok(Input::Command(Command::Tool(result)));
        assert_eq!(parse("/tool 21 °C"), tool(ToolResult::Text("21 °C".to_owned())));
        assert_eq!(parse("/tool"), tool(ToolResult::Text(String::new())));
        assert_eq!(parse("/tool @a.json"), tool(ToolResult::File("a.json".into())));
        let lines = parse("/tool \"\"\"\n{\n}\n\"\"\"");
        assert_eq!(lines, tool(ToolResult::Text("{\n}".to_owned())));
        let set = Command::Set("temperature".to_owned(), "0.7".to_owned());
        assert_eq!(parse("/set temperature  0.7"), Ok(Input::Command(set)));
        let lora = |words: &str| Ok(Input::Command(Command::Lora(words.to_owned())));
        assert_eq!((parse("/lora"), parse("/lora a 0.5 ")), (lora(""), lora("a 0.5")));
        assert_eq!(parse("\"\"\"\n \n\"\"\""), Ok(Input::Empty));
        for bad in ["/nope", "/set temperature", "/read", "/read -", "/load ", "/"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for (name, _) in COMMANDS {
            let with_argument = format!("{} x y", name.split(' ').next().unwrap());
            assert!(matches!(parse(&with_argument), Ok(Input::Command(_))), "{name}");
        }
    }

    #[test]
    fn quotes_stay_open_until_closed() {
        assert!(is_open("\"\"\"a"));
        assert!(is_open("\"\"\"a\nb"));
        assert!(
            is_open("/tool \"\"\"{\n") && !is_open("/tool \"\"\"{}\"\"\"") && !is_open("/tool {")
        );
        assert!(!is_open("\"\"\"a\nb\"\"\""));
        assert!(!is_open("a\"\"\""));
    }

    #[test]
    fn turns_are_taken_back_and_answered_again() {
        let mut r = repl();
        assert!(!r.undo() && !r.regen());
        r.system("Be brief.");
        for turn in ["a", "b"] {
            r.conversation.messages.push(Message::user(turn));
            r.conversation.messages.push(Message::assistant("x"));
        }
        let seed = |r: &Repl| r.options.sampling.as_ref().unwrap().seed;
        assert!(r.regen() && r.is_waiting());
        assert_eq!(seed(&r), None);
        r.set("seed", "7").unwrap();
        assert!(r.regen() && r.is_waiting());
        assert_eq!(seed(&r), Some(8));
        assert_eq!(roles(&r), [Role::System, Role::User, Role::Assistant, Role::User]);
        assert!(r.undo());
        assert_eq!(roles(&r), [Role::System, Role::User, Role::Assistant]);
        r.system("Be long.");
        assert_eq!(r.conversation.messages[0].text().unwrap(), "Be long.");
        r.clear();
        assert_eq!(roles(&r), [Role::System]);
        assert!(!r.regen());
        r.system("");
        assert!(roles(&r).is_empty());
    }

    #[test]
    fn an_answer_to_a_tool_is_given_again_from_the_tool() {
        let mut r = repl();
        let call = "<|tool_call_start|>[f()]<|tool_call_end|>";
        let turns = [Message::user("a"), Message::assistant(call), Message::tool("1")];
        assert!(r.open_calls().is_empty());
        r.conversation.messages.extend(turns[..2].to_vec());
        assert_eq!(r.open_calls().len(), 1);
        r.conversation.messages.extend(turns[2..].to_vec());
        assert!(r.open_calls().is_empty());
        r.conversation.messages.push(Message::assistant("It is 1."));
        assert!(r.regen());
        assert_eq!(roles(&r), [Role::User, Role::Assistant, Role::Tool]);
        assert_eq!(r.visible(call), "[f()]");
        r.tool_calls = true;
        assert_eq!(r.visible(call), call);
    }

    #[test]
    fn options_are_set_or_left_alone() {
        let mut r = repl();
        r.set("temperature", "0.7").unwrap();
        assert_eq!(r.set("max_tokens", "5").unwrap(), "max-tokens 5");
        assert_eq!(r.set("stop", "\"\\n\"").unwrap(), "stop [\"\\n\"]");
        assert_eq!(r.set("stop", "[\"a\", \"b\"]").unwrap(), "stop [\"a\",\"b\"]");
        assert_eq!(r.set("stop", "\"\"").unwrap(), "stop []");
        assert_eq!(r.set("verbose", "off").unwrap(), "verbose off");
        assert!(r.show().contains("thinking show at a terminal"));
        assert_eq!(r.set("thinking", "hide").unwrap(), "thinking hide");
        assert_eq!(r.set("--thinking", "show").unwrap(), "thinking show");
        r.set("--top-k", "40").unwrap();
        // -1 has the meaning of llama.cpp and vLLM: off, random, to the end.
        assert_eq!(r.set("top-k", "-1").unwrap(), "top-k 0");
        assert_eq!(r.set("seed", "-1").unwrap(), "seed random");
        assert_eq!(r.set("n-predict", "-1").unwrap(), "max-tokens to the end of the context");
        r.set("top-k", "40").unwrap();
        r.set("max-tokens", "5").unwrap();
        let before = r.show();
        for (name, value) in [
            ("temperature", "-1"),
            ("temperature", "nan"),
            ("min-p", "2"),
            ("x", "1"),
            ("seed", "a"),
            ("max-tokens", "0"),
            ("stop", "\"a"),
            ("verbose", "1"),
            ("thinking", "on"),
        ] {
            assert!(r.set(name, value).is_err(), "{name} {value}");
            assert_eq!(r.show(), before);
        }
        let sampling = r.options.sampling.unwrap();
        assert_eq!(
            (sampling.temperature, sampling.top_k, r.options.max_tokens),
            (0.7, 40, Some(5))
        );
    }
}
