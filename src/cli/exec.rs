//! Tools of `lfm2 chat --exec`: programs that run when the model calls them and the user agrees.

use std::io::{BufRead, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::error::CliError;
use super::input::read_text;
use crate::text::{ToolCall, function_of};

/// Most bytes of a result that the model gets: some 4,000 tokens.
const MOST_BYTES: usize = 16 << 10;
/// Longest time of a program.
const LONGEST: Duration = Duration::from_secs(60);

/// Tools that the model is offered, and their programs.
#[derive(Debug, Default)]
pub struct ToolFile {
    /// The definitions as the template gets them.
    pub tools: Vec<Value>,
    programs: Vec<Program>,
}

/// The program of a tool.
#[derive(Debug)]
struct Program {
    tool: String,
    /// The program, and its arguments. `{name}` in an argument is that argument of the call.
    command: Vec<String>,
}

impl ToolFile {
    /// Reads a list of tools, or an object with a list `tools`. A tool may have a `command`, which the template does not
    /// get.
    ///
    /// # Errors
    /// Names the file, and the tool whose command is not a list of texts.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let wrong = |problem: String| CliError::User(format!("{}: {problem}", path.display()));
        let mut value: Value = serde_json::from_str(&read_text(path)?)
            .map_err(|e| wrong(format!("not valid JSON: {e}")))?;
        let list = match value.get_mut("tools") {
            Some(tools) => tools.take(),
            None => value,
        };
        let Value::Array(mut tools) = list else {
            return Err(wrong(
                "must be a list of tools, or an object with a list \"tools\"".into(),
            ));
        };
        let mut programs = Vec::new();
        for (index, tool) in tools.iter_mut().enumerate() {
            let Value::Object(fields) = tool else {
                return Err(wrong(format!("tools[{index}]: must be an object")));
            };
            let command = fields.shift_remove("command");
            let Some(name) = function_of(tool).get("name").and_then(Value::as_str) else {
                return Err(wrong(format!("tools[{index}]: has no name")));
            };
            let Some(command) = command else { continue };
            let words: Option<Vec<String>> = command
                .as_array()
                .and_then(|all| all.iter().map(|word| word.as_str().map(str::to_owned)).collect());
            let words = words.filter(|words| words.first().is_some_and(|word| !word.is_empty()));
            let need = "must be a list of texts: a program and its arguments";
            let command = words.ok_or_else(|| wrong(format!("tools[{index}].command: {need}")))?;
            programs.push(Program { tool: name.to_owned(), command });
        }
        Ok(Self { tools, programs })
    }

    /// The command that a call runs, if its tool has one.
    pub fn command_of(&self, call: &ToolCall) -> Option<Vec<String>> {
        let program = self.programs.iter().find(|program| program.tool == call.name)?;
        let arguments: Map<String, Value> = serde_json::from_str(&call.arguments).ok()?;
        let (first, rest) = program.command.split_first()?;
        // The program is the file's own text: a call never chooses it.
        let rest = rest.iter().filter_map(|word| filled(word, &arguments));
        Some(std::iter::once(first.clone()).chain(rest).collect())
    }
}

