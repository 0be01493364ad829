//! `lfm2 tokenize`: converts between text, conversations and token ids, without GPU or weights.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CliError;
use super::input::{read_conversation, read_text};
use super::load;
use super::options::Common;
use super::print::print;
use crate::engine::ModelText;
use crate::formats::{json_bytes, without_mark};
use crate::text::{Answer, AnswerFormat, AnswerStream, SpecialTokens, StopStrings, Tokenizer};

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Tokenize {
    #[command(flatten)]
    input: Input,
    /// Convert ids to text, special tokens included
    #[arg(long, conflicts_with_all = ["chat", "parse"], env = "LFM2_DECODE")]
    decode: bool,
    /// With --parse: definitions of tools in JSON. Calls of other tools stay in the text. Default: all
    /// names are accepted
    #[arg(long, value_name = "FILE.json", requires = "parse", conflicts_with_all = ["text", "chat"], env = "LFM2_TOOLS")]
    tools: Option<PathBuf>,
}

const NOTES: &str = "\
Needs no GPU and no weights, only tokenizer.json. --chat also needs chat_template.jinja or \
tokenizer_config.json.

Examples:
  lfm2 tokenize 'Hello, world'
  lfm2 tokenize --decode 1,2,3
  lfm2 tokenize --chat chat.json
  lfm2 tokenize --parse '<|tool_call_start|>[now(zone=\"UTC\")]<|tool_call_end|>'";

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Input {
    /// Text, or @FILE (@- is stdin); with --decode, ids: `1,2,3` or a JSON array
    #[arg(value_name = "TEXT|@FILE", env = "LFM2_TEXT")]
    text: Option<String>,
    /// Render a conversation: {"messages": [...], "tools": [...], "add_generation_prompt": true}
    #[arg(long, value_name = "FILE.json", env = "LFM2_CHAT")]
    chat: Option<PathBuf>,
    /// Parse a model's raw answer into a message in JSON: content, reasoning_content, tool_calls. The
    /// reverse of --chat
    #[arg(long, value_name = "TEXT|@FILE", allow_hyphen_values = true, env = "LFM2_PARSE")]
    parse: Option<String>,
}

impl Tokenize {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let files = load::files(common)?;
        // The vocabulary size of the model is unknown: only the tokenizer's files are read.
        let model = pollster::block_on(ModelText::open(&files, u32::MAX as usize))?;
        let model = load::with_template(model, common)?;
        let tokenizer = model.tokenizer()?;
        if let Some(path) = &self.input.chat {
            let conversation = read_conversation(path)?;
            let prompt = conversation.add_generation_prompt.unwrap_or(true);
            let text = model.render(&conversation, prompt)?;
            let ids = tokenizer.encode(&text, false)?;
            return print(&format!("{}\n", serde_json::json!({ "text": text, "ids": ids })));
        }
        if let Some(answer) = &self.input.parse {
            let tools = self.tools.as_deref().map(read_tools).transpose()?;
            let format = model.answer_format(tools.as_deref());
            let answer = tokenizer.encode(&argument(answer)?, false)?;
            return print(&format!("{}\n", read(tokenizer, format, &answer)?.to_message()));
        }
        let text = argument(self.input.text.as_deref().unwrap_or_default())?;
        if self.decode {
            return print(&format!("{}\n", tokenizer.decode(&ids(&text)?, false)?));
        }
        print(&format!("{}\n", serde_json::json!(tokenizer.encode(&text, true)?)))
    }
}

/// Parses an answer's tokens with the parser of streamed answers.
fn read(tokenizer: &Tokenizer, format: AnswerFormat, ids: &[u32]) -> Result<Answer, CliError> {
    let stops = StopStrings::default();
    let mut stream = AnswerStream::new(tokenizer, format, SpecialTokens::Hide, stops);
    let mut answer = Answer::default();
    for id in ids {
        answer.append(stream.push(*id).map_err(crate::Error::from)?.0);
    }
    answer.append(stream.finish());
    Ok(answer)
}

/// A list of tools, alone or under `tools` of a request.
fn read_tools(path: &Path) -> Result<Vec<serde_json::Value>, CliError> {
    let wrong = |problem: String| CliError::User(format!("{}: {problem}", path.display()));
    let text = read_text(path)?;
    let value: serde_json::Value = serde_json::from_slice(&json_bytes(text.as_bytes()))
        .map_err(|e| wrong(format!("not valid JSON: {e}")))?;
    match value.get("tools").unwrap_or(&value) {
        serde_json::Value::Array(tools) => Ok(tools.clone()),
        _ => Err(wrong("need a JSON list of tools".to_owned())),
    }
}

/// The argument itself, or the content of the file after `@`.
pub fn argument(text: &str) -> Result<String, CliError> {
    match text.strip_prefix('@') {
        Some(path) => read_text(Path::new(path)),
        None => Ok(text.to_owned()),
    }
}

/// Token ids: `1,2,3`, separated by commas or white space, or a JSON array.
pub fn ids(text: &str) -> Result<Vec<u32>, CliError> {
    let text = without_mark(text).trim();
    if text.starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|e| CliError::User(format!("tokens: not a JSON array of token ids: {e}")));
    }
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(|word| {
            word.parse().map_err(|_| {
                let word: String = word.chars().take(40).collect();
                CliError::User(format!("tokens: {word:?} is not a token id, need e.g. 1,2,3"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn ids_come_in_any_list() {
        for text in ["1,2,3", "[1, 2, 3]", "1 2\n3\n", " [1,2,\n3]\n"] {
            assert_eq!(ids(text).unwrap(), [1, 2, 3], "{text:?}");
        }
        for text in ["1,-2", "1,a", "4294967296", "1.5", "[1", "[1]]", "[1.5]", "[\"1\"]"] {
            assert!(ids(text).is_err(), "{text:?}");
        }
        assert!(ids("").unwrap().is_empty());
    }
}
