//! A model in question, and its forecast on a machine.

use std::path::Path;
use std::sync::Arc;

use indicatif::DecimalBytes;
use serde_json::json;

use super::super::error::CliError;
use super::super::family::{self, EXAMPLE_MODEL, SIBLINGS};
use super::super::hub::meant_for_the_hub;
use super::super::options::{Common, Limits};
use super::super::print::quoted;
use super::super::selftest::Verdict;
use super::super::stats;
use super::machine::{Machine, caps};
use crate::engine::{EngineBuilder, OpenedModel};
use crate::formats::ModelFiles;
use crate::hub::{Cache, Hub, HubError, HubName, free_bytes, is_offline};
use crate::kernels::KvFormat;
use crate::model::{MemoryPlan, WeightChoice};

/// Context length of the plan that is shown first.
const USUAL_CONTEXT: u32 = 32_768;
/// Shortest context length that makes a suggested model useful.
const LEAST_CONTEXT: u32 = 4096;

/// A model in question.
pub struct Subject {
    /// Its name on the command line; `None` for the built-in one.
    name: Option<String>,
    /// Source of its sizes: `built in`, `on this disk`, `downloaded`, `on the hub`, `by its name`.
    known: &'static str,
    /// The reason that only its name is known.
    note: Option<String>,
    model: OpenedModel,
    download: Option<Download>,
}

/// The download that the model needs.
struct Download {
    /// Bytes that are not in the cache.
    missing: u64,
    /// Free bytes on the disk, if the system reports them.
    free: Option<u64>,
    folder: String,
}

impl Download {
    fn new(missing: u64, cache: &Cache) -> Self {
        let root = cache.root();
        Self { missing, free: free_bytes(root), folder: root.display().to_string() }
    }

    fn fits(&self) -> bool {
        self.free.is_none_or(|free| self.missing <= free)
    }
}

/// Formats bytes as `4.8 GB`.
fn decimal(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}

fn open(files: ModelFiles) -> Result<OpenedModel, crate::Error> {
    pollster::block_on(OpenedModel::open(&Arc::new(files)))
}

impl Subject {
    /// The model that is compiled in.
    pub fn built_in() -> Result<Option<Self>, CliError> {
        #[cfg(feature = "demo-model")]
        {
            let model = open(crate::demo::files())?;
            Ok(Some(Self { name: None, known: "built in", note: None, model, download: None }))
        }
        #[cfg(not(feature = "demo-model"))]
        Ok(None)
    }

    /// The published model that is shown without a name, even if the hub fails.
    pub fn example() -> Result<Self, CliError> {
        Self::find(EXAMPLE_MODEL).or_else(|e| {
            let name = HubName::parse(EXAMPLE_MODEL)?;
            Self::known(&name, &e.to_string()).ok_or(e)
        })
    }

    /// A model by its path or its name on the hub.
    pub fn find(text: &str) -> Result<Self, CliError> {
        let path = Path::new(text);
        let named = |known, model| Self {
            name: Some(text.to_owned()),
            known,
            note: None,
            model,
            download: None,
        };
        if std::fs::symlink_metadata(path).is_ok() {
            return Ok(named("on this disk", open(ModelFiles::path(path)?)?));
        }
        if let Some(advice) = meant_for_the_hub(path) {
            return Err(advice);
        }
        let name = HubName::parse(text)?;
        let cache = Cache::from_env()?;
        if let Some(found) = cache.find(&name)? {
            return Ok(named("downloaded", open(ModelFiles::path(found.path())?)?));
        }
        if is_offline() {
            let cannot = "HF_HUB_OFFLINE turns the hub off";
            return Self::known(&name, cannot).ok_or_else(|| unknown(&name, cannot));
        }
        let hub = Hub::from_env(cache.clone())?;
        let plan = match hub.plan(&name) {
            Ok(plan) => plan,
            Err(e @ HubError::NoSpace { need, .. }) => {
                let mut subject =
                    Self::known(&name, &e.to_string()).ok_or_else(|| CliError::from(e))?;
                subject.download = Some(Download::new(need, &cache));
                return Ok(subject);
            }
            // An answer of the hub is final; without a connection, the name has to do.
            Err(e) if e.is_user() => return Err(e.into()),
            Err(e) => {
                let reason = e.to_string();
                return Self::known(&name, &reason).ok_or_else(|| unknown(&name, &reason));
            }
        };
        let model = open(hub.remote_files(&plan))?;
        let download = Some(Download::new(plan.missing(), &cache));
        Ok(Self { download, ..named("on the hub", model) })
    }

