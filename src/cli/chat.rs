//! `lfm2 chat`: a conversation at a terminal or from a pipe.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::editor::{Terminal, Typed};
use super::error::CliError;
use super::exec::{self, ToolFile};
use super::input::{MAX_PROMPT_BYTES, read_conversation, read_text};
use super::interrupt::{self, Meaning};
use super::options::{Common, Sampling};
use super::part_file::{PartFile, write_whole};
use super::print::print;
use super::repl::{COMMANDS, Command, Input, Repl, ToolResult, is_open, parse};
use super::screen::Screen;
use super::thinking::Thinking;
use super::{load, loras, progress, stats};
use crate::Error;
use crate::engine::{Session, Timings};
use crate::formats::{FileSource, without_mark};
use crate::text::{Conversation, Message, SpecialTokens, ToolCall};

#[derive(Debug, Args)]
pub struct Chat {
    /// System prompt
    #[arg(long, env = "LFM2_SYSTEM", value_name = "TEXT")]
    system: Option<String>,
    /// Continue this conversation: {"messages": [...], "tools": [...]}
    #[arg(long, env = "LFM2_MESSAGES", value_name = "FILE.json")]
    messages: Option<PathBuf>,
    /// Tools that the model may call: a list as in OpenAI's API
    #[arg(long, env = "LFM2_TOOLS", value_name = "FILE.json")]
    tools: Option<PathBuf>,
    /// Run a tool's program ("command": ["weather", "{city}"]) when the model calls the tool and you agree
    #[arg(long, env = "LFM2_EXEC", requires = "tools")]
    exec: bool,
    /// Send this message first
    #[arg(short, long, env = "LFM2_PROMPT", value_name = "TEXT")]
    prompt: Option<String>,
    /// Print tool calls with their markers (`<|tool_call_start|>`)
    #[arg(long, env = "LFM2_TOOL_CALLS")]
    tool_calls: bool,
    /// Neither read nor write the history of typed lines
    #[arg(long, env = "LFM2_NO_HISTORY")]
    no_history: bool,
    #[command(flatten)]
    thinking: Thinking,
    #[command(flatten)]
    sampling: Sampling,
}

impl Chat {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let mut conversation = match &self.messages {
            Some(path) => read_conversation(path)?,
            None => Conversation::default(),
        };
        conversation.add_generation_prompt = None;
        let mut programs = None;
        if let Some(path) = &self.tools {
            let mut file = ToolFile::read(path)?;
            conversation.tools.get_or_insert_default().append(&mut file.tools);
            programs = self.exec.then_some(file);
        }
        let model = load::open(common)?;
        // A missing tokenizer or template is an error before the weights are loaded.
        model.text.encode_chat(&Conversation::new([Message::user("")]))?;
        let recommended = model.recommended.clone();
        let mut options = self.sampling.options(recommended.sampling.clone())?;
        let note = stats::sampling_note(options.sampling.as_ref(), &recommended);
        let engine = load::engine_with_note(model, common, |builder| builder, &note)?;
        let at_terminal = std::io::stdin().is_terminal();
        if at_terminal {
            interrupt::means(Meaning::Stop);
        }
        options.specials = SpecialTokens::ToolCalls;
        options.lora = loras::first(&engine);
        let (tool_calls, verbose) = (self.tool_calls, !common.quiet);
        let thinking = self.thinking;
        let mut repl = Repl { conversation, options, tool_calls, verbose, thinking };
        if let Some(system) = &self.system {
            repl.system(system);
        }
        let session = engine.session();
        let file = self.messages.clone();
        let mut chat = Running { repl, session, common, last: None, file, programs };
        let first = match &self.prompt {
            Some(prompt) => chat.send(prompt),
            None if chat.repl.is_waiting() => chat.answer_and_run(),
            None => Ok(()),
        };
        // At a terminal the user can continue; from a pipe the error ends the program.
        if at_terminal {
            report_user_error(first)?
        } else {
            first?
        }
        if interrupt::take() && !at_terminal {
            return Err(CliError::Interrupted);
        }
        if at_terminal { chat.converse(!self.no_history) } else { chat.follow() }
    }
}

/// Most answers in a row to results of programs.
const MOST_ROUNDS: usize = 16;
/// Number of messages that `/load` shows, and of characters of each.
const LOADED_SHOWN: usize = 4;
const LOADED_CHARS: usize = 400;

/// The file beside a conversation that holds its state.
fn state_file(conversation: &Path) -> PathBuf {
    let mut name = conversation.as_os_str().to_owned();
    name.push(".state");
    name.into()
}

