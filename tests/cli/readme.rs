//! The README's commands and its Rust program, run as printed.

use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

use super::{lfm2, refused, root, text};

/// The arguments of each line that calls `lfm2`.
fn commands() -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(root("README.md")).unwrap();
    let calls = readme.lines().filter_map(|line| line.strip_prefix("lfm2 "));
    let commands: Vec<_> = calls
        .map(|call| {
            let call = call.split(" # ").next().unwrap().trim();
            // Quotes enclose one argument.
            let parts = call.split('"').enumerate().flat_map(|(i, part)| match i % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            parts.collect()
        })
        .collect();
    assert!(commands.len() >= 8, "{commands:?}");
    commands
}

/// Commands with the built-in model answer. The others need a model, which their error names.
#[test]
fn the_commands_of_the_readme_work() {
    let dir = TempDir::new().unwrap();
    let (mut answered, mut named) = (0, 0);
    for command in commands() {
        let args: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut call = lfm2(&args);
        call.current_dir(dir.path()).env("HF_HUB_OFFLINE", "1");
        if args[0] == "serve" {
            // It never ends by itself. tests/clients use it as the README does.
            assert!(text(&lfm2(&["serve", "--help"]).output().unwrap().stdout).contains("/v1"));
            continue;
        }
        let model = args.iter().find(|arg| arg.contains("LFM2") || arg.contains("lfm2.5"));
        match model {
            // `doctor` knows published models without a network.
            Some(model) if args.contains(&"doctor") => {
                let output = call.output().unwrap();
                assert!(text(&output.stdout).contains(model), "{}", text(&output.stderr));
            }
            Some(model) => {
                refused(&mut call, &[model]);
                named += 1;
            }
            None => {
                let output = call.output().unwrap();
                assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
                answered += usize::from(text(&output.stdout).contains("WebGPU"));
            }
        }
    }
    assert!(answered >= 1 && named >= 5, "{answered} answered, {named} named their model");
}

#[test]
fn the_program_of_the_readme_answers() {
    let lfm2 = cargo_bin("lfm2");
    let examples = lfm2.parent().map(Path::to_owned).unwrap().join("examples");
    let output = Command::new(examples.join("quickstart")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("WebGPU"), "{}", text(&output.stdout));
}
