//! Compatibility with the command lines of llama.cpp, ollama and others; prompts without a command;
//! text that begins with a dash.
//!
//! An option that exists here under another name is translated. For all others, a tip names the
//! equivalent. Text with a space is a prompt; a single word is not, since it may be a mistyped command.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

mod options;
mod words;

use super::error::UsageError;
use super::print::quoted;
use options::{Equivalent, foreign};
pub use words::no_command;
use words::{command_for, no_words, plain_words};

/// One argument.
struct Word {
    text: OsString,
    /// Neither an option, nor an option's value, nor a command.
    positional: bool,
}

/// Translates a command line into one for our parser.
///
/// # Errors
/// An option or a command of another program, with a tip.
pub fn translated(args: Vec<OsString>, whole: &Command) -> Result<Vec<OsString>, UsageError> {
    let mut reader =
        Reader { command: whole, chosen: false, words: Vec::new(), before: 0, dashed: false };
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
        } else {
            let rest: Vec<String> = args.clone().filter_map(|a| a.into_string().ok()).collect();
            if reader.chosen || !whole.has_subcommands() {
                reader.word(&text, &rest)?;
                reader.push(arg, true);
            } else {
                reader.first_word(text, &rest)?;
            }
        }
    }
    Ok(program.into_iter().chain(reader.finish()).collect())
}

struct Reader<'a> {
    command: &'a Command,
    /// Whether the command is known.
    chosen: bool,
    words: Vec<Word>,
    /// Words in front of the command.
    before: usize,
    /// Whether a positional argument begins with a dash.
    dashed: bool,
}

impl<'a> Reader<'a> {
    fn push(&mut self, text: OsString, positional: bool) {
        self.words.push(Word { text, positional });
    }

