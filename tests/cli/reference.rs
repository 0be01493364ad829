//! The option reference and the variables.

use super::root;

/// docs/cli.md is what the parser says. `UPDATE_DOCS=1 cargo test --test cli reference` writes it.
#[test]
fn the_option_reference_is_up_to_date() {
    let mut text = String::from(
        "# The command line\n\nMade from the parser by `UPDATE_DOCS=1 cargo test --test cli reference`.\n",
    );
    let mut command = lfm2_wgpu::cli::command().term_width(100);
    command.build();
    describe(&mut command, &mut text);
    let path = root("docs/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/cli.md is stale: UPDATE_DOCS=1 cargo test --test cli reference");
}

fn describe(command: &mut clap::Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    *text += &format!(
        "\n## {name}\n\n```text\n{}\n```\n",
        command.render_long_help().to_string().trim_end()
    );
    let mut subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    for subcommand in subcommands.iter_mut().filter(|c| c.get_name() != "help") {
        describe(&mut subcommand.clone().term_width(100), text);
    }
}

/// Every option is an environment variable as well.
#[test]
fn every_option_has_a_variable() {
    fn check(command: &clap::Command) {
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            if matches!(id, "help" | "version") {
                continue;
            }
            let variable = arg.get_env().and_then(|e| e.to_str()).unwrap_or_default();
            assert!(
                variable.starts_with("LFM2_"),
                "{}: {id} has no LFM2_ variable",
                command.get_name()
            );
        }
        command.get_subcommands().filter(|c| c.get_name() != "help").for_each(check);
    }
    check(&lfm2_wgpu::cli::command());
}
