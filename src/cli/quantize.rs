//! `lfm2 quantize`: writes a package with a model's weights in fewer bits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::error::CliError;
use super::options::Common;
use super::part_file::PartDir;
use super::print::print;
use super::stats::size;
use super::{interrupt, load, progress};
use crate::engine::OpenedModel;
use crate::formats::{Manifest, ModelFiles};
use crate::hub::{MARGIN, free_bytes};
use crate::model::package::{MAX_FILE_BYTES, PackagePlan};
use crate::model::{ModelPart, Recipe, WeightChoice};

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Quantize {
    /// Another format for a part: head, attention, conv, experts or dense. Default with q4:
    /// head=q8,attention=q8
    #[arg(
        long,
        env = "LFM2_KEEP",
        value_name = "PART=q4|q8|f16",
        value_delimiter = ',',
        value_parser = keep
    )]
    keep: Vec<(ModelPart, WeightChoice)>,
    /// Folder to write; it must be new or empty
    #[arg(long, env = "LFM2_OUT", value_name = "DIR")]
    out: PathBuf,
}

const NOTES: &str = "\
Needs --weights. The source is a checkpoint with f32, f16 or bf16 weights; without --model, the \
built-in one. A package has files of at most 256 MiB; manifest.json lists their lengths and SHA-256 \
hashes. --model accepts the folder; results are the same as with the source and --weights. Once the \
folder is complete and checked, it appears and its path is printed. Needs memory for a few buffers of 32 MiB.

Examples:
  lfm2 quantize -m LiquidAI/LFM2.5-8B-A1B --weights q4 --out lfm2-q4
  lfm2 quantize -m DIR --weights q4 --keep attention=q8,head=f16 --out DIR-q4";

impl Quantize {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let recipe = self.recipe(common)?;
        // Checks that the folder can be written before it reads anything.
        let dir = PartDir::create(&self.out)?;
        let files = Arc::new(load::files(common)?);
        let model = pollster::block_on(OpenedModel::open(&files))?;
        let (checkpoint, tensors) = (&model.checkpoint, &model.tensors);
        let plan =
            PackagePlan::new(&files, &model.config, checkpoint, tensors, &recipe, MAX_FILE_BYTES);
        let plan = pollster::block_on(plan)?;
        check_space(&self.out, plan.most_bytes())?;

        let from = plan.source_bytes();
        let bar = progress::bar(common, from, "quantising [{bar:32}] {bytes}/{total_bytes} {eta}");
        let mut on_bytes = |done| {
            bar.set_position(done);
            !interrupt::requested()
        };
        let source = source_name(common);
        let made = pollster::block_on(plan.write(dir.path(), &source, &mut on_bytes));
        bar.finish_and_clear();
        let made = made?;
        check(&made, dir.path(), common)?;
        dir.finish()?;
        if !common.quiet {
            let (n, bytes) = (made.files.len() + 1, made.bytes());
            eprintln!("{n} files, {} ({} of weights before)", size(bytes), size(from));
        }
        print(&format!("{}\n", self.out.display()))
    }

    fn recipe(&self, common: &Common) -> Result<Recipe, CliError> {
        let Some(weights) = common.weights else {
            let need = "--weights: need a format for the matrices: q4, q8 or f16";
            return Err(CliError::User(need.to_owned()));
        };
        for (i, (part, _)) in self.keep.iter().enumerate() {
            if self.keep.iter().take(i).any(|(other, _)| other == part) {
                let part = part.name();
                return Err(CliError::User(format!("--keep: {part} is given twice")));
            }
        }
        Ok(Recipe::new(weights.choice()).keeping(self.keep.iter().copied()))
    }
}

/// Refuses a folder on a disk with too little space.
pub fn check_space(out: &Path, need: u64) -> Result<(), CliError> {
    // The folder may not exist yet.
    let absolute = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    match free_bytes(&absolute) {
        Some(have) if need.saturating_add(MARGIN) > have => {
            let (out, need, have) = (out.display(), size(need), size(have));
            Err(CliError::User(format!("{out}: needs {need}, but {have} are free")))
        }
        _ => Ok(()),
    }
}

/// Reads the written package: checks every hash, and opens the model as a user does.
pub fn check(made: &Manifest, dir: &Path, common: &Common) -> Result<(), CliError> {
    let files = Arc::new(ModelFiles::directory(dir)?);
    let read = pollster::block_on(Manifest::open(&files))?;
    if read.as_ref() != Some(made) {
        return Err(CliError::Internal(format!(
            "{}: manifest.json differs from the one written",
            dir.display()
        )));
    }
    let bar =
        progress::bar(common, made.bytes(), "checking [{bar:32}] {bytes}/{total_bytes} {eta}");
    let mut on_bytes = |done| {
        bar.set_position(done);
        !interrupt::requested()
    };
    let whole = pollster::block_on(made.check_hashes(&files, &mut on_bytes));
    bar.finish_and_clear();
    if !whole? {
        return Err(CliError::Interrupted);
    }
    pollster::block_on(OpenedModel::open(&files))?;
    Ok(())
}

/// Name of the source in the manifest, without the folders above it.
pub fn source_name(common: &Common) -> String {
    let Some(model) = &common.model else { return "lfm2-wgpu demonstration model".to_owned() };
    match std::fs::canonicalize(model) {
        Ok(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Err(_) => model.to_string_lossy().into_owned(),
    }
}

/// Parses `head=q8`.
fn keep(text: &str) -> Result<(ModelPart, WeightChoice), String> {
    let parts = ModelPart::ALL.map(ModelPart::name).join(", ");
    let choices = WeightChoice::ALL.map(WeightChoice::option).join(", ");
    let wrong = || format!("need PART=FORMAT, e.g. head=q8; parts: {parts}; formats: {choices}");
    let (part, choice) = text.split_once('=').ok_or_else(wrong)?;
    let part = ModelPart::ALL.into_iter().find(|p| p.name() == part.trim());
    let choice = WeightChoice::ALL.into_iter().find(|c| c.option() == choice.trim());
    part.zip(choice).ok_or_else(wrong)
}
