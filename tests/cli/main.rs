//! The binary as a user runs it: answers, pipes, signals and errors.

mod answers;
mod bad_input;
mod batch;
mod bench;
mod bench_serve;
mod cost;
mod doctor;
mod first_hour;
mod gguf;
#[allow(dead_code, reason = "the other test binary uses all of it")]
#[path = "../it/formats/gguf_writer.rs"]
mod gguf_writer;
mod hub;
mod hub_adapter;
mod hub_cache;
mod hub_names;
mod hub_server;
mod info;
mod lm_eval;
mod lora;
mod marks;
mod merge;
mod options;
mod parse;
mod perplexity;
mod quantize;
mod readme;
mod reference;
mod serve;
mod structure;
#[cfg(target_os = "linux")]
mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether slow tests run completely: `tools/test.sh --all`.
fn run_all() -> bool {
    std::env::var_os("LFM2_TESTS").is_some_and(|value| value == "all")
}

/// The driver's cache of compiled shaders of the user. Mesa keeps it in the home directory. With a cold cache
/// each start compiles for several seconds.
fn shader_cache() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    set("MESA_SHADER_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME"))
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}

/// The program with its own home, so that it neither reads nor writes files of the user but for the driver's
/// cache of shaders. All tests share the program's cache, so that only the first start checks the GPU: a self-test
/// takes 1.6 s of two cores, and the tests start the program some 300 times.
fn lfm2(args: &[&str]) -> Command {
    static HOME: std::sync::OnceLock<TempDir> = std::sync::OnceLock::new();
    let home = HOME.get_or_init(|| TempDir::new().unwrap()).path();
    let mut command = Command::new(cargo_bin("lfm2"));
    command.args(args).env("HOME", home).env("MESA_SHADER_CACHE_DIR", shader_cache());
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    for name in ["XDG_STATE_HOME", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("LFM2_")) {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> Output {
    lfm2(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Asserts that the command prints one error line with `words` and nothing to stdout, exits with 2,
/// and is cheap.
fn refused(command: &mut Command, words: &[&str]) {
    let (output, cost) = cost::measured(command);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{command:?}: {stderr}");
    assert_eq!(stdout, "", "{command:?}");
    let errors: Vec<_> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{command:?}: {stderr}");
    // At most a tip follows, on a line of its own.
    let (_, rest) = stderr.split_once(&format!("{}\n", errors[0])).unwrap();
    let is_tip = rest.starts_with("tip: ") && rest.lines().count() == 1;
    assert!(rest.is_empty() || is_tip, "{command:?}: {stderr}");
    for word in words {
        assert!(errors[0].contains(word), "{command:?}: no {word:?} in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    cost::assert_small(command, cost);
}

/// A copy of a model directory that a test may damage.
fn copy(of: &str) -> TempDir {
    let to = TempDir::new().unwrap();
    for entry in std::fs::read_dir(root(of)).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, to.path().join(from.file_name().unwrap())).unwrap();
    }
    to
}

fn tiny() -> TempDir {
    copy("tests/fixtures/top-3-of-7")
}

fn edit(dir: &TempDir, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.path().join(file);
    let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
}

fn logits(dir: &Path, more: &[&str]) -> Command {
    let out = dir.join("out.safetensors");
    let mut command = lfm2(&["-q", "-m", dir.to_str().unwrap(), "logits", "--tokens", "1,2,3"]);
    command.arg("--out").arg(out).args(more);
    command
}

/// The Vulkan loader finds no driver.
const NO_DRIVER: [(&str, &str); 2] =
    [("VK_DRIVER_FILES", "/nonexistent"), ("VK_ICD_FILENAMES", "/nonexistent")];
