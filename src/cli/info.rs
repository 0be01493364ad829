//! `lfm2 info`: lists adapters, the features that the engine uses, and a model's memory plan.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::adapter_json::{adapter_json, caps_json};
use super::error::CliError;
use super::options::{Common, Limits};
use super::print::print;
use super::{load, stats};
use crate::engine::{EngineBuilder, OpenedModel};
use crate::gpu::{AdapterReport, Caps, Device, NO_ADAPTER, Target, adapters, choose_adapter};
use crate::kernels::{Choices, KERNELS};
use crate::model::{FfnKind, MemoryPlan, OperatorKind};

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Info {
    /// Instead of --model: the sizes of a published model or of `mini` (weights in q4, or as --weights says)
    #[arg(long, env = "LFM2_SHAPE", value_parser = load::shape_names())]
    shape: Option<String>,
    /// Print JSON
    #[arg(long, env = "LFM2_JSON")]
    json: bool,
    /// Print the assembled WGSL of a kernel instead: each variant that the model uses on this GPU
    #[arg(long, value_name = "NAME", env = "LFM2_KERNEL", conflicts_with = "json")]
    kernel: Option<String>,
    /// With --kernel: print the WGSL for browsers
    #[arg(long, env = "LFM2_WEB")]
    web: bool,
}

const NOTES: &str = "\
Reads no weights. Opens a GPU device only with --kernel. If the model does not fit, the error names \
options that make it fit.

Examples:
  lfm2 info -m DIR --context 32768 --weights q4 --kv f16
  lfm2 info --shape lfm2-8b-a1b --limits default --json
  lfm2 info --kernel matvec --web";

impl Info {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        if let Some(kernel) = &self.kernel {
            return self.print_kernel(kernel, common);
        }
        // The variable may be set for another command's sake.
        if self.web && std::env::var_os("LFM2_WEB").is_none() {
            return Err(CliError::User("--web needs --kernel NAME".to_owned()));
        }
        let found = pollster::block_on(adapters());
        // The adapter that the engine would choose; without one, the model is still shown.
        let chosen = match found.is_empty() {
            true => None,
            false => Some(&found[choose_adapter(&found, &common.gpu().adapter)?]),
        };
        let (place, model) = self.model(common)?;
        let caps = match (common.limits, chosen) {
            (Limits::Adapter, Some(a)) => a.caps,
            (Limits::Default, Some(a)) => Caps { software: a.caps.software, ..Caps::core() },
            (_, None) => Caps::core(),
        };
        let builder = common.apply(EngineBuilder::default());
        let known = chosen.and_then(|a| a.memory);
        let memory = builder.memory_plan(&model, &caps, known)?;
        if self.json {
            let mut json = to_json(&found, &caps, &place, &model, &memory);
            json["chosen"] = json!(chosen.map(|a| a.index));
            return print(&format!("{json}\n"));
        }
        let memory = memory_text(&memory, common.memory.or(known));
        print(&(adapters_text(&found, chosen, &caps) + &model_text(&place, &model) + &memory))
    }

    /// Prints the assembled WGSL of each variant of a kernel that the model uses.
    fn print_kernel(&self, kernel: &str, common: &Common) -> Result<(), CliError> {
        let list = |names: &[&str]| names.join(", ");
        let all: Vec<&str> = KERNELS.iter().map(|k| k.name).collect();
        if !all.contains(&kernel) {
            let problem = format!("--kernel {kernel}: no such kernel; there are: {}", list(&all));
            return Err(CliError::User(problem));
        }
        let (_, model) = self.model(common)?;
        let device = pollster::block_on(Device::request(&common.gpu()))?;
        // Browsers have no cooperative matrices.
        let coop_side = if self.web { 0 } else { device.caps().coop_side };
        let caps = Caps { coop_side, ..*device.caps() };
        let builder = common.apply(EngineBuilder::default());
        let variants = pollster::block_on(builder.variants(&model, &device, caps))?;
        let mut text = String::new();
        for variant in variants.iter().filter(|v| v.kernel == kernel) {
            let target = if self.web { Target::Web } else { Target::Native };
            let wgsl = variant.assemble(target).map_err(CliError::Internal)?;
            text += &format!("// {variant}\n{wgsl}\n");
        }
        if text.is_empty() {
            let used = |k: &&str| variants.iter().any(|v| v.kernel == *k);
            let used: Vec<&str> = all.into_iter().filter(used).collect();
            return Err(CliError::User(format!(
                "--kernel {kernel}: this model does not use it on this device. It uses: {}",
                list(&used)
            )));
        }
        print(&text)
    }

    /// The model, and its place.
    fn model(&self, common: &Common) -> Result<(String, OpenedModel), CliError> {
        if let Some(shape) = &self.shape {
            return Ok((shape.clone(), load::open_or_shape(Some(shape), common)?));
        }
        let files = Arc::new(load::files(common)?);
        let model = pollster::block_on(OpenedModel::open(&files))?;
        Ok((files.place().to_owned(), model))
    }
}

