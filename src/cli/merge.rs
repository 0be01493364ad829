//! `lfm2 merge`: adds LoRA adapters to a model's weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::error::CliError;
use super::lora::{self, LoraPath, LoraScale, lora_path, lora_scale};
use super::options::Common;
use super::part_file::PartDir;
use super::print::print;
use super::quantize::{check, check_space, source_name};
use super::stats::size;
use super::{interrupt, load, progress};
use crate::engine::OpenedModel;
use crate::formats::ModelFiles;
use crate::model::Recipe;
use crate::model::lora::merge::Merged;
use crate::model::merge::MergePlan;
use crate::model::package::{MAX_FILE_BYTES, PackagePlan};

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Merge {
    /// Adapter to add: a folder or file of PEFT's, or a GGUF adapter; may be repeated
    #[arg(long, env = "LFM2_LORA", value_name = "[NAME=]PATH", required = true, value_parser = lora_path)]
    lora: Vec<LoraPath>,
    /// Factor on an adapter's own scale; without a name, of all adapters. Default: 1
    #[arg(
        long,
        env = "LFM2_LORA_SCALE",
        value_name = "[NAME=]X",
        allow_negative_numbers = true,
        value_parser = lora_scale
    )]
    lora_scale: Vec<LoraScale>,
    /// Folder to write; it must be new or empty
    #[arg(long, env = "LFM2_OUT", value_name = "DIR")]
    out: PathBuf,
}

const NOTES: &str = "\
The weights are W + scale * B * A, computed in 32-bit floats. Without --weights, the copy has the \
files, names and element types of the source, a checkpoint in safetensors with f32, f16 or bf16 \
weights. With --weights it is a package, as `lfm2 quantize` writes it; the sum is quantised without \
a step in between. The folder appears, and its path is printed, once it is complete and checked.

Examples:
  lfm2 merge -m LiquidAI/LFM2-8B-A1B --lora my-adapter --out merged
  lfm2 merge -m DIR --lora a=adapters/a --lora b=b.gguf --lora-scale b=0.5 --out DIR-ab --weights q4";

impl Merge {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        // Checks that the folder can be written before it reads anything.
        let dir = PartDir::create(&self.out)?;
        let files = Arc::new(load::files(common)?);
        let model = pollster::block_on(OpenedModel::open(&files))?;
        let adapters = lora::read(&self.lora, &self.lora_scale, &model.config, common)?;
        let adapters: Vec<_> = adapters.into_iter().map(|(_, adapter, x)| (adapter, x)).collect();
        match common.weights {
            Some(weights) => {
                let recipe = Recipe::new(weights.choice());
                self.package(&files, &model, &adapters, &recipe, &dir, common)?;
            }
            None => self.copy(&files, &model, &adapters, &dir, common)?,
        }
        dir.finish()?;
        print(&format!("{}\n", self.out.display()))
    }

    fn package(
        &self,
        files: &ModelFiles,
        model: &OpenedModel,
        adapters: &Merged,
        recipe: &Recipe,
        dir: &PartDir,
        common: &Common,
    ) -> Result<(), CliError> {
        let (checkpoint, tensors) = (&model.checkpoint, &model.tensors);
        let plan =
            PackagePlan::new(files, &model.config, checkpoint, tensors, recipe, MAX_FILE_BYTES);
        let plan = pollster::block_on(plan)?.merging(adapters);
        check_space(&self.out, plan.most_bytes())?;
        let source = source_name(common);
        let made = with_bar(common, plan.source_bytes(), |on_bytes| {
            Ok(pollster::block_on(plan.write(dir.path(), &source, on_bytes))?)
        })?;
        check(&made, dir.path(), common)?;
        self.tell(common, made.files.len() + 1, made.bytes());
        Ok(())
    }

    fn copy(
        &self,
        files: &ModelFiles,
        model: &OpenedModel,
        adapters: &Merged,
        dir: &PartDir,
        common: &Common,
    ) -> Result<(), CliError> {
        let plan = MergePlan::new(files, &model.checkpoint, &model.tensors, adapters)?;
        check_space(&self.out, plan.bytes())?;
        with_bar(common, plan.weight_bytes(), |on_bytes| {
            Ok(pollster::block_on(plan.write(dir.path(), on_bytes))?)
        })?;
        opens(dir.path())?;
        self.tell(common, plan.files(), plan.bytes());
        Ok(())
    }

    fn tell(&self, common: &Common, files: usize, bytes: u64) {
        if !common.quiet {
            let names: Vec<&str> = self.lora.iter().map(|lora| &*lora.name).collect();
            eprintln!("{files} files, {}, merged with {}", size(bytes), names.join(" and "));
        }
    }
}

/// Opens the copy as a user does.
fn opens(dir: &Path) -> Result<(), CliError> {
    let files = Arc::new(ModelFiles::directory(dir)?);
    pollster::block_on(OpenedModel::open(&files))?;
    Ok(())
}

/// Runs `work` with a progress bar over `total` bytes. Ctrl-C stops it.
fn with_bar<T>(
    common: &Common,
    total: u64,
    work: impl FnOnce(&mut (dyn FnMut(u64) -> bool + Send)) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let bar = progress::bar(common, total, "merging [{bar:32}] {bytes}/{total_bytes} {eta}");
    let done = work(&mut |done| {
        bar.set_position(done);
        !interrupt::requested()
    });
    bar.finish_and_clear();
    done
}
