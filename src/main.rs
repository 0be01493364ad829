//! The command line program `lfm2`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lfm2_wgpu::cli::main()
}
