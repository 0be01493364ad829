//! `lfm2 pull`: downloads a model or a LoRA adapter from the hub into the cache.

use clap::Args;

use super::error::CliError;
use super::hub::{Ask, Kind, fetch, named};
use super::options::Common;
use super::print::print;
use crate::hub::{Cache, HubError};

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Pull {
    /// Model on the hub, one of its quantisations, or one of its revisions (branch, tag, commit)
    #[arg(env = "LFM2_NAME", value_name = "OWNER/REPO[:QUANT][@REVISION]")]
    name: String,
    /// Download without asking
    #[arg(short, long, env = "LFM2_YES")]
    yes: bool,
    /// Also check files in the cache, and download damaged ones again
    #[arg(long, env = "LFM2_CHECK")]
    check: bool,
}

const NOTES: &str = "\
Prints the path of the folder or file. QUANT defaults to the first of Q4_0, Q4_K_M and QAD-Q4_0 that \
exists, else to the only one. A name may also be the address of a page or file on the hub, or name a LoRA \
adapter. Models that this engine cannot run are refused before the download. An interrupted download \
resumes. A file gets its final name only after its hash matches the hub's. The cache is that of Python's \
huggingface_hub.

Environment variables: HF_HOME, HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, XDG_CACHE_HOME, HF_ENDPOINT, \
HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE

Examples:
  lfm2 pull LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0
  lfm2 pull LiquidAI/LFM2.5-1.2B-Instruct-GGUF";

impl Pull {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let name = named(&self.name, "lfm2 pull")?;
        let ask = if self.yes { Ask::Never } else { Ask::IfPossible };
        let fetch = |kind| fetch(Cache::from_env()?, &name, common, kind, ask, self.check);
        let model = match fetch(Kind::Model) {
            // An adapter's repository has no model, or a GGUF file that is none.
            Err(CliError::Hub(e @ (HubError::NoModel { .. } | HubError::Unsupported { .. }))) => {
                match fetch(Kind::Adapter) {
                    Err(CliError::Hub(
                        HubError::NoAdapter { .. } | HubError::Unsupported { .. },
                    )) => {
                        return Err(e.into());
                    }
                    fetched => fetched?,
                }
            }
            fetched => fetched?,
        };
        print(&format!("{}\n", model.path().display()))
    }
}