fn adapters_text(found: &[AdapterReport], chosen: Option<&AdapterReport>, caps: &Caps) -> String {
    let mut text = String::from("Adapters\n");
    if found.is_empty() {
        text += &format!("  none. {NO_ADAPTER}\n");
    }
    for a in found {
        text += &format!(
            "  {}: {} ({}, {})\n     driver {}\n     memory {}\n     features: {}\n     limits: binding {}, buffer \
             {}, {} storage buffers, workgroup memory {}, {} invocations\n",
            a.index,
            a.name,
            a.backend,
            a.kind,
            a.driver,
            a.memory.map_or("unknown".to_owned(), stats::size),
            if a.features.is_empty() { "none".to_owned() } else { a.features.join(", ") },
            stats::size(a.caps.max_binding),
            stats::size(a.caps.max_buffer),
            a.caps.max_storage_buffers,
            stats::size(a.caps.max_workgroup_memory.into()),
            a.caps.max_invocations,
        );
    }
    let choices = Choices::by_capability(caps);
    text += &format!(
        "The engine would use {}\n  {}; {}; tensors in parts of at most {}\n",
        chosen.map_or("any WebGPU adapter".to_owned(), |a| format!("adapter {}", a.index)),
        if caps.f16 { "f16 weights are read directly" } else { "f16 weights are unpacked" },
        match (choices.reduce.is_serial(), caps.subgroups) {
            (true, _) => "one invocation sums a row",
            (false, true) => "a subgroup sums a row",
            (false, false) => "a workgroup sums a row",
        },
        stats::size(caps.max_part()),
    );
    text
}

fn model_text(place: &str, model: &OpenedModel) -> String {
    let c = &model.config;
    let size = model.tensors.size();
    let convs = c.count(OperatorKind::ShortConv);
    let dense = c.layers.iter().filter(|l| l.ffn == FfnKind::Dense).count();
    let moe = c.moe.as_ref().map_or(String::new(), |m| {
        format!(
            "\n  experts {} of width {}, top {}{}",
            m.num_experts,
            m.intermediate_size,
            m.top_k,
            if m.use_expert_bias { ", with bias" } else { "" }
        )
    });
    format!(
        "Model {place} ({})\n  layers {}: {convs} convolutions, {} attention layers; {dense} dense FFNs \
         of width {}{moe}\n  hidden size {}, heads {} ({} KV heads) of size {}, vocabulary \
         {}, at most {} positions\n  parameters {:.2} M, {:.2} M active per token; {} tensors: {}\n",
        c.model_type.name(),
        c.layers.len(),
        c.layers.len() - convs,
        c.intermediate_size,
        c.hidden_size,
        c.n_heads,
        c.n_kv_heads,
        c.head_dim,
        c.vocab_size,
        c.max_position_embeddings,
        size.total_parameters as f64 / 1e6,
        size.active_parameters as f64 / 1e6,
        model.checkpoint.tensors().len(),
        types(model),
    )
}

/// The memory plan as a table.
fn memory_text(memory: &MemoryPlan, available: Option<u64>) -> String {
    let kv_per_token = memory.kv_per_token * u64::from(memory.attentions);
    let kv = format!(
        "{}, {} per token: {} in each of {} attention layers",
        memory.kv_format.option(),
        stats::size(kv_per_token),
        stats::size(memory.kv_per_token),
        memory.attentions
    );
    let state = format!(
        "{} in each of {} convolutions, angles of positions",
        stats::size(memory.conv_per_sequence),
        memory.convolutions
    );
    let total = available.map_or(String::new(), |have| format!("of {}", stats::size(have)));
    let mut text = format!("GPU memory at context {}\n", memory.context);
    for (name, bytes, note) in [
        ("weights", memory.weights, ""),
        ("KV cache", memory.kv, &kv),
        ("other state", memory.state, &state),
        ("activations", memory.activations, ""),
        ("total", memory.total(), &total),
    ] {
        let line = format!("  {name:16} {:>10}  {note}", stats::size(bytes));
        text += &format!("{}\n", line.trim_end());
    }
    text
}

/// Tensor types as `71 BF16, 4 F32`.
fn types(model: &OpenedModel) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for tensor in model.checkpoint.tensors() {
        let name = tensor.element_type.name();
        match counts.iter_mut().find(|(n, _)| *n == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ")
}

fn to_json(
    found: &[AdapterReport],
    caps: &Caps,
    place: &str,
    model: &OpenedModel,
    memory: &MemoryPlan,
) -> serde_json::Value {
    let size = model.tensors.size();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "adapters": found.iter().map(adapter_json).collect::<Vec<_>>(),
        "used": caps_json(caps),
        "model": {
            "place": place,
            "model_type": model.config.model_type.name(),
            "layers": model.config.layers.len(),
            "hidden_size": model.config.hidden_size,
            "vocab_size": model.config.vocab_size,
            "total_parameters": size.total_parameters,
            "active_parameters": size.active_parameters,
            "tensors": model.checkpoint.tensors().len(),
        },
        "memory": {
            "context": memory.context, "weights": memory.weights, "kv": memory.kv,
            "state": memory.state, "activations": memory.activations, "total": memory.total(),
            "kv_format": memory.kv_format.option(), "kv_bytes_per_token": memory.kv_per_token
                * u64::from(memory.attentions),
            "conv_bytes_per_sequence": memory.conv_per_sequence * u64::from(memory.convolutions),
        },
    })
}