    /// A published model by its name alone. `note`: the reason that no more is known.
    pub fn known(name: &HubName, note: &str) -> Option<Self> {
        let id = name.id();
        let repo = id.split('/').nth(1)?;
        let known = family::known(repo)?;
        let is_gguf = repo.to_ascii_lowercase().ends_with("gguf") || name.quant().is_some();
        let weights = family::weights(name.quant(), is_gguf);
        let model = of_shape(known.shape, weights)?;
        let bytes = model.tensors.size().weight_bytes;
        let note = (!note.is_empty()).then(|| note.to_owned());
        let download = Cache::from_env().ok().map(|cache| Download::new(bytes, &cache));
        Some(Self { name: Some(name.to_string()), known: "by its name", note, model, download })
    }

    fn title(&self) -> String {
        let name = self.name.as_deref().unwrap_or("the built-in model");
        match self.name {
            Some(_) => format!("\n{name} ({})\n", self.known),
            None => format!("\n{name}\n"),
        }
    }

    /// The facts that need no GPU.
    pub fn text(&self) -> String {
        let mut text = self.title();
        if let Some(note) = &self.note {
            text += &format!("  note      {note}; the sizes are the published model's\n");
        }
        if let Some(d) = &self.download {
            let room = match d.free {
                Some(free) if d.fits() => format!("{} free in {}", decimal(free), d.folder),
                Some(free) => format!("ONLY {} free in {}", decimal(free), d.folder),
                None => format!("into {}", d.folder),
            };
            text += &format!("  download  {}, {room}\n", decimal(d.missing));
        }
        text
    }
}

fn unknown(name: &HubName, why: &str) -> CliError {
    CliError::User(format!("{name}: not downloaded, and unknown: {why}"))
}

fn of_shape(shape: &str, weights: WeightChoice) -> Option<OpenedModel> {
    pollster::block_on(OpenedModel::of_shape(shape, weights))?.ok()
}

/// Forecast for a model on a machine.
pub struct Outlook<'a> {
    subject: &'a Subject,
    memory: Option<u64>,
    /// Memory plan at the requested context length, or the usual one.
    plan: Result<MemoryPlan, String>,
    /// Plans with the longest context that fits, by KV cache format.
    longest: Vec<MemoryPlan>,
    tokens: (f64, f64),
    command: String,
    /// The reason that it would fail although it fits: a failed self-test or a full disk.
    refused: Option<String>,
    /// A smaller model that fits if this one does not.
    sibling: Option<(String, MemoryPlan)>,
}

/// Memory plans of a model with the given options.
struct Plans<'a> {
    model: &'a OpenedModel,
    machine: &'a Machine,
    common: &'a Common,
}

impl Plans<'_> {
    fn at(
        &self,
        context: u32,
        kv: Option<KvFormat>,
        have: Option<u64>,
    ) -> Result<MemoryPlan, crate::Error> {
        let mut builder = self.common.apply(EngineBuilder::default()).context_length(context);
        if let Some(bytes) = have {
            builder = builder.memory(bytes);
        }
        if let Some(kv) = kv {
            builder = builder.kv_format(kv);
        }
        builder.memory_plan(self.model, &caps(self.machine, self.common), have)
    }

    /// The plan with the longest context that fits: the model's maximum or a power of 2.
    fn longest(&self, kv: Option<KvFormat>) -> Option<MemoryPlan> {
        let most = u32::try_from(self.model.config.max_position_embeddings).unwrap_or(u32::MAX);
        let steps = (8..=16).rev().map(|n| 1_u32 << n).filter(|step| *step < most);
        let mut contexts = std::iter::once(most).chain(steps);
        contexts.find_map(|context| self.at(context, kv, self.machine.memory).ok())
    }
}

