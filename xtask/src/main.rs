//! `cargo xtask web` builds the web package into web/dist, `cargo xtask web-tests` the tests that run
//! in a browser into target/web-tests.

mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    let told = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [command] if command == "web" => web::build(),
        [command] if command == "web-tests" => web::build_tests(),
        _ => Err("usage: cargo xtask web | web-tests".into()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
