//! `lfm2 merge`: adds LoRA adapters to a model's weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::error::CliError;
use super::loras::{self, Adapter};
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
    /// Folder to write; it must be new or empty
    #[arg(long, env = "LFM2_OUT", value_name = "DIR")]
    out: PathBuf,
}

const NOTES: &str = "\
Needs --lora, which may be repeated. A weight W becomes W + scale * B * A, computed in 32-bit \
floats. Without --weights, the source is a checkpoint in safetensors with f32, f16 or bf16 weights, and the \
copy has its files, names and element types. With --weights, the 32-bit sum is quantised and written as a \
package (`lfm2 quantize`). Once the folder is complete and checked, it appears and its path is printed.

Examples:
  lfm2 merge -m LiquidAI/LFM2-8B-A1B --lora my-adapter --out merged
  lfm2 merge -m DIR --lora a=adapters/a --lora b=b.gguf --lora-scale b=0.5 --out DIR-ab --weights q4";

impl Merge {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        if common.lora.is_empty() {
            let need = "--lora: need an adapter: a folder, a file or owner/repo on the hub";
            return Err(CliError::User(need.to_owned()));
        }
        // Checks that the folder can be written before it reads anything.
        let dir = PartDir::create(&self.out)?;
        let files = Arc::new(load::files(common)?);
        let model = pollster::block_on(OpenedModel::open(&files))?;
        let adapters = loras::read(common, &model.text.name(), &model.config)?;
        let names: Vec<String> = adapters.iter().map(|adapter| adapter.name.clone()).collect();
        let adapters: Vec<_> =
            adapters.into_iter().map(|Adapter { adapter, scale, .. }| (adapter, scale)).collect();
        let (written, bytes) = match common.weights {
            Some(weights) => {
                let recipe = Recipe::new(weights.choice());
                self.package(&files, &model, &adapters, &recipe, &dir, common)?
            }
            None => self.copy(&files, &model, &adapters, &dir, common)?,
        };
        dir.finish()?;
        if !common.quiet {
            eprintln!("{written} files, {}, merged with {}", size(bytes), names.join(" and "));
        }
        print(&format!("{}\n", self.out.display()))
    }

    /// Returns the number of files and their bytes.
    fn package(
        &self,
        files: &ModelFiles,
        model: &OpenedModel,
        adapters: &Merged,
        recipe: &Recipe,
        dir: &PartDir,
        common: &Common,
    ) -> Result<(usize, u64), CliError> {
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
        Ok((made.files.len() + 1, made.bytes()))
    }

    /// Returns the number of files and their bytes.
    fn copy(
        &self,
        files: &ModelFiles,
        model: &OpenedModel,
        adapters: &Merged,
        dir: &PartDir,
        common: &Common,
    ) -> Result<(usize, u64), CliError> {
        let plan = MergePlan::new(files, &model.checkpoint, &model.tensors, adapters)?;
        check_space(&self.out, plan.bytes())?;
        with_bar(common, plan.weight_bytes(), |on_bytes| {
            Ok(pollster::block_on(plan.write(dir.path(), on_bytes))?)
        })?;
        opens(dir.path())?;
        Ok((plan.files(), plan.bytes()))
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
