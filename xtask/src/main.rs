//! `cargo xtask web` builds the web package into web/dist, and the demonstration model's package into web/demo.
//! `cargo xtask web-tests` builds the browser tests into target/web-tests. With `--dev` both compile in a quarter
//! of the time, to larger wasm.
//! `cargo xtask capi-header` makes capi/include/lfm2.h, and with `--check` only compares it.
//! `cargo xtask isa` reports on the machine code of the kernels for a GPU that is not there (isa/).

mod capi;
mod web;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use web::Profile;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let told = match args[..] {
        ["web"] => web::build(Profile::Published),
        ["web", "--dev"] => web::build(Profile::Dev),
        ["web-tests"] => web::build_tests(Profile::Published),
        ["web-tests", "--dev"] => web::build_tests(Profile::Dev),
        ["capi-header"] => capi::write_header(),
        ["capi-header", "--check"] => capi::check_header(),
        ["isa", ref args @ ..] => isa(args),
        _ => Err(
            "usage: cargo xtask web | web-tests [--dev], cargo xtask capi-header [--check], or \
                   cargo xtask isa --help"
                .into(),
        ),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// GPUs of `cargo xtask isa`: the driver (tools/mesa.sh), and the variable by which it pretends to have this GPU.
const GPUS: [(&str, &str, &str, &str); 6] = [
    ("gfx1150", "--amd", "RADV_FORCE_FAMILY", "gfx1150"),
    ("gfx1100", "--amd", "RADV_FORCE_FAMILY", "navi31"),
    ("navi21", "--amd", "RADV_FORCE_FAMILY", "navi21"),
    ("tgl", "--intel", "INTEL_STUB_GPU_PLATFORM", "tgl"),
    ("lnl", "--intel", "INTEL_STUB_GPU_PLATFORM", "lnl"),
    ("ga102", "--nvidia", "NOUVEAU_CHIPSET", "172"),
];

/// Runs the program `isa` with the drivers that pretend to have a GPU.
fn isa(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    build.args(["build", "--quiet", "--package", "lfm2-wgpu-isa"]).current_dir(&root);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let mut run = Command::new(root.join("tools/mesa.sh"));
    let last = args.iter().rposition(|arg| *arg == "--gpu").and_then(|at| args.get(at + 1));
    let gpu = last.copied().unwrap_or(GPUS[0].0);
    let known = GPUS.iter().find(|(name, ..)| *name == gpu);
    let (_, driver, variable, value) = known.ok_or_else(|| format!("--gpu {gpu}: not known"))?;
    // The stubs read the variable before `main` could set it. A cached kernel would have the report of another run.
    run.arg(driver).env(variable, value).env("MESA_SHADER_CACHE_DISABLE", "1");
    run.arg(target.join("debug/isa")).args(args);
    for command in [&mut build, &mut run] {
        if !command.status()?.success() {
            return Err("isa failed".into());
        }
    }
    Ok(())
}
