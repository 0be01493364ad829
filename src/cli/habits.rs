//! What people bring along: the options and commands of llama.cpp, ollama and others, questions
//! without a command, and text that begins with a dash.
//!
//! Where we have the same thing under another name it is taken. Else one tip names what to type here.
//! Text with a space in it is a question; a single word never is, since it may be a mistyped command.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use super::family;

/// What is typed here for something that another program has.
#[derive(Debug, PartialEq, Eq)]
pub struct Habit {
    /// What is wrong with what was typed.
    pub problem: String,
    /// What to type.
    pub tip: String,
}

/// What another program's option is here.
enum Here {
    /// An option of ours with the same value.
    Same(&'static str),
    /// Something else to type, or nothing.
    Tip(&'static str),
}

const ALWAYS_ON_GPU: &str = "leave it out: the whole model is always on the GPU";
const NO_THREADS: &str = "leave it out: the model runs on the GPU, not on CPU threads";
const CHOSEN: &str = "leave it out: it is chosen for the GPU";
const KV: &str = "--kv f16, or --kv q8 for half the memory of keys and values";
const ADAPTER: &str = "--adapter NAME chooses a GPU; `lfm2 info` lists them";
const CHAT: &str = "`lfm2 chat` is a conversation, `lfm2 generate` a single answer";
const NO_SERVER: &str = "there is no server in this version; `lfm2 generate` answers in a pipe";
const NO_GRAMMAR: &str = "answers cannot be held to a grammar or a schema in this version";
const NO_SAMPLER: &str =
    "the samplers are --temperature, --top-k, --top-p, --min-p and three penalties";

/// Options of llama.cpp, ollama, mlx-lm, vLLM and mistral.rs.
const OPTIONS: &[(&[&str], Here)] = &[
    (&["-hf", "-hfr", "--hf-repo", "--hf", "--model-id"], Here::Same("--model")),
    (&["-sys", "--system-prompt"], Here::Same("--system")),
    (&["-r"], Here::Same("--stop")),
    (&["-ngl", "--n-gpu-layers", "--gpu-layers", "--num-gpu"], Here::Tip(ALWAYS_ON_GPU)),
    (&["-t", "--threads", "-tb", "--threads-batch", "--num-thread"], Here::Tip(NO_THREADS)),
    (&["-fa", "--flash-attn"], Here::Tip(CHOSEN)),
    (&["-b", "-ub", "--batch-size", "--ubatch-size", "-cb", "--cont-batching"], Here::Tip(CHOSEN)),
    (&["-nkvo", "--no-kv-offload", "-sm", "--split-mode", "-ts"], Here::Tip(ALWAYS_ON_GPU)),
    (&["--mlock", "--mmap", "--no-mmap", "--numa"], Here::Tip(ALWAYS_ON_GPU)),
    (&["-ctk", "-ctv", "--cache-type-k", "--cache-type-v"], Here::Tip(KV)),
    (&["-dev", "-mg", "--device", "--main-gpu", "--list-devices"], Here::Tip(ADAPTER)),
    (&["-i", "--interactive", "-cnv", "--conversation", "-no-cnv", "-st"], Here::Tip(CHAT)),
    (&["--interactive-first", "--no-conversation", "--single-turn", "--color"], Here::Tip(CHAT)),
    (&["--host", "--port", "-np", "--parallel", "--api-key"], Here::Tip(NO_SERVER)),
    (&["--grammar", "--grammar-file", "-j", "--json-schema", "--format"], Here::Tip(NO_GRAMMAR)),
    (&["--mirostat", "--typical", "--xtc-probability", "--dry-multiplier"], Here::Tip(NO_SAMPLER)),
    (&["--repeat-last-n", "--samplers", "--top-nsigma"], Here::Tip(NO_SAMPLER)),
];

/// A model to name where none was named.
pub const EXAMPLE_MODEL: &str = "LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0";

const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

/// The command here for one of another program, with its arguments.
fn command_for(name: &str, arguments: &[String]) -> Option<String> {
    let model = |first: Option<&String>| match first {
        Some(name) => quoted(&family::hub_name_like(name).unwrap_or_else(|| name.clone())),
        None => EXAMPLE_MODEL.to_owned(),
    };
    let (first, rest) = match arguments.split_first() {
        Some((first, rest)) => (Some(first), rest),
        None => (None, &[][..]),
    };
    let words = |words: &[String]| {
        if words.is_empty() { "'your question'".to_owned() } else { quoted(&words.join(" ")) }
    };
    Some(match name.to_ascii_lowercase().as_str() {
        "run" | "cli" => match (first, rest) {
            (Some(text), _) if text.contains(char::is_whitespace) => {
                format!("lfm2 generate {}", words(arguments))
            }
            (_, []) => format!("lfm2 chat -m {}", model(first)),
            _ => format!("lfm2 generate -m {} {}", model(first), words(rest)),
        },
        "serve" | "server" | "start" | "ps" | "stop" => {
            "lfm2 chat (there is no server in this version)".to_owned()
        }
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
        "create" | "convert" | "quantise" => "lfm2 quantize".to_owned(),
        "benchmark" | "speed" => "lfm2 bench".to_owned(),
        "test" | "self-test" => "lfm2 selftest".to_owned(),
        "check" | "tune" | "fit" | "preflight" => "lfm2 doctor".to_owned(),
        "ppl" => "lfm2 perplexity".to_owned(),
        "tokens" | "tokenise" | "detokenize" => "lfm2 tokenize".to_owned(),
        _ => return None,
    })
}

/// A text as a shell takes it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// The tip for a word that is no command.
pub fn no_command(word: &str) -> Habit {
    Habit {
        problem: format!("{word:?} is not a command"),
        tip: format!("to ask the model: lfm2 generate {}", quoted(word)),
    }
}

/// One argument.
struct Word {
    text: OsString,
    /// Neither an option, nor an option's value, nor a command.
    positional: bool,
}

/// The command line as our parser takes it.
///
/// # Errors
/// An option or a command that is another program's, with the tip.
pub fn understood(args: Vec<OsString>, whole: &Command) -> Result<Vec<OsString>, Habit> {
    let mut reader = Reader { command: whole, chosen: false, words: Vec::new(), dashed: false };
    let mut args = args.into_iter().peekable();
    let program = args.next();
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str().map(str::to_owned) else {
            reader.push(arg, true);
            continue;
        };
        if text == "--" {
            reader.dashed = true;
            args.by_ref().for_each(|rest| reader.push(rest, true));
        } else if text.len() > 1 && text.starts_with('-') {
            let mut value = || args.next();
            reader.option(text, &mut value)?;
        } else if reader.chosen || !whole.has_subcommands() {
            reader.push(arg, true);
        } else {
            let rest: Vec<String> = args.clone().filter_map(|a| a.into_string().ok()).collect();
            reader.first_word(text, &rest)?;
        }
    }
    Ok(program.into_iter().chain(reader.finish()).collect())
}

struct Reader<'a> {
    command: &'a Command,
    /// Whether the command has been named.
    chosen: bool,
    words: Vec<Word>,
    /// Whether a positional argument begins with a dash.
    dashed: bool,
}

