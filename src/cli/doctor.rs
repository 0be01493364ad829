//! `lfm2 doctor`: reports whether a model fits this machine, an estimate of its speed, and the command
//! to run it. It downloads only headers; published models are known by their names.

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
    /// Folder, file or name on the hub. Default: the model of -m; without it, the built-in model and
    /// LFM2.5-8B-A1B
    #[arg(value_name = "PATH|NAME", env = "LFM2_NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long, env = "LFM2_JSON")]
    json: bool,
}

const NOTES: &str = "\
Prints the memory plan, a range of the expected speed, and the command to run the model. The speed is \
estimated from a measurement of one second. Only headers of files are downloaded. The sizes of LFM2 and \
LFM2.5 models are built in, for use without a network.

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
        let steps = Steps::new(common, "reading the model's headers");
        // Before the GPU is measured, so that a wrong name fails at once.
        let subjects = match &named {
            Some(name) => vec![Subject::find(name)?],
            None => Subject::built_in()?.into_iter().chain([Subject::example()?]).collect(),
        };
        steps.begin("opening the GPU");
        let machine = match Machine::measure(common, &steps) {
            Err(CliError::Engine(crate::Error::Gpu(e @ GpuError::NoAdapter { .. }))) => {
                drop(steps);
                // Facts about the models that need no GPU.
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

/// Prints one line about a model of the hub that is not in the cache: whether it fits. The question
/// about the download follows. Prints nothing without a terminal or for an unknown model.
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
        // The same error ends the program later.
        Err(e) => log::info!("{e}"),
    }
}
