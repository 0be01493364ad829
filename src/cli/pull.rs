//! `lfm2 pull`: a model from the hub into the cache.

use clap::Args;

use super::error::CliError;
use super::hub::{Ask, fetch, named};
use super::options::Common;
use super::print::print;
use crate::hub::Cache;

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Pull {
    /// Model on the hub: owner/repo, a quantisation of it, a branch, tag or commit
    #[arg(env = "LFM2_NAME", value_name = "OWNER/REPO[:QUANT][@REVISION]")]
    name: String,
    /// Do not ask
    #[arg(short, long, env = "LFM2_YES")]
    yes: bool,
    /// Read what is there already too, and fetch again what is wrong
    #[arg(long, env = "LFM2_CHECK")]
    check: bool,
}

const NOTES: &str = "\
Prints the folder or file. Without QUANT: Q4_0, else Q4_K_M, else the only one. An address of a page \
or a file on the hub is a name too. What cannot run here is refused before it is downloaded. A run \
that is ended anywhere is continued by the next; a file gets its name only when its hash is what the \
hub says. The cache is that of huggingface_hub. These variables count: HF_HOME, HF_HUB_CACHE, \
HUGGINGFACE_HUB_CACHE, XDG_CACHE_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, \
HF_HUB_DOWNLOAD_TIMEOUT, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE.

Examples:
  lfm2 pull LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0
  lfm2 pull LiquidAI/LFM2.5-1.2B-Instruct-GGUF";

impl Pull {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let name = named(&self.name, "lfm2 pull")?;
        let ask = if self.yes { Ask::Never } else { Ask::IfPossible };
        let model = fetch(Cache::from_env()?, &name, common, ask, self.check)?;
        print(&format!("{}\n", model.path().display()))
    }
}
