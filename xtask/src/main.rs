//! `cargo xtask web` builds the web package into web/dist, and the demonstration model's package into web/demo.
//! `cargo xtask web-tests` builds the browser tests into target/web-tests. With `--dev` both compile in a quarter
//! of the time, to larger wasm.

mod web;

use std::process::ExitCode;

use web::Profile;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let told = match args[..] {
        ["web"] => web::build(Profile::Published),
        ["web", "--dev"] => web::build(Profile::Dev),
        ["web-tests"] => web::build_tests(Profile::Published),
        ["web-tests", "--dev"] => web::build_tests(Profile::Dev),
        _ => Err("usage: cargo xtask web | web-tests [--dev]".into()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
