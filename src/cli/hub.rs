//! Models of the hub: found in the cache, or downloaded after a question.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;

use super::error::CliError;
use super::family::{EXAMPLE_MODEL, hub_name_like};
use super::interrupt::{self, Meaning};
use super::options::Common;
use super::print::quoted;
use super::progress;
use crate::hub::{Cache, Hub, HubError, HubName, Model, Plan, Progress, is_offline};

const BAR: &str =
    "{msg} [{bar:32}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";

/// Whether to ask before a download.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Ask at a terminal; without one, download.
    IfPossible,
    Never,
}

/// The kind of files that a name on the hub is given for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Model,
    /// A LoRA adapter.
    Adapter,
}

impl Kind {
    fn find(self, cache: &Cache, name: &HubName) -> Result<Option<Model>, HubError> {
        match self {
            Self::Model => cache.find(name),
            Self::Adapter => cache.find_adapter(name),
        }
    }

    fn plan(self, hub: &Hub, name: &HubName) -> Result<Plan, HubError> {
        match self {
            Self::Model => hub.plan(name),
            Self::Adapter => hub.plan_adapter(name),
        }
    }
}

/// The folder or file of `--model` or `--lora`: a path if it exists, else a name on the hub.
pub fn resolve(model: &Path, common: &Common, kind: Kind) -> Result<PathBuf, CliError> {
    let there = std::fs::symlink_metadata(model).is_ok();
    let (false, Some(text)) = (there, model.to_str()) else { return Ok(model.to_owned()) };
    // `models/lfm2/x.gguf` with a folder `models` here is a path, perhaps mistyped.
    let mut above = model.ancestors().skip(1).filter(|folder| folder.components().count() == 1);
    if text.matches('/').count() > 1 && above.any(Path::exists) {
        return Ok(model.to_owned());
    }
    let name = match HubName::parse(text) {
        Ok(name) => name,
        // It may be meant as a name; a plain path gets the error of a missing file.
        Err(e) if looks_like_a_name(text) => {
            return Err(CliError::User(format!(
                "no such file or folder; as a name on the hub: {e}"
            )));
        }
        Err(_) => return Ok(model.to_owned()),
    };
    let cache = Cache::from_env()?;
    if let Some(found) = kind.find(&cache, &name)? {
        log::info!("{name}: {}", found.path().display());
        return Ok(found.path().to_owned());
    }
    if !is_offline() && !can_ask() {
        return Err(CliError::User(format!(
            "{text}: no such file or folder, and no downloaded {} has this name: run `lfm2 pull {name}`",
            if kind == Kind::Model { "model" } else { "adapter" }
        )));
    }
    Ok(fetch(cache, &name, common, kind, Ask::IfPossible, false)?.path().to_owned())
}

/// Parses the name of a model on the hub; `before`: the command or option in front of it, for the tip.
pub fn named(text: &str, before: &str) -> Result<HubName, CliError> {
    HubName::parse(text).map_err(|e| match text.contains('/') {
        true => e.into(),
        false => CliError::Advised { problem: e.to_string(), tip: with_owner(text, before) },
    })
}

/// The error for a plain name that is no file: it was probably meant for the hub.
pub fn meant_for_the_hub(model: &Path) -> Option<CliError> {
    let name = model.to_str()?;
    let is_plain = !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with(['.', '~']);
    if !is_plain || std::fs::symlink_metadata(model).is_ok() {
        return None;
    }
    Some(CliError::Advised {
        problem: format!("{name}: no such file or folder"),
        tip: with_owner(name, "-m"),
    })
}

/// The tip for a model's name without its owner.
pub fn with_owner(name: &str, before: &str) -> String {
    match hub_name_like(name) {
        Some(hub) => format!("models on the hub are named owner/repo: {before} {}", quoted(&hub)),
        None => format!("models on the hub are named owner/repo, e.g. {before} {EXAMPLE_MODEL}"),
    }
}

/// Whether a text is more likely a name on the hub than a path: `owner/repo:…`, `owner/repo@…`, an
/// address.
fn looks_like_a_name(text: &str) -> bool {
    let named = text.contains('/') && text.contains([':', '@']);
    HubName::is_address(text) || (named && !text.starts_with(['/', '.', '~']))
}

/// Whether there is a terminal for a question.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Downloads a model after a question, with a progress bar. Ctrl-C ends the program at any time; the
/// next download resumes.
pub fn fetch(
    cache: Cache,
    name: &HubName,
    common: &Common,
    kind: Kind,
    ask: Ask,
    check: bool,
) -> Result<Model, CliError> {
    interrupt::means(Meaning::End);
    let done = fetch_now(cache, name, common, kind, ask, check);
    interrupt::means(Meaning::StopThenEnd);
    done
}

fn fetch_now(
    cache: Cache,
    name: &HubName,
    common: &Common,
    kind: Kind,
    ask: Ask,
    check: bool,
) -> Result<Model, CliError> {
    let hub = Hub::from_env(cache)?;
    let plan = kind.plan(&hub, name)?;
    let commit = plan.commit().get(..8).unwrap_or_default();
    let s = if plan.files() == 1 { "" } else { "s" };
    let what = format!(
        "{name} ({commit}): {} file{s}, {}, {} to download",
        plan.files(),
        DecimalBytes(plan.total()),
        DecimalBytes(plan.missing())
    );
    if plan.missing() > 0 && ask == Ask::IfPossible && can_ask() {
        if !confirm(&format!("{what}. Download?"), true)? {
            return Err(CliError::User(format!("{name}: not downloaded")));
        }
    } else if !common.quiet {
        eprintln!("{what}");
    }
    let bar = progress::bar(common, plan.total(), BAR);
    let quiet_wait = common.quiet || !bar.is_hidden();
    let mut last = String::new();
    let fetched = hub.fetch(&plan, check, &mut |p: Progress<'_>| {
        bar.set_position(p.done);
        let message = match p.waiting {
            Some(why) => format!("{}: {why}", short(p.file)),
            None => short(p.file).to_owned(),
        };
        if message != last {
            bar.set_message(message.clone());
            // Without a bar, only the reason of a delay is printed.
            if p.waiting.is_some() && !quiet_wait {
                eprintln!("{message}");
            }
            last = message;
        }
        true
    });
    bar.finish_and_clear();
    Ok(fetched?)
}

/// The last part of a file's name.
fn short(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// Asks at the terminal. The end of the input means no.
pub fn confirm(question: &str, default: bool) -> Result<bool, CliError> {
    let choices = if default { "[Y/n]" } else { "[y/N]" };
    let mut line = String::new();
    let asked = write!(std::io::stderr(), "{question} {choices} ")
        .and_then(|()| std::io::stdin().lock().read_line(&mut line));
    if asked.map_err(|e| CliError::Internal(format!("terminal: {e}")))? == 0 {
        return Ok(false);
    }
    Ok(match line.trim().to_ascii_lowercase().as_str() {
        "" => default,
        "y" | "yes" => true,
        _ => false,
    })
}