impl<'a> Outlook<'a> {
    pub fn of(subject: &'a Subject, machine: &Machine, common: &Common) -> Self {
        let model = &subject.model;
        let plans = Plans { model, machine, common };
        let most = u32::try_from(model.config.max_position_embeddings).unwrap_or(u32::MAX);
        let longest: Vec<_> = match common.kv {
            Some(kv) => plans.longest(Some(kv.format())).into_iter().collect(),
            None => {
                let own = plans.longest(None);
                let q8 = KvFormat::Q8.takes(model.config.head_dim);
                let q8 = if q8 { plans.longest(Some(KvFormat::Q8)) } else { None };
                let longer =
                    q8.filter(|q8| own.as_ref().is_none_or(|own| q8.context > own.context));
                own.into_iter().chain(longer).collect()
            }
        };
        let usual = USUAL_CONTEXT.min(longest.first().map_or(most, |plan| plan.context)).min(most);
        let plan = plans.at(common.context.unwrap_or(usual), None, machine.memory);
        let fits = plan.is_ok();
        let plan = plan.map_err(|e| e.to_string());
        let sibling = if fits { None } else { sibling(subject, machine, common) };
        let command = match (&sibling, &subject.name) {
            (Some((name, _)), _) => format!("lfm2 chat -m {name}"),
            (None, Some(name)) => format!("lfm2 chat -m {}", quoted(name)),
            (None, None) => "lfm2 chat".to_owned(),
        };
        let refused = match &machine.verdict {
            Verdict::Failed(problem) => Some(problem.clone()),
            _ => subject.download.as_ref().filter(|d| !d.fits()).map(|d| {
                let free = d.free.map(decimal).unwrap_or_default();
                format!("{} to download, only {free} free in {}", decimal(d.missing), d.folder)
            }),
        };
        let asked = if sibling.is_none() { asked_options(common) } else { String::new() };
        let size = model.tensors.size();
        Self {
            subject,
            memory: machine.memory,
            plan,
            longest,
            tokens: machine.speed.decode(&model.config, &size),
            command: command + &asked,
            refused,
            sibling,
        }
    }

    /// The speed as `about 300 to 600 tokens a second`.
    fn speed(&self) -> String {
        let round =
            |rate: f64| if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
        let (slow, fast) = self.tokens;
        format!("about {} to {} tokens a second", round(slow), round(fast))
    }

    /// The forecast in one line.
    pub fn line(&self) -> String {
        let name = self.subject.name.as_deref().unwrap_or("the built-in model");
        match (&self.plan, &self.sibling) {
            (Ok(_), _) if self.refused.is_some() => {
                format!("{name} would not answer here: {}", self.refused.as_deref().unwrap_or(""))
            }
            (Ok(plan), _) => {
                format!("{name} fits this GPU: {}; {}", self.taken(plan), self.speed())
            }
            (Err(_), Some((sibling, _))) => {
                format!(
                    "{name} does not fit this GPU; {sibling} does (`lfm2 doctor` shows details)"
                )
            }
            (Err(problem), None) => format!("{name}: {problem}"),
        }
    }

    /// The memory as `4.9 GiB of 22 GiB at context 32768`.
    fn taken(&self, plan: &MemoryPlan) -> String {
        let of = self.memory.map_or(String::new(), |have| format!(" of {}", stats::size(have)));
        format!("{}{of} at context {}", stats::size(plan.total()), plan.context)
    }

