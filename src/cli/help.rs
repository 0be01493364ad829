//! The shape of help texts. `-h` lists the common options, `--help` all of the command's own,
//! `lfm2 help engine` the engine's options, which every command accepts.

use clap::{Arg, Command};

/// Help topic with the options of the engine: a hidden command, so that `lfm2 help` finds it.
const ENGINE_TOPIC: &str = "engine";

const MODEL: &str = "model";
const ENGINE: [&str; 13] = [
    "context",
    "memory",
    "weights",
    "kv",
    "adapter",
    "limits",
    "activations",
    "multiply",
    "reproducible",
    "chat_template",
    "lora",
    "lora_scale",
    "skip_selftest",
];
/// Options that `-h` leaves out.
const UNCOMMON: [&str; 28] = [
    "raw",
    "token_ids",
    "tool_calls",
    "no_history",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "sampling",
    "stop",
    "json_schema",
    "grammar",
    "no_api_key",
    "cors",
    "alias",
    "lenient",
    "log_format",
    "profile",
    "concurrency",
    "request_rate",
    "requests",
    "shared_prefix",
    "load_seed",
    "served_model",
    "load_key",
    "version",
];

/// Commands that `-h` leaves out: they do not fit on a screen.
const UNCOMMON_COMMANDS: [&str; 1] = ["completions"];

/// Options with an effect on this command, among those that every command accepts.
fn used_options(command: &str) -> Vec<&'static str> {
    let engine = |except: &[&str]| {
        let used = ENGINE.into_iter().filter(|id| !except.contains(id));
        std::iter::once(MODEL).chain(used).collect()
    };
    match command {
        "list" | "rm" | "pull" | "completions" => Vec::new(),
        "selftest" => vec!["adapter", "limits"],
        "quantize" => vec![MODEL, "weights"],
        "merge" => vec![MODEL, "weights", "lora", "lora_scale"],
        "tokenize" => vec![MODEL, "chat_template"],
        "info" => engine(&["chat_template", "lora", "lora_scale", "skip_selftest"]),
        "doctor" => engine(&["chat_template", "activations", "multiply", "lora", "lora_scale"]),
        "verify" => engine(&["chat_template", "lora", "lora_scale"]),
        "bench" | "logits" | "perplexity" => engine(&["chat_template"]),
        _ => engine(&[]),
    }
}

/// Builds a command with the help texts of `-h` or of `--help`.
pub fn shaped(whole: Command, long: bool) -> Command {
    // Before `build`, which decides by the descriptions of values whether `--help` has a layout of its
    // own, with several lines for each option.
    let mut whole = without_values(whole);
    whole.build();
    let whole = whole.mut_args(|arg| {
        let id = arg.get_id().as_str();
        let hidden = ENGINE.contains(&id) || (!long && [MODEL, "quiet", "verbose"].contains(&id));
        shaped_arg(arg, long).hide(hidden)
    });
    let whole = with_notes(whole, long, None);
    whole.mut_subcommands(|command| match command.get_name() {
        "help" => command.about("Help of a command; `lfm2 help engine` lists the engine's options"),
        ENGINE_TOPIC => topic(command),
        _ => shaped_command(command, long),
    })
}

/// The engine's options alone.
fn topic(command: Command) -> Command {
    command.mut_args(|arg| {
        let is_shown = ENGINE.contains(&arg.get_id().as_str());
        shaped_arg(arg, true).help_heading("Engine options").hide(!is_shown)
    })
}

/// The text of the topic.
pub fn engine_topic(mut whole: Command) -> String {
    let topic = whole.find_subcommand_mut(ENGINE_TOPIC);
    topic.map(|topic| topic.render_help().to_string()).unwrap_or_default()
}

fn shaped_command(command: Command, long: bool) -> Command {
    let used = used_options(command.get_name());
    let command = command.mut_args(|arg| {
        let id = arg.get_id().as_str();
        let is_unused = id == MODEL && !used.contains(&id);
        let is_left_out = id == "version" || (!long && UNCOMMON.contains(&id));
        let hidden = arg.is_hide_set() || is_unused || is_left_out || ENGINE.contains(&id);
        shaped_arg(arg, long).hide(hidden)
    });
    let command = match UNCOMMON_COMMANDS.contains(&command.get_name()) {
        true => command.hide(!long),
        false => command,
    };
    with_notes(command, long, engine_note(&used))
}

/// The line about engine options, if the command uses any.
fn engine_note(used: &[&str]) -> Option<String> {
    let names = |ids: &[&str]| {
        let names = ids.iter().map(|id| format!("--{}", id.replace('_', "-")));
        names.collect::<Vec<_>>().join(", ")
    };
    let (with, without): (Vec<_>, Vec<_>) = ENGINE.iter().partition(|id| used.contains(id));
    Some(match (with.len(), without.len()) {
        (0, _) => return None,
        (_, 0) => "Engine options: `lfm2 help engine`".to_owned(),
        (1..=3, _) => format!("Engine options: {} (`lfm2 help engine`)", names(&with)),
        _ => format!("Engine options: `lfm2 help engine`, except {}", names(&without)),
    })
}

/// Lines after the options: `note`, then the command's own notes, which only `--help` shows.
fn with_notes(command: Command, long: bool, note: Option<String>) -> Command {
    let own = command.get_after_help().map(ToString::to_string);
    let more = (!long).then(|| "All options: --help".to_owned());
    let line: Vec<_> = note.into_iter().chain(more).collect();
    let parts = [line.join(". "), own.filter(|_| long).unwrap_or_default()];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { command } else { command.after_help(parts.join("\n\n")) }
}

/// Leaves out the lists of values that the options' descriptions explain.
fn without_values(command: Command) -> Command {
    let without = |arg: Arg| {
        let explained = arg.get_possible_values().iter().any(|value| value.get_help().is_some());
        arg.hide_possible_values(explained)
    };
    command.mut_args(without).mut_subcommands(without_values)
}

/// Leaves out variables that follow from the option's name.
fn shaped_arg(arg: Arg, long: bool) -> Arg {
    let variable_is_known = arg.get_long().is_some();
    let arg = match arg.get_id().as_str() {
        "help" => arg.help("Print help: -h the common options, --help all options"),
        _ => arg,
    };
    arg.hide_env(!long || variable_is_known)
}