impl Reader<'_> {
    fn push(&mut self, text: OsString, positional: bool) {
        self.words.push(Word { text, positional });
    }

    /// An argument that begins with a dash.
    fn option(
        &mut self,
        text: String,
        value: &mut dyn FnMut() -> Option<OsString>,
    ) -> Result<(), Habit> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (text.as_str(), None),
        };
        // `llama-cli -m FILE -p TEXT`: an option of `generate` chooses it.
        if !self.chosen && self.own(name).is_none() && self.is_of_generate(name) {
            self.begin_question();
        }
        let takes_next = match self.own(name) {
            Some(takes_value) => takes_value && attached.is_none(),
            None => {
                if let Some(here) = foreign(name).or_else(|| foreign(stem(name))) {
                    return self.foreign(name, here, attached, value);
                }
                match self.cluster(name) {
                    Some(takes_next) => takes_next,
                    None if self.is_text(&text) => {
                        if !self.chosen {
                            self.begin_question();
                        }
                        self.dashed = true;
                        self.push(text.into(), true);
                        return Ok(());
                    }
                    // The parser says what is wrong.
                    None => false,
                }
            }
        };
        self.push(text.into(), false);
        if takes_next && let Some(next) = value() {
            self.push(next, false);
        }
        Ok(())
    }

    /// Whether an option of exactly this name takes a value; `None` if there is no such option.
    fn own(&self, name: &str) -> Option<bool> {
        let is_it = |arg: &&Arg| match name.strip_prefix("--") {
            Some(long) => {
                arg.get_long() == Some(long)
                    || arg.get_all_aliases().is_some_and(|all| all.contains(&long))
            }
            None => {
                let mut letters = name.chars().skip(1);
                let one = letters.next().filter(|_| letters.next().is_none());
                one.is_some() && arg.get_short() == one
            }
        };
        self.command.get_arguments().find(is_it).map(takes_value)
    }

    fn is_of_generate(&self, name: &str) -> bool {
        let generate = self.command.find_subcommand("generate");
        let is_own =
            generate.map(|command| Reader { command, words: Vec::new(), ..*self }.own(name));
        is_own.flatten().is_some()
    }

    /// Whether several short options in one (`-qn5`) are all ours, and if so whether the last takes
    /// the next argument.
    fn cluster(&self, name: &str) -> Option<bool> {
        if name.starts_with("--") {
            return None;
        }
        let letters: Vec<char> = name.chars().skip(1).collect();
        for (i, letter) in letters.iter().enumerate() {
            let arg = self.command.get_arguments().find(|a| a.get_short() == Some(*letter))?;
            if takes_value(arg) {
                return Some(i + 1 == letters.len());
            }
        }
        Some(false)
    }

    /// Whether an argument that is no option of ours can only be text.
    fn is_text(&self, text: &str) -> bool {
        let body = text.trim_start_matches('-');
        let is_word = body.starts_with(char::is_alphabetic) && !body.contains(char::is_whitespace);
        // What looks like an option may be a mistyped one. Of the words of a question that is
        // likely; a text to be cut into tokens is one argument.
        let one_text = self.command.get_name() == "tokenize" && !text.starts_with("--");
        let takes_text = self.command.get_positionals().any(is_text_argument);
        (!self.chosen || takes_text) && (!is_word || one_text)
    }

    fn foreign(
        &mut self,
        name: &str,
        here: &Here,
        attached: Option<String>,
        value: &mut dyn FnMut() -> Option<OsString>,
    ) -> Result<(), Habit> {
        match here {
            Here::Same(ours) => {
                self.push((*ours).into(), false);
                if let Some(value) = attached.map(OsString::from).or_else(value) {
                    self.push(value, false);
                }
                Ok(())
            }
            Here::Tip(tip) => Err(Habit {
                problem: format!("{name} is not an option of lfm2"),
                tip: (*tip).to_owned(),
            }),
        }
    }

    /// The first argument that is no option: a command, a question, or another program's command.
    fn first_word(&mut self, text: String, rest: &[String]) -> Result<(), Habit> {
        if let Some(command) = self.command.find_subcommand(&text) {
            self.command = command;
            self.chosen = true;
            self.push(text.into(), false);
        } else if text.contains(char::is_whitespace) {
            self.begin_question();
            self.push(text.into(), true);
        } else if let Some(tip) = command_for(&text, &plain_words(rest)) {
            return Err(Habit { problem: format!("{text:?} is not a command of lfm2"), tip });
        } else {
            // The parser says so, and which command is like it.
            self.chosen = true;
            self.push(text.into(), false);
        }
        Ok(())
    }

    fn begin_question(&mut self) {
        if let Some(generate) = self.command.find_subcommand("generate") {
            self.command = generate;
            self.chosen = true;
            self.push("generate".into(), false);
        }
    }

    fn finish(self) -> Vec<OsString> {
        let (mut ordered, mut positional) = (Vec::new(), Vec::new());
        for word in self.words {
            let at_end = self.dashed && word.positional;
            if at_end { &mut positional } else { &mut ordered }.push(word.text);
        }
        if self.dashed {
            ordered.push("--".into());
        }
        ordered.extend(positional);
        ordered
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Whether an argument is text, which may begin with a dash.
pub fn is_text_argument(arg: &Arg) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().any(|name| name.contains("TEXT"))
}

