//! `lfm2 generate`: one answer.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::error::CliError;
use super::input::{self, MAX_PROMPT_BYTES, read_conversation, read_file, read_text};
use super::interrupt::{self, Meaning};
use super::options::{Common, Sampling};
use super::print::print;
use super::screen::Screen;
use super::thinking::{Shown, Thinking};
use super::{load, loras, progress, stats};
use crate::Error;
use crate::engine::{GenerateRequest, Generation, ModelText};
use crate::formats::one_line;
use crate::grammar::Structure;
use crate::text::{AnswerFormat, Calls, Conversation, Message, SpecialTokens};

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Generate {
    #[command(flatten)]
    input: Input,
    /// System prompt
    #[arg(long, env = "LFM2_SYSTEM", value_name = "TEXT", conflicts_with_all = ["messages", "raw"])]
    system: Option<String>,
    /// Continue the prompt without the chat template
    #[arg(long, conflicts_with = "messages", env = "LFM2_RAW")]
    raw: bool,
    /// Print the generated token ids as a JSON array instead of text
    #[arg(long, env = "LFM2_TOKEN_IDS", conflicts_with = "tool_calls")]
    token_ids: bool,
    /// Print tool calls with their markers (`<|tool_call_start|>`)
    #[arg(long, env = "LFM2_TOOL_CALLS")]
    tool_calls: bool,
    /// Print token counts and speeds to stderr
    #[arg(long, env = "LFM2_STATS")]
    stats: bool,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    thinking: Thinking,
    #[command(flatten)]
    sampling: Sampling,
}

/// The form of the answer.
#[derive(Debug, Args)]
struct Form {
    /// Answer in JSON that matches this JSON schema
    #[arg(long, env = "LFM2_JSON_SCHEMA", value_name = "FILE.json")]
    json_schema: Option<PathBuf>,
    /// Answer in the language of this grammar (llguidance's variant of Lark)
    #[arg(long, env = "LFM2_GRAMMAR", value_name = "FILE.lark", conflicts_with = "json_schema")]
    grammar: Option<PathBuf>,
}

impl Form {
    /// The structure, and its file.
    fn structure(&self) -> Result<Option<(Structure, &Path)>, CliError> {
        if let Some(path) = &self.json_schema {
            let schema = serde_json::from_str(&read_file(path, MAX_PROMPT_BYTES)?);
            let schema = schema.map_err(|e| {
                CliError::User(format!("{}: not valid JSON: {}", path.display(), one_line(&e)))
            })?;
            return Ok(Some((Structure::JsonSchema(schema), path)));
        }
        let Some(path) = &self.grammar else { return Ok(None) };
        Ok(Some((Structure::Lark(read_file(path, MAX_PROMPT_BYTES)?), path)))
    }
}

const NOTES: &str = "\
The answer is streamed to stdout and ends with one newline; everything else goes to stderr. The \
prompt is TEXT or -p, then the file of -f, then the text at stdin (a pipe or a file), separated by empty \
lines. If there is other text and stdin stays empty for 10 seconds, stdin is ignored with a warning; \
`-f -` waits without a limit. A prompt that does not fit into the context is an error.