/// A word with the arguments of a call in the places of their names. A word that is only the name of an absent
/// argument is left out.
fn filled(word: &str, arguments: &Map<String, Value>) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (mut out, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        let value = arguments.get(name).filter(|value| !value.is_null());
        if value.is_none() && before.is_empty() && behind.is_empty() && out.is_empty() {
            return None;
        }
        out.push_str(before);
        out.push_str(&value.map(text).unwrap_or_default());
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

/// Shows a command word by word and asks whether it may run. Only `y` and `yes` allow it.
///
/// # Errors
/// Stdin cannot be read.
pub fn may_run(command: &[String]) -> Result<bool, CliError> {
    let shown: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
    eprintln!("It runs: {}", shown.join(" "));
    eprintln!("Allow this once? [y/N]");
    let mut line = String::new();
    let read = std::io::stdin().lock().take(1 << 10).read_line(&mut line);
    read.map_err(|e| CliError::User(format!("stdin: {e}")))?;
    Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

/// Runs a command without a shell, and returns its result for the model: its output, or the reason of its failure.
pub fn run(command: &[String]) -> String {
    let Some((program, arguments)) = command.split_first() else { return String::new() };
    // On Windows, this also finds programs by the endings that PATHEXT lists.
    let found = match which::which(program) {
        Ok(found) => found,
        Err(e) => return format!("error: {program}: {e}"),
    };
    let child = Command::new(found)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => return format!("error: {program}: {e}"),
    };
    let began = Instant::now();
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if began.elapsed() < LONGEST => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let Some(status) = status else {
        return format!("error: {program} took longer than {} s", LONGEST.as_secs());
    };
    let left = || LONGEST.saturating_sub(began.elapsed());
    let (stdout, stderr) = (output(&stdout, left()), output(&stderr, left()));
    if status.success() {
        return stdout;
    }
    format!("{stdout}{stderr}error: {program} ended with {status}")
}

type Reader = Option<mpsc::Receiver<String>>;

/// Reads an output while the program runs. Bytes beyond the limit are read and dropped, so that it never waits.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Reader {
    pipe.map(|mut pipe| {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            let _ = pipe.by_ref().take(MOST_BYTES as u64).read_to_end(&mut kept);
            let dropped = std::io::copy(&mut pipe, &mut std::io::sink()).unwrap_or(0);
            let mut text = String::from_utf8_lossy(&kept).into_owned();
            if dropped > 0 {
                text.push_str(&format!("\n… ({dropped} more bytes)\n"));
            }
            let _ = sender.send(text);
        });
        receiver
    })
}

/// The output of a program that has ended. Another program that it has started may keep the pipe open.
fn output(reader: &Reader, longest: Duration) -> String {
    let read = reader.as_ref().and_then(|reader| reader.recv_timeout(longest).ok());
    read.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str) -> Result<ToolFile, CliError> {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("tools.json");
        std::fs::write(&path, json).unwrap();
        ToolFile::read(&path)
    }

    #[test]
    fn arguments_fill_words_and_never_the_program() {
        let tools = file(
            r#"[{"type": "function", "function": {"name": "f"},
                "command": ["{a}", "--city={city}", "{days}", "{no}", "x{no}y", "{", "{a"]}, {"name": "g"}]"#,
        )
        .unwrap();
        let call = |name: &str, arguments: &str| ToolCall {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        let words =
            tools.command_of(&call("f", r#"{"a": "rm", "city": "a b; {days}", "days": 2}"#));
        let expected = ["{a}", "--city=a b; {days}", "2", "xy", "{", "{a"];
        assert_eq!(words.unwrap(), expected);
        assert_eq!(tools.command_of(&call("g", "{}")), None);
        assert!(tools.tools.iter().all(|tool| tool.get("command").is_none()));
    }

    #[test]
    fn invalid_files_are_named() {
        for json in [
            "",
            "{}",
            "[1]",
            "[{}]",
            r#"[{"name": "f", "command": "ls"}]"#,
            r#"[{"name": "f", "command": []}]"#,
        ] {
            let error = file(json).unwrap_err().to_string();
            assert!(error.contains("tools.json: "), "{json}: {error}");
        }
        assert_eq!(file(r#"{"tools": [{"name": "f"}]}"#).unwrap().tools.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_command_is_run_without_a_shell() {
        let run = |words: &[&str]| run(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(run(&["printf", "%s|", "a b", "$HOME", ";"]), "a b|$HOME|;|");
        assert!(run(&["false"]).contains("error: false ended with"), "{}", run(&["false"]));
        assert!(run(&["no-such-program"]).starts_with("error: no-such-program"));
        let long = run(&["head", "-c", "100000", "/dev/zero"]);
        assert!(long.len() < 20_000 && long.contains("more bytes"));
    }
}