    pub fn text(&self) -> String {
        let mut text = self.subject.text();
        match &self.plan {
            Ok(plan) => {
                text += &format!(
                    "  memory    {}: {} weights, {} KV cache in {}\n",
                    self.taken(plan),
                    stats::size(plan.weights),
                    stats::size(plan.kv),
                    plan.kv_format.option()
                );
                let longest = self.longest.iter().map(|plan| {
                    let (kv, total) = (plan.kv_format.option(), stats::size(plan.total()));
                    format!("{} with --kv {kv} ({total})", plan.context)
                });
                text += &format!("  longest   {}\n", longest.collect::<Vec<_>>().join(", "));
                text += &format!("  speed     {}\n", self.speed());
            }
            Err(problem) => text += &format!("  memory    DOES NOT FIT: {problem}\n"),
        }
        if let Some((name, plan)) = &self.sibling {
            text += &format!("  instead   {name} fits: {}\n", self.taken(plan));
        }
        match &self.refused {
            Some(problem) => text += &format!("  WOULD NOT ANSWER: {problem}\n"),
            None if self.runs() => text += &format!("  run       {}\n", self.command),
            None => {}
        }
        text
    }

    /// Whether the suggested command would answer.
    fn runs(&self) -> bool {
        self.refused.is_none() && (self.plan.is_ok() || self.sibling.is_some())
    }

    pub fn json(&self) -> serde_json::Value {
        let plan = |plan: &MemoryPlan| {
            json!({
                "context": plan.context, "kv_format": plan.kv_format.option(),
                "weights": plan.weights, "kv": plan.kv,
                "other": plan.state + plan.activations, "total": plan.total(),
            })
        };
        let size = self.subject.model.tensors.size();
        json!({
            "name": self.subject.name, "known": self.subject.known, "note": self.subject.note,
            "parameters": size.total_parameters, "active_parameters": size.active_parameters,
            "download": self.subject.download.as_ref().map(|d| json!({
                "missing": d.missing, "free": d.free, "folder": d.folder, "fits": d.fits(),
            })),
            "fits": self.plan.is_ok(),
            "problem": self.plan.as_ref().err().or(self.refused.as_ref()),
            "memory": self.plan.as_ref().ok().map(plan),
            "longest": self.longest.iter().map(plan).collect::<Vec<_>>(),
            "tokens_per_second": [self.tokens.0, self.tokens.1],
            "sibling": self.sibling.as_ref().map(|(name, p)| json!({ "name": name, "memory": plan(p) })),
            "command": self.runs().then_some(&self.command),
        })
    }
}

/// The largest smaller model of the family that fits.
fn sibling(subject: &Subject, machine: &Machine, common: &Common) -> Option<(String, MemoryPlan)> {
    let parameters = subject.model.tensors.size().total_parameters;
    SIBLINGS.iter().find_map(|repo| {
        let model = of_shape(family::known(repo)?.shape, WeightChoice::Q4)?;
        if model.tensors.size().total_parameters >= parameters {
            return None;
        }
        // With default weights, KV cache and context: the options given are for the other model.
        let own = Common { weights: None, kv: None, context: None, ..common.clone() };
        let plans = Plans { model: &model, machine, common: &own };
        let longest = plans.longest(None).filter(|plan| plan.context >= LEAST_CONTEXT)?;
        let plan = plans.at(longest.context.min(USUAL_CONTEXT), None, machine.memory).ok()?;
        Some((format!("LiquidAI/{repo}-GGUF:Q4_0"), plan))
    })
}

/// The given options that the suggested command needs.
fn asked_options(common: &Common) -> String {
    let mut text = String::new();
    if let Some(context) = common.context {
        text += &format!(" --context {context}");
    }
    if let Some(kv) = common.kv {
        text += &format!(" --kv {}", kv.format().option());
    }
    if let Some(weights) = common.weights {
        text += &format!(" --weights {}", weights.choice().option());
    }
    if let Some(bytes) = common.memory {
        let (gib, rest) = (bytes >> 30, bytes % (1 << 30));
        let size = if rest == 0 { format!("{gib}G") } else { bytes.to_string() };
        text += &format!(" --memory {size}");
    }
    if common.limits == Limits::Default {
        text += " --limits default";
    }
    if let Some(adapter) = &common.adapter {
        text += &format!(" --adapter {}", quoted(adapter));
    }
    text
}