--messages takes {\"messages\": [...], \"tools\": [...]}. The model does not see a schema or grammar.

Examples:
  lfm2 generate 'What is WebGPU?' --stats
  cat notes.txt | lfm2 generate -p 'Summarise this.'
  git diff | lfm2 generate --system 'Write a commit message.'
  lfm2 generate --messages chat.json --tool-calls --temperature 0
  lfm2 generate -p 'Name and age in JSON: Ada is 36.' --json-schema person.json";

/// The prompt, a file or both; or a conversation.
#[derive(Debug, Args)]
struct Input {
    /// The prompt, as -p; several words are joined with spaces
    #[arg(env = "LFM2_WORDS", value_name = "TEXT", conflicts_with_all = ["prompt", "messages"])]
    words: Vec<String>,
    /// The prompt
    #[arg(short, long, env = "LFM2_PROMPT", value_name = "TEXT", conflicts_with = "messages")]
    prompt: Option<String>,
    /// File with the prompt, or with text to append to -p; `-` is stdin
    #[arg(short, long, env = "LFM2_FILE", value_name = "FILE", conflicts_with = "messages")]
    file: Option<PathBuf>,
    /// Conversation to answer, in JSON; `-` is stdin
    #[arg(long, env = "LFM2_MESSAGES", value_name = "FILE.json")]
    messages: Option<PathBuf>,
}

impl Input {
    /// The prompt: its parts joined.
    fn text(&self, quiet: bool) -> Result<String, CliError> {
        let from_stdin = self.file.as_deref() == Some(Path::new("-"));
        let own = match &self.prompt {
            Some(prompt) => Some(prompt.clone()),
            None => (!self.words.is_empty()).then(|| self.words.join(" ")),
        };
        let file = self.file.as_deref().map(read_text).transpose()?;
        let is_alone = own.is_none() && file.is_none();
        let piped = match (from_stdin, input::has_text(), is_alone) {
            (true, ..) | (_, false, _) => None,
            // There is no other prompt, so this waits for it.
            (_, true, true) => Some(input::all()?).filter(|text| !text.is_empty()),
            (_, true, false) => input::added(quiet)?,
        };
        if let (Some(added), false, false) = (&piped, is_alone, quiet) {
            let bytes = added.len();
            eprintln!(
                "{bytes} bytes from stdin are added to the prompt (`< /dev/null` leaves them out)"
            );
        }
        let parts: Vec<String> = [own, file, piped].into_iter().flatten().collect();
        if parts.is_empty() {
            return Err(CliError::Advised {
                problem: "no prompt: need --prompt, --file, --messages or text".to_owned(),
                tip: "lfm2 generate 'your prompt', or -p TEXT, -f FILE, --messages FILE.json, or \
                      a pipe"
                    .to_owned(),
            });
        }
        Ok(parts.join("\n\n"))
    }
}

impl Generate {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let model = load::open(common)?;
        let recommended = model.recommended.sampling.clone();
        let mut options = self.sampling.options(recommended)?;
        // Checked before the weights are read, which may take a minute.
        let (prompt, format) = self.prompt(&model.text, common.quiet)?;
        // Tool calls stay in the text.
        let format = AnswerFormat { calls: Calls::InText, ..format };
        model.check_prompt(prompt.len(), common.context)?;
        if let Some((structure, path)) = self.form.structure()? {
            let allowed = model.structure(&structure, &format);
            options.allowed = Some(allowed.map_err(|e| match e {
                Error::Grammar(e) => CliError::User(format!("{}: {e}", path.display())),
                other => other.into(),
            })?);
        }
        let engine = load::engine_of(model, common, |builder| builder)?;
        options.lora = loras::first(&engine);
        if self.tool_calls {
            options.specials = SpecialTokens::ToolCalls;
        }
        let mut generation = engine.generate(GenerateRequest { prompt, format, options })?;
        let mut screen = Screen::new();
        let bar = progress::prompt(common, &generation.timings());
        let mut thinking = self.thinking.shown(common.quiet);
        let answered = self.stream(&mut generation, &bar, &mut screen, &mut thinking);
        thinking.end();
        bar.finish_and_clear();
        let ids = answered?;
        let timings = generation.timings();
        if self.token_ids {
            print(&serde_json::json!(ids).to_string())?;
        }
        print("\n")?;
        let cut = stats::cut_short(&generation, engine.context_length());
        if let Some(cut) = cut.filter(|_| !common.quiet) {
            eprintln!("{cut}");
        }
        log::info!("seed {}", timings.seed);
        if self.stats {
            eprintln!("{}", stats::answer_line(&timings));
        }
        if interrupt::take() { Err(CliError::Interrupted) } else { Ok(()) }
    }

    fn stream(
        &self,
        generation: &mut Generation,
        bar: &ProgressBar,
        screen: &mut Screen,
        thinking: &mut Shown,
    ) -> Result<Vec<u32>, CliError> {
        let mut ids = Vec::new();
        while !interrupt::requested() {
            let Some(delta) = pollster::block_on(generation.next()) else { break };
            let delta = delta?;
            if let Some(prefill) = delta.prefill {
                progress::advance_prompt(bar, prefill);
            }
            ids.extend(delta.token);
            thinking.write(&delta.reasoning);
            if !self.token_ids && !delta.text.is_empty() {
                thinking.end();
                screen.print(&delta.text)?;
            }
        }
        Ok(ids)
    }

    /// The token ids of the prompt, and the format of the answer.
    fn prompt(&self, model: &ModelText, quiet: bool) -> Result<(Vec<u32>, AnswerFormat), CliError> {
        if let Some(path) = &self.input.messages {
            return Ok(model.chat(&read_conversation(path)?)?);
        }
        // No work is running that could stop.
        interrupt::means(Meaning::End);
        let text = self.input.text(quiet)?;
        interrupt::means(Meaning::StopThenEnd);
        if self.raw {
            return Ok((model.tokenizer()?.encode(&text, true)?, AnswerFormat::default()));
        }
        let system = self.system.iter().map(Message::system);
        Ok(model.chat(&Conversation::new(system.chain([Message::user(text)])))?)
    }
}