/// `-ngl` of `-ngl99` and `-ngl=99`.
fn stem(name: &str) -> &str {
    let stem = name.split('=').next().unwrap_or(name);
    stem.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn foreign(name: &str) -> Option<&'static Here> {
    OPTIONS.iter().find(|(names, _)| names.contains(&name)).map(|(_, here)| here)
}

/// Arguments up to the first option.
fn plain_words(rest: &[String]) -> Vec<String> {
    rest.iter().take_while(|word| !word.starts_with('-')).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Result<Vec<String>, Habit> {
        let mut whole = super::super::command();
        whole.build();
        let args = std::iter::once("lfm2").chain(words.iter().copied()).map(OsString::from);
        let understood = understood(args.collect(), &whole)?;
        Ok(understood.into_iter().skip(1).map(|w| w.into_string().unwrap()).collect())
    }

    fn tip(words: &[&str]) -> String {
        line(words).unwrap_err().tip
    }

    #[test]
    fn what_is_ours_stays_as_it_is() {
        for words in [
            &["generate", "-p", "x", "-qn5", "-m", "dir"][..],
            &["-m", "run", "chat", "--temp", "0"],
            &["tokenize", "--decode", "1,2,3"],
            &["generate", "--promt", "x"],
            &["rm", "-y", "a/b"],
            &["chta"],
            &["help", "generate"],
            &["generate", "-c", "0", "hello", "there"],
        ] {
            assert_eq!(line(words).unwrap(), words);
        }
    }

    #[test]
    fn a_question_needs_no_command() {
        assert_eq!(line(&["what is it?", "-q"]).unwrap(), ["generate", "what is it?", "-q"]);
        let with_model = ["-m", "dir", "generate", "what is it?"];
        assert_eq!(line(&["-m", "dir", "what is it?"]).unwrap(), with_model);
        assert_eq!(line(&["- buy milk"]).unwrap(), ["generate", "--", "- buy milk"]);
    }

    #[test]
    fn text_may_begin_with_a_dash() {
        for text in ["-1", "- buy milk", "---", "-0.5 degrees", "-- x", "--> here"] {
            assert_eq!(line(&["tokenize", text, "-q"]).unwrap(), ["tokenize", "-q", "--", text]);
            assert_eq!(line(&["generate", text]).unwrap(), ["generate", "--", text]);
            assert_eq!(line(&["generate", "-p", text]).unwrap(), ["generate", "-p", text]);
        }
        assert_eq!(line(&["tokenize", "-x"]).unwrap(), ["tokenize", "--", "-x"]);
        // Two words in order, whichever begins with a dash.
        assert_eq!(
            line(&["generate", "a", "-1", "-n", "5"]).unwrap(),
            ["generate", "-n", "5", "--", "a", "-1"]
        );
        assert_eq!(line(&["tokenize", "--", "-v"]).unwrap(), ["tokenize", "--", "-v"]);
    }

    #[test]
    fn options_of_others_are_taken_or_explained() {
        assert_eq!(line(&["chat", "-hf", "a/b"]).unwrap(), ["chat", "--model", "a/b"]);
        assert_eq!(line(&["chat", "--hf-repo=a/b"]).unwrap(), ["chat", "--model", "a/b"]);
        assert_eq!(line(&["generate", "-sys", "-x"]).unwrap(), ["generate", "--system", "-x"]);
        assert_eq!(tip(&["generate", "-ngl", "99", "-p", "x"]), ALWAYS_ON_GPU);
        assert_eq!(tip(&["chat", "--n-gpu-layers=99"]), ALWAYS_ON_GPU);
        assert_eq!(tip(&["generate", "-fa", "on"]), CHOSEN);
        assert_eq!(
            (tip(&["chat", "-ngl99"]), tip(&["chat", "-t=8"])),
            (ALWAYS_ON_GPU.into(), NO_THREADS.into())
        );
        // As one types for llama-cli.
        assert_eq!(line(&["-m", "x", "-p", "hi"]).unwrap(), ["-m", "x", "generate", "-p", "hi"]);
        assert_eq!(
            line(&["--temp", "0", "hi there"]).unwrap(),
            ["generate", "--temp", "0", "hi there"]
        );
        assert_eq!(line(&["bench", "-r", "1"]).unwrap(), ["bench", "-r", "1"]);
        // The value of an option is no option.
        assert!(line(&["generate", "-p", "-ngl"]).is_ok());
        // Each is explained, or becomes one of ours: none goes on to the parser as it is.
        for (names, _) in OPTIONS {
            for name in *names {
                match line(&["generate", name, "x"]) {
                    Ok(words) => {
                        assert!(words.iter().all(|word| word != name), "{name}: {words:?}")
                    }
                    Err(habit) => {
                        assert!(habit.problem.contains(name), "{name}: {}", habit.problem)
                    }
                }
            }
        }
    }

    #[test]
    fn commands_of_others_are_explained() {
        assert_eq!(tip(&["run", "a/b"]), "lfm2 chat -m a/b");
        assert_eq!(tip(&["run", "a/b:Q4_0", "why", "so"]), "lfm2 generate -m a/b:Q4_0 'why so'");
        assert_eq!(tip(&["run"]), format!("lfm2 chat -m {EXAMPLE_MODEL}"));
        assert_eq!(tip(&["run", "LFM2-8B-A1B"]), "lfm2 chat -m LiquidAI/LFM2-8B-A1B-GGUF");
        assert_eq!(tip(&["run", "it's why"]), "lfm2 generate 'it'\\''s why'");
        assert_eq!((tip(&["ls"]), tip(&["models"])), ("lfm2 list".into(), "lfm2 list".into()));
        assert_eq!(tip(&["version"]), "lfm2 --version");
        assert_eq!(tip(&["completion", "zsh"]), "lfm2 completions zsh");
        assert_eq!(tip(&["complete", "this"]), "lfm2 generate this");
        assert!(tip(&["serve", "--port", "1"]).starts_with("lfm2 chat"));
        let mut whole = super::super::command();
        whole.build();
        for known in whole.get_subcommands().map(Command::get_name) {
            assert_eq!(command_for(known, &[]), None, "{known} is our own");
        }
    }
}
