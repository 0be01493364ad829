//! What clap's derive cannot say of the parser: flags in the environment, and that the command line
//! goes before the environment.

use std::ffi::OsString;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Id};

use super::Cli;
use super::habits::{self, Habit};

/// Why a command line is not understood, or that it asks for help.
pub enum Misread {
    /// It has another program's options or commands.
    Habit(Habit),
    /// The parser's own, among them the help.
    Parser(clap::Error),
}

/// The parser, also for the generated option reference.
#[must_use]
pub fn command() -> Command {
    flags(Cli::command())
}

/// The one-line form of a parser's error, and its tip.
pub fn in_lines(e: &clap::Error) -> Habit {
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (e.kind(), e.get(ContextKind::InvalidSubcommand))
    {
        let like = match e.get(ContextKind::SuggestedSubcommand) {
            Some(ContextValue::Strings(like)) => like.first(),
            _ => None,
        };
        let mut habit = habits::no_command(word);
        if let Some(like) = like {
            habit.tip = format!("lfm2 {like}; {}", habit.tip);
        }
        return habit;
    }
    let message = e.to_string();
    let lines = message.lines().map(str::trim).take_while(|l| !l.starts_with("Usage:"));
    let (tips, rest): (Vec<_>, Vec<_>) = lines
        .filter(|l| !l.is_empty() && !l.starts_with("For more"))
        .partition(|l| l.starts_with("tip:"));
    let problem = rest.join(" ");
    let problem = problem.trim_start_matches("error: ").to_owned();
    let tip = match tips.first() {
        Some(tip) => tip.trim_start_matches("tip:").trim().to_owned(),
        None => "--help shows all options".to_owned(),
    };
    Habit { problem, tip }
}

/// Parses a command line and the environment.
///
/// An empty variable is none. A variable whose option excludes one that is given on the command
/// line is left out; clap would call the two a conflict.
///
/// # Errors
/// See [`Misread`].
pub fn parse(args: Vec<OsString>) -> Result<Cli, Misread> {
    let mut whole = command();
    whole.build();
    let args = habits::understood(args, &whole).map_err(Misread::Habit)?;
    read(args).map_err(Misread::Parser)
}

fn read(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut outvoted = Vec::new();
    let silent = each_arg(command(), &|arg| arg.env(Resettable::Reset)).ignore_errors(true);
    if let Ok(matches) = silent.try_get_matches_from(&args) {
        let mut whole = command();
        whole.build();
        match matches.subcommand().and_then(|(name, m)| Some((whole.find_subcommand(name)?, m))) {
            Some((subcommand, matches)) => outvoted = excluded(subcommand, matches),
            None => outvoted = excluded(&whole, &matches),
        }
    }
    let heard = each_arg(command(), &|arg| {
        let empty =
            arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
        if empty || outvoted.contains(arg.get_id()) { arg.env(Resettable::Reset) } else { arg }
    });
    let matches = heard.try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

/// Flags take `1`, `yes`, `on` and the like from their variables; text may begin with a dash.
fn flags(command: Command) -> Command {
    each_arg(command, &|arg| match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ if habits::is_text_argument(&arg) && !arg.is_positional() => {
            arg.allow_hyphen_values(true)
        }
        _ => arg,
    })
}

fn each_arg(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command.mut_args(change).mut_subcommands(|c| each_arg(c, change))
}

/// Arguments that those given on the command line exclude, and that are not given there.
fn excluded(command: &Command, matches: &ArgMatches) -> Vec<Id> {
    let given = |id: &Id| {
        let known = matches.try_contains_id(id.as_str()).is_ok();
        known && matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
    };
    let mut pairs: Vec<(Id, Id)> = Vec::new();
    for arg in command.get_arguments() {
        for other in command.get_arg_conflicts_with(arg) {
            pairs.push((arg.get_id().clone(), other.get_id().clone()));
        }
    }
    for group in command.get_groups().filter(|g| !(*g).clone().is_multiple()) {
        let members: Vec<_> = group.get_args().cloned().collect();
        pairs.extend(members.iter().flat_map(|a| members.iter().map(|b| (a.clone(), b.clone()))));
    }
    // A question and a file are joined where both are meant; one of them may be left over from the
    // environment.
    let text = |name: &str| command.get_arguments().find(|a| a.get_id() == name);
    if let (Some(file), Some(prompt)) = (text("file"), text("prompt")) {
        pairs.push((file.get_id().clone(), prompt.get_id().clone()));
        pairs.extend(text("words").map(|words| (words.get_id().clone(), file.get_id().clone())));
    }
    let both_ways = pairs.into_iter().flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]);
    both_ways.filter(|(a, b)| given(a) && !given(b)).map(|(_, b)| b).collect()
}