struct Running<'a> {
    repl: Repl,
    session: Session,
    common: &'a Common,
    last: Option<Timings>,
    /// File that the conversation was read from or written to.
    file: Option<PathBuf>,
    /// Programs that may run when the model calls their tools.
    programs: Option<ToolFile>,
}

impl Running<'_> {
    /// Reads lines from a terminal.
    fn converse(&mut self, history: bool) -> Result<(), CliError> {
        let terminal =
            |e: rustyline::error::ReadlineError| CliError::Internal(format!("the terminal: {e}"));
        let mut editor = Terminal::new(history).map_err(terminal)?;
        loop {
            match editor.read().map_err(terminal)? {
                Typed::Line(line) => {
                    if !self.line(&line)? {
                        return Ok(());
                    }
                }
                Typed::Interrupt => eprintln!("Use Ctrl-D or /exit to leave."),
                Typed::End => return Ok(()),
            }
            interrupt::take();
        }
    }

    /// Reads lines from a pipe.
    fn follow(&mut self) -> Result<(), CliError> {
        let mut pending = String::new();
        let mut first = true;
        loop {
            interrupt::means(Meaning::End);
            if interrupt::take() {
                return Err(CliError::Interrupted);
            }
            let left = MAX_PROMPT_BYTES.saturating_sub(pending.len() as u64);
            let read = std::io::stdin().lock().take(left).read_line(&mut pending);
            let read = read.map_err(|e| CliError::User(format!("stdin: {e}")))?;
            interrupt::means(Meaning::StopThenEnd);
            if std::mem::take(&mut first) {
                pending = without_mark(&pending).to_owned();
            }
            if pending.len() as u64 >= MAX_PROMPT_BYTES {
                return Err(CliError::User(format!(
                    "stdin: a message of {MAX_PROMPT_BYTES} bytes or more"
                )));
            }
            // At the end of the input, a message with open quotes is sent as well.
            if read > 0 && is_open(&pending) {
                continue;
            }
            if !self.line(&std::mem::take(&mut pending))? {
                return Ok(());
            }
            if read == 0 {
                return if interrupt::take() { Err(CliError::Interrupted) } else { Ok(()) };
            }
        }
    }

    /// Executes a line; returns `false` for `/exit`. Errors of the user are printed, and the chat
    /// continues.
    fn line(&mut self, line: &str) -> Result<bool, CliError> {
        let done = match parse(line) {
            Ok(Input::Empty) => Ok(()),
            Ok(Input::Message(text)) => self.send(&text),
            Ok(Input::Command(Command::Exit)) => return Ok(false),
            Ok(Input::Command(command)) => self.command(command),
            Err(problem) => Err(CliError::User(problem)),
        };
        report_user_error(done)?;
        Ok(true)
    }

    fn command(&mut self, command: Command) -> Result<(), CliError> {
        match command {
            Command::Help => {
                for (usage, meaning) in COMMANDS {
                    eprintln!("{usage:20} {meaning}");
                }
                eprintln!(
                    "{:20} a message of several lines; Ctrl-C stops an answer",
                    "\"\"\" ... \"\"\""
                );
            }
            Command::Clear => {
                self.repl.clear();
                eprintln!("The conversation is cleared.");
            }
            Command::Regen => self.regen()?,
            Command::Undo => match self.repl.undo() {
                true => eprintln!("The last message is removed."),
                false => eprintln!("There is no message to remove."),
            },
            Command::System(text) => {
                self.repl.system(&text);
                let what = if text.is_empty() { "removed" } else { "set" };
                eprintln!("The system prompt is {what}.");
            }
            Command::Set(name, value) => {
                eprintln!("{}", self.repl.set(&name, &value).map_err(CliError::User)?);
            }
            Command::Show => self.show(),
            Command::Lora(words) => {
                let engine = self.session.engine();
                if !words.is_empty() {
                    self.repl.options.lora = loras::choose(engine, &words)?;
                }
                eprintln!("{}", loras::list(engine, self.repl.options.lora.as_ref()));
            }
            Command::Read(path) => {
                let text = read_text(&path)?;
                self.send(&text)?;
            }
            Command::Tool(result) => self.tool(result)?,
            Command::Save { path, overwrite } => self.save(path, overwrite)?,
            Command::Load(path) => {
                self.repl.conversation = read_conversation(&path)?;
                let messages = &self.repl.conversation.messages;
                eprintln!("{} messages.", messages.len());
                let shown = messages.len().saturating_sub(LOADED_SHOWN);
                if shown > 0 {
                    eprintln!("… ({shown} earlier ones; /show prints all)");
                }
                for message in messages.iter().skip(shown) {
                    let text = message.text().unwrap_or_default();
                    let cut: String = text.chars().take(LOADED_CHARS).collect();
                    let more = if cut.len() < text.len() { "…" } else { "" };
                    eprintln!("{}: {cut}{more}", message.role().as_str());
                }
                if self.repl.is_waiting() {
                    eprintln!("/regen answers the last one.");
                }
                self.load_state(&state_file(&path));
                self.file = Some(path);
            }
            Command::Tokens => {
                let used = match self.repl.conversation.messages.is_empty() {
                    true => 0,
                    false => self.session.engine().encode_chat(&self.repl.conversation)?.len(),
                };
                let context = self.session.engine().context_length();
                eprintln!("{used} of {context} tokens used, {} free", context.saturating_sub(used));
            }
            Command::Stats => match &self.last {
                Some(t) => eprintln!("{}\nseed {}", stats::answer_line(t), t.seed),
                None => eprintln!("There is no answer yet."),
            },
            Command::Exit => {}
        }
        Ok(())
    }

    /// Adds a tool's result. After the last result that the model asked for, it answers.
    fn tool(&mut self, result: ToolResult) -> Result<(), CliError> {
        if self.repl.open_calls().is_empty() {
            return Err(CliError::User("The model has called no tool.".to_owned()));
        }
        let text = match result {
            ToolResult::Text(text) => text,
            ToolResult::File(path) => read_text(&path)?,
        };
        let before = self.repl.conversation.messages.len();
        self.repl.conversation.messages.push(Message::tool(text));
        match self.repl.open_calls().first() {
            Some(next) => eprintln!("Next, the result of {}.", stats::call(next)),
            None => {
                let answered = self.answer_and_run();
                answered.inspect_err(|_| self.repl.conversation.messages.truncate(before))?;
            }
        }
        Ok(())
    }

    /// Writes the conversation to a new file or its own; `overwrite` allows any file.
    fn save(&mut self, path: PathBuf, overwrite: bool) -> Result<(), CliError> {
        // A conversation file has at least one message.
        if self.repl.conversation.messages.is_empty() {
            eprintln!("The conversation is empty.");
            return Ok(());
        }
        let is_own = self.file.as_ref() == Some(&path);
        if !overwrite && !is_own && std::fs::symlink_metadata(&path).is_ok() {
            let path = path.display();
            return Err(CliError::User(format!("{path} exists: /save! {path} overwrites it.")));
        }
        let json = serde_json::to_string_pretty(&self.repl.conversation)
            .map_err(|e| CliError::Internal(e.to_string()))?;
        write_whole(&path, json.as_bytes())?;
        eprintln!("{} written.", path.display());
        let beside = state_file(&path);
        self.file = Some(path);
        let tokens = self.save_state(&beside)?;
        if tokens > 0 {
            eprintln!("{} has the state of {tokens} tokens, for /load.", beside.display());
        }
        Ok(())
    }

    /// Writes the state of the conversation, so that `/load` need not compute it again. Returns its length in tokens.
    fn save_state(&self, path: &Path) -> Result<usize, CliError> {
        let engine = self.session.engine();
        let tokens = engine.encode_chat(&self.repl.conversation)?;
        let lora = self.repl.options.lora.as_ref();
        let mut file = PartFile::create(path)?;
        let name = path.display().to_string();
        let mut write = |bytes: &[u8]| file.write(bytes).map_err(std::io::Error::other);
        let saved = pollster::block_on(engine.save(&tokens, lora, &name, &mut write))?;
        if saved > 0 {
            file.finish()?;
        }
        Ok(saved)
    }

    /// Reads the state that `/save` wrote. Without it, or if it cannot be used, the next answer computes it.
    fn load_state(&self, path: &Path) {
        let Ok(source) = FileSource::open(path) else { return };
        match pollster::block_on(self.session.engine().restore(&source)) {
            Ok(tokens) => eprintln!("The state of {tokens} tokens was read."),
            Err(e) => eprintln!("{e}. The next answer computes the conversation again."),
        }
    }

    fn show(&self) {
        eprintln!("{}", self.repl.show());
        if let Some(tools) = &self.repl.conversation.tools {
            eprintln!("tools {}", serde_json::json!(tools));
        }
        for message in &self.repl.conversation.messages {
            eprintln!("{}: {}", message.role().as_str(), message.text().unwrap_or_default());
        }
    }

    /// Adds a message and answers it. On an error, the message is removed.
    fn send(&mut self, text: &str) -> Result<(), CliError> {
        let before = self.repl.conversation.messages.len();
        self.repl.conversation.messages.push(Message::user(text));
        self.answer_and_run().inspect_err(|_| self.repl.conversation.messages.truncate(before))
    }

    /// Answers the last message again. On an error, the old answer stays.
    fn regen(&mut self) -> Result<(), CliError> {
        let before = self.repl.conversation.messages.clone();
        if !self.repl.regen() {
            return Err(CliError::User("There is no message to answer.".to_owned()));
        }
        self.answer_and_run().inspect_err(|_| self.repl.conversation.messages = before)
    }

    /// The commands of calls, if programs may run and every call's tool has one.
    fn commands(&self, calls: &[ToolCall]) -> Option<Vec<Vec<String>>> {
        let programs = self.programs.as_ref()?;
        calls.iter().map(|call| programs.command_of(call)).collect()
    }

    /// Answers the conversation. While the model calls tools whose programs the user lets run, it answers their results.
    fn answer_and_run(&mut self) -> Result<(), CliError> {
        self.answer()?;
        for _ in 0..MOST_ROUNDS {
            let calls = self.repl.open_calls();
            let Some(commands) = self.commands(&calls).filter(|all| !all.is_empty()) else { break };
            for command in commands {
                let result = match exec::may_run(&command)? {
                    true => exec::run(&command),
                    false => "error: the user did not allow this call".to_owned(),
                };
                self.repl.conversation.messages.push(Message::tool(result));
            }
            self.answer()?;
        }
        Ok(())
    }

    /// Answers the conversation. The text of a stopped answer is kept.
    fn answer(&mut self) -> Result<(), CliError> {
        let context = self.session.engine().context_length();
        let generation = self.session.respond(&self.repl.conversation, &self.repl.options);
        let mut generation = generation.map_err(too_long)?;
        let mut screen = Screen::new();
        let bar = progress::prompt(self.common, &generation.timings());
        let (mut text, mut reasoning) = (String::new(), String::new());
        let mut thinking = self.repl.thinking.shown(self.common.quiet);
        while !interrupt::requested() {
            let Some(delta) = pollster::block_on(generation.next()) else { break };
            let delta = delta.inspect_err(|_| thinking.end())?;
            if let Some(prefill) = delta.prefill {
                progress::advance_prompt(&bar, prefill);
            }
            thinking.write(&delta.reasoning);
            reasoning.push_str(&delta.reasoning);
            if !delta.text.is_empty() {
                thinking.end();
            }
            screen.print(&self.repl.visible(&delta.text))?;
            text.push_str(&delta.text);
        }
        thinking.end();
        bar.finish_and_clear();
        let timings = generation.timings();
        if interrupt::requested() && timings.predicted_n == 0 {
            return Err(CliError::User("Stopped before the answer began.".to_owned()));
        }
        print("\n")?;
        let cut = stats::cut_short(&generation, context);
        if let Some(cut) = cut.filter(|_| !self.common.quiet) {
            eprintln!("{cut}");
        }
        if self.repl.verbose {
            eprintln!("{}", stats::answer_line(&timings));
        }
        self.last = Some(timings);
        log::info!("seed {}", timings.seed);
        let answer = Message::assistant(text).with_reasoning(reasoning);
        self.repl.conversation.messages.push(answer);
        let calls = self.repl.open_calls();
        if !calls.is_empty() && !self.common.quiet {
            let shown: Vec<_> = calls.iter().map(stats::call).collect();
            eprintln!("The model calls {}", shown.join(", then "));
            if self.commands(&calls).is_none() {
                eprintln!(
                    "Give the result: /tool RESULT, /tool @FILE, or several lines between \"\"\"."
                );
            }
        }
        Ok(())
    }
}

/// Prints an error that the user can correct, and continues.
fn report_user_error(done: Result<(), CliError>) -> Result<(), CliError> {
    match done {
        Err(CliError::User(problem)) => eprintln!("{problem}"),
        Err(CliError::Engine(e)) if e.is_user() => eprintln!("{e}"),
        other => return other,
    }
    Ok(())
}

/// The error of a full context, with the chat's commands that help.
fn too_long(e: Error) -> CliError {
    match e {
        Error::ContextFull { prompt, context, .. } => CliError::User(format!(
            "The conversation has {prompt} tokens and the context holds {context}: nothing was \
             sent. Use /undo, /clear or a larger --context."
        )),
        other => other.into(),
    }
}