    /// An argument that begins with a dash.
    fn option(
        &mut self,
        text: String,
        value: &mut dyn FnMut() -> Option<OsString>,
    ) -> Result<(), UsageError> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (text.as_str(), None),
        };
        // `llama-cli -m FILE -p TEXT`: an option of `generate` selects that command.
        if !self.chosen && self.own(name).is_none() && self.is_of_generate(name) {
            self.begin_prompt();
        }
        let own = self.own(name);
        let takes_next = match own {
            Some(own) => takes_value(own) && attached.is_none(),
            None => {
                if let Some(equivalent) = foreign(name).or_else(|| foreign(stem(name))) {
                    return self.foreign(name, equivalent, attached, value);
                }
                match self.cluster(name) {
                    Some(takes_next) => takes_next,
                    None if self.is_text(&text) => {
                        if !self.chosen {
                            self.begin_prompt();
                        }
                        self.dashed = true;
                        self.push(text.into(), true);
                        return Ok(());
                    }
                    // The parser reports the error.
                    None => false,
                }
            }
        };
        self.push(text.clone().into(), false);
        if takes_next && let Some(next) = value() {
            if let (Some(own), Some(next)) = (own, next.to_str())
                && self.is_misread(own, next)
            {
                return Err(UsageError {
                    problem: format!("{text}: its value {next:?} begins with a dash"),
                    tip: format!("if that is meant: {}", quoted(&format!("{text}={next}"))),
                });
            }
            self.push(next, false);
        }
        Ok(())
    }

    /// Whether the parser would read an option's value as an unknown option.
    fn is_misread(&self, own: &Arg, value: &str) -> bool {
        let dashed = value.len() > 1 && value.starts_with('-') && value != "--";
        let taken = own.is_allow_hyphen_values_set()
            || (own.is_allow_negative_numbers_set() && value.parse::<f64>().is_ok());
        let name = value.split('=').next().unwrap_or(value);
        dashed && !taken && self.own(name).is_none() && self.cluster(name).is_none()
    }

    /// A positional argument after the command.
    fn word(&self, text: &str, rest: &[String]) -> Result<(), UsageError> {
        let command = self.command;
        if command.has_subcommands() || command.get_positionals().next().is_some() {
            return Ok(());
        }
        let words = [&[text.to_owned()], &*plain_words(rest)].concat();
        no_words(command.get_name(), &words).map_or(Ok(()), Err)
    }

    /// Our option with exactly this name.
    fn own(&self, name: &str) -> Option<&'a Arg> {
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
        self.command.get_arguments().find(is_it)
    }

    fn is_of_generate(&self, name: &str) -> bool {
        let generate = self.command.find_subcommand("generate");
        generate.is_some_and(|command| {
            Reader { command, words: Vec::new(), ..*self }.own(name).is_some()
        })
    }

    /// For several short options in one argument (`-qn5`), all ours: whether the last one's value is the
    /// next argument.
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

    /// Whether an argument that is no option of ours must be text.
    fn is_text(&self, text: &str) -> bool {
        let body = text.trim_start_matches('-');
        let is_word = body.starts_with(char::is_alphabetic) && !body.contains(char::is_whitespace);
        // A word with a dash may be a mistyped option. The text of `tokenize` is one argument, so there
        // it is text.
        let one_text = self.command.get_name() == "tokenize" && !text.starts_with("--");
        let takes_text = self.command.get_positionals().any(is_text_argument);
        (!self.chosen || takes_text) && (!is_word || one_text)
    }

    fn foreign(
        &mut self,
        name: &str,
        equivalent: &Equivalent,
        attached: Option<String>,
        value: &mut dyn FnMut() -> Option<OsString>,
    ) -> Result<(), UsageError> {
        match equivalent {
            Equivalent::Same(ours) => {
                self.push((*ours).into(), false);
                if let Some(value) = attached.map(OsString::from).or_else(value) {
                    self.push(value, false);
                }
                Ok(())
            }
            Equivalent::Tip(tip) => Err(UsageError {
                problem: format!("{name} is not an option of lfm2"),
                tip: (*tip).to_owned(),
            }),
        }
    }

    /// The first positional argument: a command, a prompt, or another program's command.
    fn first_word(&mut self, text: String, rest: &[String]) -> Result<(), UsageError> {
        if let Some(command) = self.command.find_subcommand(&text) {
            self.choose(command, text);
        } else if text.contains(char::is_whitespace) {
            self.begin_prompt();
            self.push(text.into(), true);
        } else if let Some(tip) = command_for(&text, &plain_words(rest)) {
            return Err(UsageError { problem: format!("{text:?} is not a command of lfm2"), tip });
        } else {
            // The parser reports it with a similar command.
            self.chosen = true;
            self.push(text.into(), false);
        }
        Ok(())
    }

    fn begin_prompt(&mut self) {
        if let Some(generate) = self.command.find_subcommand("generate") {
            self.choose(generate, "generate".to_owned());
        }
    }

    fn choose(&mut self, command: &'a Command, name: String) {
        self.command = command;
        self.chosen = true;
        self.before = self.words.len();
        self.push(name.into(), false);
    }

    /// Moves options that may be repeated from the front of the command behind it. The parser would forget them
    /// if others follow the command.
    fn gather(&mut self) {
        let mut behind = self.words.split_off(self.before).into_iter();
        let (mut kept, mut moved) = (Vec::new(), Vec::new());
        let mut words = std::mem::take(&mut self.words).into_iter();
        while let Some(word) = words.next() {
            let text = word.text.to_string_lossy().into_owned();
            let own = self.own(text.split('=').next().unwrap_or_default());
            let repeats = own.is_some_and(|arg| matches!(arg.get_action(), ArgAction::Append));
            let words_of = if repeats { &mut moved } else { &mut kept };
            words_of.push(word);
            if own.is_some_and(takes_value) && !text.contains('=') {
                words_of.extend(words.next());
            }
        }
        self.words = kept.into_iter().chain(behind.next()).chain(moved).chain(behind).collect();
    }

    fn finish(mut self) -> Vec<OsString> {
        self.gather();
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

/// Whether an argument's value is text, which may begin with a dash.
pub fn is_text_argument(arg: &Arg) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().any(|name| name.contains("TEXT"))
}

