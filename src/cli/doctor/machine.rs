//! The machine: its GPU, whether it computes correctly, and its speed.

use serde_json::json;

use super::super::adapter_json::adapter_json;
use super::super::error::CliError;
use super::super::options::{Common, Limits};
use super::super::progress::Steps;
use super::super::selftest::{self, Verdict};
use super::super::stats;
use crate::engine::DeviceSpeed;
use crate::gpu::{AdapterReport, Caps, Device};

/// Facts about the machine.
pub struct Machine {
    pub adapter: AdapterReport,
    pub caps: Caps,
    /// GPU memory for the model in bytes, if known.
    pub memory: Option<u64>,
    pub verdict: Verdict,
    pub speed: DeviceSpeed,
}

impl Machine {
    pub fn measure(common: &Common, steps: &Steps) -> Result<Self, CliError> {
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

    pub fn text(&self) -> String {
        let a = &self.adapter;
        let memory = self.memory.map_or("memory unknown".to_owned(), |bytes| {
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
            "measured  copies {:.1} GB/s, reads weights at {:.1} GB/s, {:.1} us per kernel\n",
            s.copy / 1e9,
            s.products / 1e9,
            s.launch * 1e6
        )
    }

    pub fn json(&self) -> serde_json::Value {
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

/// The capabilities that kernels may use with the given `--limits`.
pub fn caps(machine: &Machine, common: &Common) -> Caps {
    match common.limits {
        Limits::Adapter => machine.caps,
        Limits::Default => Caps { software: machine.caps.software, ..Caps::core() },
    }
}
