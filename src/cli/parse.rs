//! Parsing beyond clap's derive: flags in environment variables, and precedence of the command line over
//! the environment.

use std::ffi::OsString;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Id, Parser};

use super::error::UsageError;
use super::{compat, help};

/// A command line without a command to run.
pub enum Misread {
    /// Options or commands of another program.
    Usage(UsageError),
    /// An error of the parser, or the help.
    Parser(clap::Error),
}

/// The parser, its subcommands with the options that every command accepts.
pub fn command<C: CommandFactory>() -> Command {
    let mut whole = flags(C::command());
    whole.build();
    whole
}

/// The parser with the help texts of `-h` or of `--help`.
pub fn command_with_help<C: CommandFactory>(is_long: bool) -> Command {
    help::shaped(flags(C::command()), is_long)
}

/// A parser's error about these arguments, in one line and a tip.
pub fn in_lines(e: &clap::Error, args: &[OsString]) -> UsageError {
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (e.kind(), e.get(ContextKind::InvalidSubcommand))
    {
        let like = match e.get(ContextKind::SuggestedSubcommand) {
            Some(ContextValue::Strings(like)) => like.first(),
            _ => None,
        };
        let from = args.iter().position(|arg| arg == word.as_str()).unwrap_or(args.len());
        let rest: Vec<String> =
            args.iter().skip(from + 1).map_while(|arg| arg.to_str().map(str::to_owned)).collect();
        return compat::no_command(word, &rest, like.map(String::as_str));
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
    UsageError { problem, tip }
}

/// Parses a command line and the environment.
///
/// An empty variable counts as unset. A variable is ignored if its option conflicts with one on the
/// command line; clap would report the conflict.
///
/// # Errors
/// See [`Misread`].
pub fn parse<C: Parser>(args: Vec<OsString>) -> Result<C, Misread> {
    let args = compat::translated(args, &command::<C>()).map_err(Misread::Usage)?;
    read(args).map_err(Misread::Parser)
}

fn read<C: Parser>(args: Vec<OsString>) -> Result<C, clap::Error> {
    let mut outvoted = Vec::new();
    let silent = each_arg(command::<C>(), &|arg| arg.env(Resettable::Reset)).ignore_errors(true);
    if let Ok(matches) = silent.try_get_matches_from(&args) {
        let whole = command::<C>();
        match matches.subcommand().and_then(|(name, m)| Some((whole.find_subcommand(name)?, m))) {
            Some((subcommand, matches)) => outvoted = excluded(subcommand, matches),
            None => outvoted = excluded(&whole, &matches),
        }
    }
    // `lfm2 help COMMAND` prints the long help.
    let is_long = args.iter().any(|arg| arg == "--help" || arg == "help");
    let heard = each_arg(command_with_help::<C>(is_long), &|arg| {
        let empty =
            arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
        if empty || outvoted.contains(arg.get_id()) { arg.env(Resettable::Reset) } else { arg }
    });
    let matches = heard.try_get_matches_from(args)?;
    C::from_arg_matches(&matches)
}

/// Lets flags accept `1`, `yes`, `on` and the like from their variables, and text begin with a dash.
fn flags(command: Command) -> Command {
    each_arg(command, &|arg| match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ if compat::is_text_argument(&arg) && !arg.is_positional() => {
            arg.allow_hyphen_values(true)
        }
        _ => arg,
    })
}

fn each_arg(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command.mut_args(change).mut_subcommands(|c| each_arg(c, change))
}

/// Arguments that are not on the command line and conflict with one that is.
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
    // A prompt and a file are joined if both are on the command line; otherwise the one from the
    // environment is ignored.
    let text = |name: &str| command.get_arguments().find(|a| a.get_id() == name);
    if let (Some(file), Some(prompt)) = (text("file"), text("prompt")) {
        pairs.push((file.get_id().clone(), prompt.get_id().clone()));
        pairs.extend(text("words").map(|words| (words.get_id().clone(), file.get_id().clone())));
    }
    let both_ways = pairs.into_iter().flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]);
    both_ways.filter(|(a, b)| given(a) && !given(b)).map(|(_, b)| b).collect()
}
