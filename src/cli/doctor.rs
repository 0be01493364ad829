//! `lfm2 doctor`: whether a model runs on this machine, how fast, and what to type, before anything is
//! downloaded: from a file's header, here or on the hub, or from what is known of the family.

mod model;

use std::path::Path;

use clap::Args;
use indicatif::DecimalBytes;
use serde_json::json;

use super::generate::print;
use super::hub::can_ask;
use super::info::adapter_json;
use super::options::{Common, Limits};
use super::progress::Steps;
use super::selftest::Verdict;
use super::{CliError, selftest, stats};
use crate::engine::DeviceSpeed;
use crate::gpu::{AdapterReport, Caps, Device, GpuError};
use crate::hub::{Cache, HubName, is_offline};
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

/// What is known of the machine.
struct Machine {
    adapter: AdapterReport,
    caps: Caps,
    /// Bytes of GPU memory for the model, where they are known.
    memory: Option<u64>,
    verdict: Verdict,
    speed: DeviceSpeed,
}

impl Machine {
    fn measure(common: &Common, steps: &Steps) -> Result<Self, CliError> {
        let device = pollster::block_on(Device::request(&common.gpu()))?;
        let verdict = match common.skip_selftest {
            true => Verdict::Unknown,
            false => selftest::verdict(&device, steps)?,
        };
        steps.begin("measuring this GPU");
        let speed = pollster::block_on(DeviceSpeed::measure(&device))?;
        let adapter = device.adapter().clone();
        let memory = common.memory.or(adapter.memory);
        Ok(Self { caps: *device.caps(), adapter, memory, verdict, speed })
    }

    fn text(&self) -> String {
        let a = &self.adapter;
        let memory = self.memory.map_or("memory not told by the driver".to_owned(), |bytes| {
            format!("{} of memory", stats::size(bytes))
        });
        let mut text = format!("GPU       {} ({}, {}), {memory}\n", a.name, a.backend, a.kind);
        text += &format!("          driver {}\n", a.driver);
        if a.is_software() {
            text += "          a software adapter: the model runs on the CPU's cores\n";
        }
        text += &format!("check     {}\n", self.verdict);
        let s = &self.speed;
        text + &format!(
            "measured  copies {:.1} GB/s, reads weights at {:.1} GB/s, {:.1} us for each kernel\n",
            s.copy / 1e9,
            s.products / 1e9,
            s.launch * 1e6
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "adapter": adapter_json(&self.adapter),
            "memory": self.memory,
            "selftest": self.verdict.json(),
            "speed": {
                "copy_bytes_per_second": self.speed.copy,
                "weight_bytes_per_second": self.speed.products,
                "seconds_per_kernel": self.speed.launch,
            },
        })
    }
}

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

/// `4.8 GB`.
fn decimal(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}

/// What kernels may use, as the options say.
fn caps(machine: &Machine, common: &Common) -> Caps {
    match common.limits {
        Limits::Adapter => machine.caps,
        Limits::Default => Caps { software: machine.caps.software, ..Caps::core() },
    }
}
