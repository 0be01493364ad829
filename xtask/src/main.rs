//! `cargo xtask web` builds the web package into web/dist.

mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    let told = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [command] if command == "web" => web::build(),
        _ => Err("usage: cargo xtask web".into()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