/// `-ngl` of `-ngl99` and `-ngl=99`.
fn stem(name: &str) -> &str {
    let stem = name.split('=').next().unwrap_or(name);
    stem.trim_end_matches(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::options::*;
    use super::*;
    use crate::cli::family::EXAMPLE_MODEL;

    fn line(words: &[&str]) -> Result<Vec<String>, UsageError> {
        let whole = crate::cli::command();
        let args = std::iter::once("lfm2").chain(words.iter().copied()).map(OsString::from);
        let translated = translated(args.collect(), &whole)?;
        Ok(translated.into_iter().skip(1).map(|w| w.into_string().unwrap()).collect())
    }

    fn tip(words: &[&str]) -> String {
        line(words).unwrap_err().tip
    }

    #[test]
    fn our_own_command_lines_stay_unchanged() {
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
    fn a_prompt_needs_no_command() {
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
        // The order of words is kept.
        assert_eq!(
            line(&["generate", "a", "-1", "-n", "5"]).unwrap(),
            ["generate", "-n", "5", "--", "a", "-1"]
        );
        assert_eq!(line(&["tokenize", "--", "-v"]).unwrap(), ["tokenize", "--", "-v"]);
    }

    #[test]
    fn options_of_other_programs_are_translated_or_explained() {
        assert_eq!(line(&["chat", "-hf", "a/b"]).unwrap(), ["chat", "--model", "a/b"]);
        assert_eq!(line(&["chat", "--hf-repo=a/b"]).unwrap(), ["chat", "--model", "a/b"]);
        assert_eq!(line(&["generate", "-sys", "-x"]).unwrap(), ["generate", "--system", "-x"]);
        assert_eq!(tip(&["generate", "-ngl", "99", "-p", "x"]), ALWAYS_ON_GPU);
        assert_eq!(tip(&["chat", "--n-gpu-layers=99"]), ALWAYS_ON_GPU);
        assert_eq!(tip(&["chat", "--lora-scaled", "a.gguf", "0.5"]), LORA);
        assert_eq!(line(&["chat", "--adapter-path", "a"]).unwrap(), ["chat", "--lora", "a"]);
        assert_eq!(tip(&["generate", "-fa", "on"]), CHOSEN);
        assert_eq!(
            (tip(&["chat", "-ngl99"]), tip(&["chat", "-t=8"])),
            (ALWAYS_ON_GPU.into(), NO_THREADS.into())
        );
        // Command lines of llama-cli.
        assert_eq!(line(&["-m", "x", "-p", "hi"]).unwrap(), ["-m", "x", "generate", "-p", "hi"]);
        assert_eq!(
            line(&["--temp", "0", "hi there"]).unwrap(),
            ["generate", "--temp", "0", "hi there"]
        );
        assert_eq!(line(&["bench", "-r", "1"]).unwrap(), ["bench", "-r", "1"]);
        // Repeated options come behind the command.
        let around = ["-q", "--lora", "a", "-m", "x", "--lora=b", "chat", "--lora", "c"];
        let behind = ["-q", "-m", "x", "chat", "--lora", "a", "--lora=b", "--lora", "c"];
        assert_eq!(line(&around).unwrap(), behind);
        // A value is not read as an option.
        assert!(line(&["generate", "-p", "-ngl"]).is_ok());
        // Each one is explained or translated; none reaches the parser unchanged.
        for (names, _) in OPTIONS {
            for name in *names {
                match line(&["generate", name, "x"]) {
                    Ok(words) => {
                        assert!(words.iter().all(|word| word != name), "{name}: {words:?}")
                    }
                    Err(e) => {
                        assert!(e.problem.contains(name), "{name}: {}", e.problem)
                    }
                }
            }
        }
    }

    #[test]
    fn commands_of_other_programs_are_explained() {
        assert_eq!(tip(&["run", "a/b"]), "lfm2 chat -m a/b");
        assert_eq!(tip(&["run", "a/b:Q4_0", "why", "so"]), "lfm2 generate -m a/b:Q4_0 'why so'");
        assert_eq!(tip(&["run"]), format!("lfm2 chat -m {EXAMPLE_MODEL}"));
        assert_eq!(tip(&["run", "LFM2-8B-A1B"]), "lfm2 chat -m LiquidAI/LFM2-8B-A1B-GGUF");
        assert_eq!(tip(&["run", "it's why"]), "lfm2 generate 'it'\\''s why'");
        assert_eq!((tip(&["ls"]), tip(&["models"])), ("lfm2 list".into(), "lfm2 list".into()));
        assert_eq!(tip(&["version"]), "lfm2 --version");
        // Words after a command without positional arguments.
        let both = |text: &str| {
            format!(
                "lfm2 chat -p {text} starts with this message, lfm2 generate {text} only answers it"
            )
        };
        assert_eq!(tip(&["chat", "Hi there"]), both("'Hi there'"));
        assert_eq!(tip(&["chat", "-q", "Hi", "there", "--temp", "0"]), both("'Hi there'"));
        assert_eq!(tip(&["chat", "LFM2-8B-A1B"]), "lfm2 chat -m LiquidAI/LFM2-8B-A1B-GGUF");
        assert_eq!(tip(&["chat", "a/b:Q4_0", "why so"]), "lfm2 chat -m a/b:Q4_0 -p 'why so'");
        assert_eq!(tip(&["info", "x.gguf"]), "lfm2 info -m x.gguf");
        assert_eq!(tip(&["bench", "-r", "1", "a/b"]), "lfm2 bench -m a/b");
        // Values with a dash.
        assert_eq!(tip(&["tokenize", "--chat", "-x.json"]), "if that is meant: --chat=-x.json");
        assert_eq!(tip(&["chat", "-m", "- a.gguf"]), "if that is meant: '-m=- a.gguf'");
        assert_eq!(tip(&["info", "--adapter", "-1"]), "if that is meant: --adapter=-1");
        for fine in [&["info", "-c", "-1"][..], &["chat", "-p", "-x"], &["generate", "-f", "-"]] {
            assert_eq!(line(fine).unwrap(), fine);
        }
        // A missing value.
        assert!(line(&["tokenize", "--chat", "--decode"]).is_ok());
        assert!(line(&["tokenize", "--chat", "-qv"]).is_ok());
        let words = ["is".to_owned(), "webgpu".to_owned(), "-q".to_owned()];
        let ask = "to ask the model: lfm2 generate 'what is webgpu'";
        assert_eq!(no_command("what", &words, None).tip, ask);
        let similar = format!("{ask}; similar command: lfm2 chat");
        assert_eq!(no_command("what", &words, Some("chat")).tip, similar);
        assert!(no_command("chta", &[], Some("chat")).tip.starts_with("lfm2 chat; "));
        assert_eq!(tip(&["completion", "zsh"]), "lfm2 completions zsh");
        assert_eq!(tip(&["complete", "this"]), "lfm2 generate this");
        assert_eq!(line(&["serve", "--port", "1"]).unwrap(), ["serve", "--port", "1"]);
        assert_eq!(line(&["serve", "-np", "4"]).unwrap(), ["serve", "--parallel", "4"]);
        assert_eq!(tip(&["chat", "--port", "1"]), SERVER);
        let whole = crate::cli::command();
        for known in whole.get_subcommands().map(Command::get_name) {
            assert_eq!(command_for(known, &[]), None, "{known} is our own");
        }
    }
}
