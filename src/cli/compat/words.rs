//! Tips for commands of other programs, and for words after commands that take none.

use super::super::error::UsageError;
use super::super::family::{self, EXAMPLE_MODEL};
use super::super::print::quoted;

const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

/// Our equivalent of another program's command, with its arguments.
pub fn command_for(name: &str, arguments: &[String]) -> Option<String> {
    let model = |first: Option<&String>| match first {
        Some(name) => quoted(&family::hub_name_like(name).unwrap_or_else(|| name.clone())),
        None => EXAMPLE_MODEL.to_owned(),
    };
    let (first, rest) = match arguments.split_first() {
        Some((first, rest)) => (Some(first), rest),
        None => (None, &[][..]),
    };
    let words = |words: &[String]| {
        if words.is_empty() { "'your prompt'".to_owned() } else { quoted(&words.join(" ")) }
    };
    Some(match name.to_ascii_lowercase().as_str() {
        "run" | "cli" => match (first, rest) {
            (Some(text), _) if text.contains(char::is_whitespace) => {
                format!("lfm2 generate {}", words(arguments))
            }
            (_, []) => format!("lfm2 chat -m {}", model(first)),
            _ => format!("lfm2 generate -m {} {}", model(first), words(rest)),
        },
        "server" | "start" => "lfm2 serve".to_owned(),
        "ps" | "stop" => "lfm2 serve (it runs until Ctrl-C; nothing runs beside it)".to_owned(),
        "models" | "ls" | "model" | "cache" => "lfm2 list".to_owned(),
        "version" => "lfm2 --version".to_owned(),
        "show" | "inspect" | "gpus" | "devices" | "gpu" => match first {
            Some(_) => format!("lfm2 info -m {}", model(first)),
            None => "lfm2 info".to_owned(),
        },
        "completion" | "complete" if first.is_some_and(|word| SHELLS.contains(&word.as_str())) => {
            format!("lfm2 completions {}", first.map_or("bash", String::as_str))
        }
        "ask" | "complete" | "completion" | "prompt" | "answer" | "query" => {
            format!("lfm2 generate {}", words(arguments))
        }
        "interactive" | "repl" | "talk" | "conversation" => "lfm2 chat".to_owned(),
        "get" | "download" | "fetch" | "install" | "add" => format!("lfm2 pull {}", model(first)),
        "remove" | "delete" | "del" | "uninstall" => format!("lfm2 rm {}", model(first)),
        "lora" | "adapter" | "adapters" => match first {
            Some(path) => format!("lfm2 chat --lora {}", quoted(path)),
            None => "lfm2 chat --lora PATH".to_owned(),
        },
        "create" | "convert" | "quantise" => "lfm2 quantize".to_owned(),
        "export-lora" | "merge-lora" | "fuse" => "lfm2 merge".to_owned(),
        "benchmark" | "speed" => "lfm2 bench".to_owned(),
        "test" | "self-test" => "lfm2 selftest".to_owned(),
        "check" | "tune" | "fit" | "preflight" => "lfm2 doctor".to_owned(),
        "ppl" => "lfm2 perplexity".to_owned(),
        "tokens" | "tokenise" | "detokenize" => "lfm2 tokenize".to_owned(),
        _ => return None,
    })
}

/// The error for a word that is no command; `rest`: the arguments after it; `similar`: a command that
/// is spelled like it. Several words are more likely a prompt than a mistyped command.
pub fn no_command(word: &str, rest: &[String], similar: Option<&str>) -> UsageError {
    let words = [&[word.to_owned()], &*plain_words(rest)].concat();
    let ask = format!("to ask the model: lfm2 generate {}", quoted(&words.join(" ")));
    let tip = match (similar, words.len()) {
        (Some(similar), 1) => format!("lfm2 {similar}; {ask}"),
        (Some(similar), _) => format!("{ask}; similar command: lfm2 {similar}"),
        (None, _) => ask,
    };
    UsageError { problem: format!("{word:?} is not a command"), tip }
}

/// The error for words after a command that takes none: a model, or the first message of a chat.
pub fn no_words(command: &str, words: &[String]) -> Option<UsageError> {
    let first = words.first()?;
    let all = words.join(" ");
    let hub = family::hub_name_like(first);
    let is_file = first.contains('/') || first.to_ascii_lowercase().ends_with(".gguf");
    let is_model = !first.contains(char::is_whitespace) && (is_file || hub.is_some());
    let tip = if is_model {
        let rest = match words.get(1..).filter(|rest| command == "chat" && !rest.is_empty()) {
            Some(rest) => format!(" -p {}", quoted(&rest.join(" "))),
            None => String::new(),
        };
        format!("lfm2 {command} -m {}{rest}", quoted(hub.as_ref().unwrap_or(first)))
    } else if command == "chat" {
        let text = quoted(&all);
        format!(
            "lfm2 chat -p {text} starts with this message, lfm2 generate {text} only answers it"
        )
    } else {
        return None;
    };
    Some(UsageError { problem: format!("{all:?} is not an option of lfm2 {command}"), tip })
}

/// Arguments up to the first option.
pub fn plain_words(rest: &[String]) -> Vec<String> {
    rest.iter().take_while(|word| !word.starts_with('-')).cloned().collect()
}
