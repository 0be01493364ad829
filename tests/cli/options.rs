//! Options, variables and help.

use super::{lfm2, ok, refused, run, text};

#[test]
fn variables_set_options() {
    let with = |name: &str, value: &str, args: &[&str]| {
        let output = lfm2(args).env(name, value).output().unwrap();
        assert!(output.status.success(), "{name}={value}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let ids = ok(&["tokenize", "abc"]);
    assert_eq!(with("LFM2_TEXT", "abc", &["tokenize"]).0, ids);
    // Flags accept common spellings.
    for yes in ["1", "true", "yes", "on"] {
        let decoded = with("LFM2_DECODE", yes, &["tokenize", ids.trim()]).0;
        assert_eq!(decoded, "<|startoftext|>abc\n", "{yes}");
    }
    for no in ["0", "false", "no", "off", ""] {
        assert_eq!(with("LFM2_DECODE", no, &["tokenize", "abc"]).0, ids, "{no}");
    }
    refused(lfm2(&["tokenize", "abc"]).env("LFM2_DECODE", "maybe"), &["--decode"]);
    refused(lfm2(&["generate", "-p", "x"]).env("LFM2_TEMPERATURE", "hot"), &["--temperature"]);
    // An empty variable counts as unset.
    assert_eq!(with("LFM2_MODEL", "", &["tokenize", "abc"]).0, ids);
}

#[test]
fn the_command_line_takes_precedence_over_variables() {
    // The option on the command line wins over a conflicting variable.
    let ids = lfm2(&["tokenize", "abc"]).env("LFM2_CHAT", "/nonexistent").output().unwrap();
    assert_eq!(text(&ids.stdout), ok(&["tokenize", "abc"]));
    let mut file = lfm2(&["generate", "-f", "/nonexistent"]);
    refused(file.env("LFM2_PROMPT", "hi"), &["/nonexistent"]);
    let verbose = lfm2(&["-v", "tokenize", "abc"]).env("LFM2_QUIET", "1").output().unwrap();
    assert!(verbose.status.success(), "{}", text(&verbose.stderr));
    // Conflicting options on the command line are an error.
    refused(&mut lfm2(&["generate", "-p", "x", "--messages", "y"]), &["--prompt", "--messages"]);
    refused(&mut lfm2(&["generate", "x", "-p", "y"]), &["--prompt", "TEXT"]);
    refused(&mut lfm2(&["tokenize", "x", "--chat", "y"]), &["--chat"]);
    refused(&mut lfm2(&["-q", "-v", "tokenize", "x"]), &["--quiet", "--verbose"]);
    refused(&mut lfm2(&["generate", "--messages", "x", "--raw"]), &["--messages", "--raw"]);
    refused(
        lfm2(&["generate"]).envs([("LFM2_PROMPT", "x"), ("LFM2_MESSAGES", "y")]),
        &["--prompt", "--messages"],
    );
}

#[test]
fn help_goes_to_stdout() {
    for args in [&["--help"][..], &["-h"], &["generate", "--help"], &["help", "logits"]] {
        let output = run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}");
        assert!(text(&output.stdout).contains("Usage: lfm2"), "{args:?}");
    }
    assert!(ok(&["--version"]).starts_with("lfm2 "));
    let nothing = run(&[]);
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(2), 0));
}

fn help(args: &[&str]) -> String {
    let output = lfm2(args).env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// `-h` fits on a screen, `--help` on two.
#[test]
fn help_texts_are_short() {
    let whole = lfm2_wgpu::cli::command();
    let commands = whole.get_subcommands().map(clap::Command::get_name);
    for command in commands.filter(|name| *name != "help").chain([""]) {
        let path: Vec<_> = command.split_whitespace().collect();
        let (short, long) =
            (help(&[&path, &["-h"][..]].concat()), help(&[&path, &["--help"][..]].concat()));
        let (in_short, in_long) = (short.lines().count(), long.lines().count());
        println!("lfm2 {command}: {in_short} lines with -h, {in_long} with --help");
        assert!(in_short <= 30, "{short}");
        assert!(in_long <= 60, "{long}");
        assert!(long.lines().all(|line| line.chars().count() <= 100), "{long}");
        if !command.is_empty() {
            assert_eq!(help(&["help", command]), long, "{command}");
        }
    }
}

/// Each option is described in the help of its command, of `lfm2`, or of the engine; an option of the
/// engine nowhere else.
#[test]
fn options_of_the_engine_are_described_once() {
    let (main, engine) = (help(&["--help"]), help(&["help", "engine"]));
    assert_eq!(help(&["engine"]), engine);
    assert!(main.contains("lfm2 help engine"), "{main}");
    let whole = lfm2_wgpu::cli::command();
    for command in whole.get_subcommands().filter(|c| !["help", "engine"].contains(&c.get_name())) {
        let name = command.get_name();
        let own = help(&[name, "--help"]);
        for long in command.get_arguments().filter_map(clap::Arg::get_long) {
            let describes = |text: &str| {
                let option = format!("--{long}");
                let indented = text.lines().filter(|line| line.starts_with("  "));
                let mut entries = indented.map(str::trim_start).filter(|l| l.starts_with('-'));
                entries.any(|entry| {
                    entry.split([' ', ',']).take(3).any(|w| w.trim_end_matches("...") == option)
                })
            };
            assert!(describes(&own) || describes(&main) || describes(&engine), "{name}: --{long}");
            assert!(!(describes(&own) && describes(&engine)), "{name}: --{long} twice");
        }
        // The options of the engine are named where they have an effect.
        let is_free = ["list", "rm", "pull", "completions"].contains(&name);
        assert_eq!(own.contains("`lfm2 help engine`"), !is_free, "{own}");
    }
    assert!(help(&["selftest", "-h"]).contains("Engine options: --adapter, --limits "));
    assert!(!help(&["bench", "--help"]).contains("--messages"));
    // Options without an effect are accepted.
    ok(&["tokenize", "x", "--multiply", "lanes", "--memory", "1G"]);
}

/// Compiled pipelines are kept for the next start. A damaged file or a cache directory that cannot be
/// written changes no answer and prints nothing.
#[cfg(target_os = "linux")]
#[test]
fn the_pipeline_cache_changes_no_answer() {
    let home = tempfile::TempDir::new().unwrap();
    let cache = home.path().join("cache");
    let answer = |cache: &std::path::Path| {
        let mut command =
            lfm2(&["-q", "--skip-selftest", "generate", "--temp", "0", "-n", "4", "-p", "Hi"]);
        let output =
            command.env("XDG_CACHE_HOME", cache).env("LFM2_LOG", "lfm2_wgpu=warn").output();
        let output = output.unwrap();
        assert!(output.status.success());
        let errors = text(&output.stderr);
        // The Vulkan loader prints this line.
        let ours = errors.lines().find(|l| !l.contains("XDG_RUNTIME_DIR"));
        assert_eq!(ours, None, "{errors}");
        text(&output.stdout)
    };
    let first = answer(&cache);
    let files = || std::fs::read_dir(cache.join("lfm2/pipelines")).unwrap();
    let kept = files().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, &bytes[1..]).unwrap();
    assert_eq!(answer(&cache), first);
    assert_eq!(files().count(), 1);
    assert_eq!(std::fs::read(&kept).unwrap().len(), bytes.len());
    let blocked = home.path().join("blocked");
    std::fs::create_dir(&blocked).unwrap();
    std::fs::write(blocked.join("lfm2"), "").unwrap();
    assert_eq!(answer(&blocked), first);
}
