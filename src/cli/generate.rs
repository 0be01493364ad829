//! `lfm2 generate`: one answer.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::options::{Common, Sampling, random_seed};
use super::{CliError, interrupt, load, stats};
use crate::engine::{Generation, PrefillProgress};
use crate::text::{Conversation, Message, SpecialTokens};

/// Longest prompt file that is read, in bytes.
const MAX_PROMPT_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
#[group(id = "input", required = true)]
pub struct Generate {
    /// The question. The answer goes to stdout and ends with one newline
    #[arg(short, long, group = "input", env = "LFM2_PROMPT", value_name = "TEXT")]
    prompt: Option<String>,
    /// A file with the question; `-` is stdin
    #[arg(short, long, group = "input", env = "LFM2_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
    /// A conversation: {"messages": [...], "tools": [...]}
    #[arg(long, group = "input", env = "LFM2_MESSAGES", value_name = "FILE.json")]
    messages: Option<PathBuf>,
    /// Instruction before the question
    #[arg(long, env = "LFM2_SYSTEM", value_name = "TEXT", conflicts_with_all = ["messages", "raw"])]
    system: Option<String>,
    /// Continue the text as it is, without the chat template
    #[arg(long, conflicts_with = "messages", env = "LFM2_RAW")]
    raw: bool,
    /// Print the generated token ids as a JSON array instead of text
    #[arg(long, env = "LFM2_TOKEN_IDS")]
    token_ids: bool,
    /// Show tool-call markers in the text
    #[arg(long, env = "LFM2_TOOL_CALLS")]
    tool_calls: bool,
    /// Print counts and times to stderr
    #[arg(long, env = "LFM2_STATS")]
    stats: bool,
    #[command(flatten)]
    sampling: Sampling,
}

impl Generate {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let input = self.input()?;
        let engine = load::engine(common)?;
        let prompt = match &input {
            Input::Raw(text) => engine.tokenizer()?.encode(text, true)?,
            Input::Chat(conversation) => engine.encode_chat(conversation)?,
        };
        let mut options = self.sampling.options(&engine, random_seed());
        if self.tool_calls {
            options.specials = SpecialTokens::ToolCalls;
        }
        let mut session = engine.session()?;
        let bar = load::progress_bar(common, 0, "prompt [{bar:32}] {pos}/{len} tokens {eta}");
        let shown = bar.clone();
        let mut generation =
            session.generate(&prompt, &options)?.on_prefill(move |p: PrefillProgress| {
                shown.set_length(p.total as u64);
                shown.set_position(p.processed as u64);
                if p.processed == p.total {
                    shown.finish_and_clear();
                }
            });
        let ids = self.stream(&mut generation)?;
        let timings = generation.timings();
        if self.token_ids {
            print(&serde_json::json!(ids).to_string())?;
        }
        print("\n")?;
        if self.stats {
            let adapter = engine.context().adapter();
            eprintln!("{}", stats::answer_line(&timings));
            eprintln!("{} ({})", adapter.name, adapter.backend);
        }
        if interrupt::take() { Err(CliError::Interrupted) } else { Ok(()) }
    }

    fn stream(&self, generation: &mut Generation<'_>) -> Result<Vec<u32>, CliError> {
        let mut ids = Vec::new();
        while !interrupt::requested() {
            let Some(delta) = pollster::block_on(generation.next()) else { break };
            let delta = delta?;
            ids.extend(delta.token);
            if !self.token_ids {
                print(&delta.text)?;
            }
        }
        Ok(ids)
    }

    fn input(&self) -> Result<Input, CliError> {
        if let Some(path) = &self.messages {
            let text = read_text(path)?;
            let conversation = Conversation::from_json(&text)
                .map_err(|e| CliError::User(format!("{}: {e}", path.display())))?;
            return Ok(Input::Chat(conversation));
        }
        let text = match (&self.prompt, &self.file) {
            (Some(prompt), _) => prompt.clone(),
            (None, Some(path)) => read_text(path)?,
            (None, None) => return Err(CliError::User("--prompt: nothing to answer".to_owned())),
        };
        if self.raw {
            return Ok(Input::Raw(text));
        }
        let system = self.system.iter().map(Message::system);
        Ok(Input::Chat(Conversation::new(system.chain([Message::user(text)]))))
    }
}

enum Input {
    Raw(String),
    Chat(Conversation),
}

/// Writes to stdout at once. A reader that has gone away ends the program quietly.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(CliError::Interrupted),
        Err(e) => Err(CliError::Internal(format!("stdout: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// The text of a regular file, or of stdin for `-`.
pub fn read_text(path: &Path) -> Result<String, CliError> {
    let too_long =
        || CliError::User(format!("{}: longer than {MAX_PROMPT_BYTES} bytes", path.display()));
    let not_utf8 = |_| CliError::User(format!("{}: not UTF-8 text", path.display()));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let read = std::io::stdin().take(MAX_PROMPT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|e| CliError::file(path, "read", &e))?;
    } else {
        let source = crate::formats::FileSource::open(path)?;
        bytes = pollster::block_on(crate::formats::read_small(&source, MAX_PROMPT_BYTES))?;
    }
    if bytes.len() as u64 > MAX_PROMPT_BYTES {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(not_utf8)
}
