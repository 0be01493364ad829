//! `lfm2 rm`: deletes a model from the hub's cache.

use std::io::IsTerminal;

use clap::Args;
use indicatif::DecimalBytes;

use super::error::CliError;
use super::hub::{confirm, named};
use super::interrupt::{self, Meaning};
use super::options::Common;
use crate::hub::Cache;

#[derive(Debug, Args)]
pub struct Rm {
    /// Model to delete: a repository, one of its quantisations, or one of its revisions
    #[arg(env = "LFM2_NAME", value_name = "OWNER/REPO[:QUANT][@REVISION]")]
    name: String,
    /// Delete without asking
    #[arg(short, long, env = "LFM2_YES")]
    yes: bool,
}

impl Rm {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let name = named(&self.name, "lfm2 rm")?;
        let cache = Cache::from_env()?;
        let meant = cache.meant(&name)?;
        if !self.yes && !meant.is_empty() {
            if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
                return Err(CliError::User(format!(
                    "{name}: no terminal to confirm at; --yes deletes it without asking"
                )));
            }
            interrupt::means(Meaning::End);
            let all: Vec<_> =
                meant.iter().map(|e| format!("{} ({})", e.name(), DecimalBytes(e.bytes))).collect();
            if !confirm(&format!("Delete {}?", all.join(", ")), false)? {
                return Err(CliError::User(format!("{name}: not deleted")));
            }
            interrupt::means(Meaning::StopThenEnd);
        }
        let freed = cache.remove(&name)?;
        if !common.quiet {
            eprintln!("{name}: deleted, {} freed", DecimalBytes(freed));
        }
        Ok(())
    }
}
