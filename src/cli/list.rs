//! `lfm2 list`: lists the models in the hub's cache.

use clap::Args;
use indicatif::DecimalBytes;
use serde_json::json;

use super::error::CliError;
use super::options::Common;
use super::print::print;
use crate::hub::{Cache, Entry, State};

#[derive(Debug, Args)]
pub struct List {
    /// Print JSON
    #[arg(long, env = "LFM2_JSON")]
    json: bool,
}

impl List {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let cache = Cache::from_env()?;
        let entries = cache.list()?;
        if self.json {
            let rows: Vec<_> = entries.iter().map(to_json).collect();
            return print(&format!("{}\n", json!(rows)));
        }
        if entries.is_empty() && !common.quiet {
            eprintln!("no models in {}", cache.root().display());
        }
        let width = entries.iter().map(|e| e.name().len()).max().unwrap_or(0).max("NAME".len());
        let mut text = String::new();
        if !entries.is_empty() {
            text += &format!("{:width$}  {:>10}  {:8}  PATH\n", "NAME", "SIZE", "COMMIT");
        }
        for e in &entries {
            let state = match e.state {
                State::Whole => "",
                State::Adapter => "  (LoRA adapter)",
                State::Incomplete => "  (incomplete)",
                State::Other => "  (not for lfm2)",
            };
            let size = DecimalBytes(e.bytes).to_string();
            let commit = e.commit.as_deref().and_then(|c| c.get(..8)).unwrap_or("-");
            text += &format!(
                "{:width$}  {size:>10}  {commit:8}  {}{state}\n",
                e.name(),
                e.path.display()
            );
        }
        print(&text)
    }
}

fn to_json(e: &Entry) -> serde_json::Value {
    json!({
        "name": e.name(), "repo": e.repo, "quant": e.quant, "revisions": e.revisions,
        "commit": e.commit, "bytes": e.bytes, "path": e.path.display().to_string(),
        "state": match e.state {
            State::Whole => "whole",
            State::Adapter => "adapter",
            State::Incomplete => "incomplete",
            State::Other => "other",
        },
    })
}
