//! The log on stderr.

use std::io::IsTerminal;

use env_logger::{Target, WriteStyle};

use super::options::Common;
use super::progress::BesideTheLine;

/// Starts the log: warnings unless quiet; with -v our own information, with -vv everybody's.
pub fn init(common: &Common) {
    let default = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (false, 0) => "error,lfm2_wgpu=warn",
        (false, 1) => "warn,lfm2_wgpu=info",
        (false, _) => "info,lfm2_wgpu=debug",
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("LFM2_LOG", default))
        .target(Target::Pipe(Box::new(BesideTheLine)))
        .write_style(if colours { WriteStyle::Always } else { WriteStyle::Never })
        .format_timestamp(None)
        .format_target(false)
        .init();
}
