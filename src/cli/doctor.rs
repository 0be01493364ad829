//! `lfm2 doctor`: whether a model runs on this machine, how fast, and what to type, before anything is
//! downloaded: from a file's header, here or on the hub, or from what is known of the family.

mod machine;
mod model;

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::error::CliError;
use super::hub::can_ask;
use super::options::Common;
use super::print::print;
use super::progress::Steps;
use crate::gpu::GpuError;
use crate::hub::{Cache, HubName, is_offline};
use machine::Machine;
use model::{Outlook, Subject};

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Doctor {
    /// Model: a folder, a file or a name on the hub. Default: that of -m, else the built-in model and
    /// LFM2.5-8B-A1B
    #[arg(value_name = "PATH|NAME", env = "LFM2_NAME")]
    name: Option<String>,
    /// Print everything as JSON
    #[arg(long, env = "LFM2_JSON")]
    json: bool,
}

const NOTES: &str = "\
Nothing is downloaded but headers; without a network, LFM2's and LFM2.5's own sizes are known. The \
speed is an estimate from a measurement of a second: the true one is most likely between the two.

Examples:
  lfm2 doctor
  lfm2 doctor LiquidAI/LFM2.5-1.2B-Instruct-GGUF:Q8_0 --context 32768
  lfm2 doctor model.gguf --memory 6G --json";

impl Doctor {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let named = match (&self.name, &common.model) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(path)) => Some(path.to_string_lossy().into_owned()),
            (None, None) => None,
        };
        let steps = Steps::new(common, "looking at the model");
        // Before the GPU is measured: a wrong name is told at once.
        let subjects = match &named {
            Some(name) => vec![Subject::find(name)?],
            None => Subject::built_in()?.into_iter().chain([Subject::example()?]).collect(),
        };
        steps.begin("opening the GPU");
        let machine = match Machine::measure(common, &steps) {
            Err(CliError::Engine(crate::Error::Gpu(e @ GpuError::NoAdapter { .. }))) => {
                drop(steps);
                // What of the models needs no GPU is told all the same.
                print(&subjects.iter().map(Subject::text).collect::<String>())?;
                return Err(e.into());
            }
            machine => machine?,
        };
        drop(steps);
        let outlooks: Vec<_> =
            subjects.iter().map(|subject| Outlook::of(subject, &machine, common)).collect();
        if self.json {
            let models: Vec<_> = outlooks.iter().map(Outlook::json).collect();
            let mut all = machine.json();
            all["version"] = json!(env!("CARGO_PKG_VERSION"));
            all["models"] = json!(models);
            return print(&format!("{all}\n"));
        }
        print(&(machine.text() + &outlooks.iter().map(Outlook::text).collect::<String>()))
    }
}

/// Says in one line whether a model of the hub that is not here yet would run, before it is asked
/// whether to download it. Says nothing where nobody can be asked, or nothing is known.
pub fn before_download(model: &Path, common: &Common) {
    let there = std::fs::symlink_metadata(model).is_ok();
    let name = model.to_str().and_then(|text| HubName::parse(text).ok());
    let (Some(name), false, true, false) = (name, there || common.quiet, can_ask(), is_offline())
    else {
        return;
    };
    if !matches!(Cache::from_env().map(|cache| cache.find(&name)), Ok(Ok(None))) {
        return;
    }
    let Some(subject) = Subject::known(&name, "") else { return };
    let steps = Steps::new(common, "opening the GPU");
    let machine = Machine::measure(common, &steps);
    drop(steps);
    match machine {
        Ok(machine) => eprintln!("{}", Outlook::of(&subject, &machine, common).line()),
        // It is told again, as the error that ends the program.
        Err(e) => log::info!("{e}"),
    }
}
