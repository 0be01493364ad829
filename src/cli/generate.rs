//! `lfm2 generate`: one answer.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::options::{Common, Sampling, random_seed};
use super::{CliError, interrupt, load, stats};
use crate::engine::{Generation, ModelText, PrefillProgress};
use crate::formats::plain_text;
use crate::text::{Conversation, Message, SpecialTokens};

/// Longest prompt file that is read, in bytes.
pub const MAX_PROMPT_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Generate {
    #[command(flatten)]
    input: Input,
    /// Instruction before the question
    #[arg(long, env = "LFM2_SYSTEM", value_name = "TEXT", conflicts_with_all = ["messages", "raw"])]
    system: Option<String>,
    /// Continue the text as it is, without the chat template
    #[arg(long, conflicts_with = "messages", env = "LFM2_RAW")]
    raw: bool,
    /// Print the generated token ids as a JSON array instead of text
    #[arg(long, env = "LFM2_TOKEN_IDS", conflicts_with = "tool_calls")]
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

const NOTES: &str = "\
The answer goes to stdout as it comes and ends with one newline; everything else goes to stderr. \
stdin is read only where `-` asks for it. A prompt that does not fit the context is refused, never \
cut.

Examples:
  lfm2 generate -p 'What is WebGPU?' --stats
  git diff | lfm2 generate -f - --system 'Write a commit message.'
  lfm2 generate --messages chat.json --tool-calls --temperature 0";

/// What to answer: one of the three.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Input {
    /// The question
    #[arg(short, long, env = "LFM2_PROMPT", value_name = "TEXT")]
    prompt: Option<String>,
    /// A file with the question; `-` is stdin
    #[arg(short, long, env = "LFM2_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
    /// A conversation: {"messages": [...], "tools": [...]}; `-` is stdin
    #[arg(long, env = "LFM2_MESSAGES", value_name = "FILE.json")]
    messages: Option<PathBuf>,
}

impl Generate {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let model = load::open(common)?;
        let recommended = model.recommended.sampling.clone();
        let mut options = self.sampling.options(recommended, random_seed())?;
        // Refused before the weights are read, which may take a minute.
        let prompt = self.prompt(&model.text)?;
        model.check_prompt(prompt.len(), common.context)?;
        let engine = load::engine_of(model, common, |builder| builder)?;
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
        let cut = stats::cut_short(&generation, engine.context_length());
        if let Some(cut) = cut.filter(|_| !common.quiet) {
            eprintln!("{cut}");
        }
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

    /// The ids of what is to be answered.
    fn prompt(&self, model: &ModelText) -> Result<Vec<u32>, CliError> {
        let text = match (&self.input.prompt, &self.input.file, &self.input.messages) {
            (_, _, Some(path)) => return Ok(model.encode_chat(&read_conversation(path)?)?),
            (_, Some(path), _) => read_text(path)?,
            (prompt, ..) => prompt.clone().unwrap_or_default(),
        };
        if self.raw {
            return Ok(model.tokenizer()?.encode(&text, true)?);
        }
        let system = self.system.iter().map(Message::system);
        Ok(model.encode_chat(&Conversation::new(system.chain([Message::user(text)])))?)
    }
}

/// A conversation from a file, or from stdin for `-`.
pub fn read_conversation(path: &Path) -> Result<Conversation, CliError> {
    Conversation::from_json(&read_text(path)?)
        .map_err(|e| CliError::User(format!("{}: {e}", path.display())))
}

/// Writes to stdout at once. A reader that has gone away ends the program quietly: it has all that it
/// wanted.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(CliError::ReaderGone),
        Err(e) => Err(CliError::Internal(format!("stdout: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// The text of a regular file, or of stdin for `-`.
pub fn read_text(path: &Path) -> Result<String, CliError> {
    let too_long =
        || CliError::User(format!("{}: longer than {MAX_PROMPT_BYTES} bytes", path.display()));
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
    plain_text(bytes).map_err(|what| CliError::User(format!("{}: {what}", path.display())))
}
