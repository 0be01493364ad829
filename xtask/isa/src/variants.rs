//! The kernels to compile.

use std::error::Error;

use lfm2_wgpu::engine::{EngineBuilder, OpenedModel};
use lfm2_wgpu::gpu::{AdapterChoice, Caps, Device, DeviceOptions, Target, Variant};
use lfm2_wgpu::kernels::KERNELS;
use lfm2_wgpu::model::WeightChoice;

use crate::{Kernel, Section};

/// Sequences of the engine, so that it plans passes of 1, 2, 4 and 64 rows and chunks.
const SEQUENCES: u32 = 8;

/// The devices that kernels are chosen for.
fn devices(matrix_units: bool) -> [(&'static str, Caps); 3] {
    let gpu = Caps {
        f16: true,
        subgroups: true,
        min_subgroup: 32,
        max_subgroup: 64,
        coop_side: if matrix_units { 16 } else { 0 },
        max_workgroup_memory: 64 << 10,
        max_invocations: 1024,
        max_binding: 2 << 30,
        max_buffer: 2 << 30,
        ..Caps::core()
    };
    [
        ("Natively", gpu),
        ("Without matrix units, as in browsers", Caps { coop_side: 0, ..gpu }),
        ("At WebGPU's default limits", Caps::core()),
    ]
}

/// The variants that a model of a published shape uses, or all, by device. Each is listed once, for the first device
/// that uses it.
pub fn of_model(
    shape: &str,
    all: bool,
    matrix_units: bool,
) -> Result<Vec<Section>, Box<dyn Error>> {
    // Plans need a device, though they only record: the software adapter that comes with the driver.
    let adapter = AdapterChoice::Named("llvmpipe".to_owned());
    let options = DeviceOptions { adapter, ..DeviceOptions::default() };
    let device = pollster::block_on(Device::request(&options))?;
    let model = pollster::block_on(OpenedModel::of_shape(shape, WeightChoice::Q4));
    let model = model.ok_or_else(|| format!("--shape {shape}: not a published model"))??;
    let mut known: Vec<Variant> = Vec::new();
    let mut sections = Vec::new();
    for (title, caps) in devices(matrix_units) {
        let variants = match all {
            true => KERNELS.iter().flat_map(|k| (k.variants)(&caps)).collect(),
            false => {
                let builder = EngineBuilder::default().sequences(SEQUENCES).context_length(4096);
                pollster::block_on(builder.variants(&model, &device, caps))?
            }
        };
        let mut kernels = Vec::new();
        for variant in variants {
            if !known.contains(&variant) {
                let (name, wgsl) = (variant.to_string(), variant.assemble(Target::Native)?);
                kernels.push(Kernel { name, wgsl });
                known.push(variant);
            }
        }
        sections.push(Section { title: title.to_owned(), kernels });
    }
    Ok(sections)
}

/// The kernels of a file: one, or several, each after the line that `lfm2 info --kernel` writes before it.
pub fn of_text(file: &str, text: &str) -> Vec<Kernel> {
    let title = |line: &str| {
        let mut words = line.strip_prefix("// ")?.split(' ');
        let kernel = words.next()?;
        let known = KERNELS.iter().any(|k| k.name == kernel) && words.all(|w| w.contains('='));
        known.then(|| line[3..].to_owned())
    };
    let mut kernels: Vec<Kernel> = Vec::new();
    for line in text.lines() {
        match (title(line), kernels.last_mut()) {
            (Some(name), _) => kernels.push(Kernel { name, wgsl: String::new() }),
            (None, Some(kernel)) => kernel.wgsl += &format!("{line}\n"),
            (None, None) => {
                kernels.push(Kernel { name: file.to_owned(), wgsl: format!("{line}\n") })
            }
        }
    }
    kernels
}
