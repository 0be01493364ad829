//! Options, variables and help.

use super::{lfm2, ok, refused, run, text};

#[test]
fn variables_stand_for_options() {
    let with = |name: &str, value: &str, args: &[&str]| {
        let output = lfm2(args).env(name, value).output().unwrap();
        assert!(output.status.success(), "{name}={value}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let ids = ok(&["tokenize", "abc"]);
    assert_eq!(with("LFM2_TEXT", "abc", &["tokenize"]).0, ids);
    // Flags take what people write.
    for yes in ["1", "true", "yes", "on"] {
        let decoded = with("LFM2_DECODE", yes, &["tokenize", ids.trim()]).0;
        assert_eq!(decoded, "<|startoftext|>abc\n", "{yes}");
    }
    for no in ["0", "false", "no", "off", ""] {
        assert_eq!(with("LFM2_DECODE", no, &["tokenize", "abc"]).0, ids, "{no}");
    }
    refused(lfm2(&["tokenize", "abc"]).env("LFM2_DECODE", "maybe"), &["--decode"]);
    refused(lfm2(&["generate", "-p", "x"]).env("LFM2_TEMPERATURE", "hot"), &["--temperature"]);
    // An empty variable is none.
    assert_eq!(with("LFM2_MODEL", "", &["tokenize", "abc"]).0, ids);
}

#[test]
fn the_command_line_goes_before_variables() {
    // Alternatives: the one on the command line is taken, not the one that comes first.
    let ids = lfm2(&["tokenize", "abc"]).env("LFM2_CHAT", "/nonexistent").output().unwrap();
    assert_eq!(text(&ids.stdout), ok(&["tokenize", "abc"]));
    let mut file = lfm2(&["generate", "-f", "/nonexistent"]);
    refused(file.env("LFM2_PROMPT", "hi"), &["/nonexistent"]);
    let verbose = lfm2(&["-v", "tokenize", "abc"]).env("LFM2_QUIET", "1").output().unwrap();
    assert!(verbose.status.success(), "{}", text(&verbose.stderr));
    // Of two alternatives that are both given, none is ignored.
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

/// The short help shows what a beginner needs; the long one, the rest where it does something.
#[test]
fn help_is_as_long_as_it_must_be() {
    let chat = ok(&["chat", "-h"]);
    assert!(chat.lines().count() <= 45, "{}", chat.lines().count());
    assert!(chat.contains("--temperature") && chat.contains("--model"), "{chat}");
    for command in ["list", "rm", "pull", "completions", "tokenize", "chat", "info", "selftest"] {
        let (short, long) = (ok(&[command, "-h"]), ok(&[command, "--help"]));
        assert_eq!(ok(&["help", command]), long, "{command}");
        assert!(!short.contains("LFM2_") && long.contains("LFM2_"), "{command}: {short}");
        assert!(!short.contains("--multiply") && !short.contains("--adapter"), "{command}");
        assert_eq!(long.contains("--multiply"), command == "chat", "{command}");
        let on_gpu = ["chat", "info", "selftest"].contains(&command);
        assert_eq!(long.contains("--adapter"), on_gpu, "{command}");
        assert_eq!(
            long.contains("--chat-template"),
            ["chat", "tokenize"].contains(&command),
            "{command}"
        );
    }
    assert!(!ok(&["-h"]).contains("--multiply") && ok(&["--help"]).contains("--multiply"));
    // What is not shown is taken as before.
    ok(&["tokenize", "x", "--multiply", "lanes", "--memory", "1G"]);
}

/// Compiled pipelines are kept for the next start; neither a damaged file nor a cache directory
/// that cannot be written changes an answer or says a word.
#[cfg(target_os = "linux")]
#[test]
fn pipelines_are_kept_and_never_in_the_way() {
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
        // The Vulkan loader's own.
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
