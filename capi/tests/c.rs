//! C and Python programs that use the library, compiled against its header. abi.c is a program with tests of its own.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lfm2_wgpu::Engine;
use lfm2_wgpu::api::ChatRequest;
use tempfile::TempDir;

const QUESTION: &str = "What is lfm2-wgpu?";

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The library, which cargo has built beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.parent().unwrap().join("liblfm2.so");
    assert!(library.exists(), "no {}", library.display());
    library
}

/// Runs a program; returns its output.
fn run(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles a C program with the library into `folder`.
fn compile(source: &str, folder: &TempDir) -> PathBuf {
    let (program, library) = (folder.path().join("program"), library());
    run(Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-o"])
        .arg(&program)
        .arg(file(source))
        .arg("-I")
        .arg(file("capi/include"))
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display())));
    program
}

/// Runs a test of abi.c.
fn abi(test: &str, argument: impl AsRef<OsStr>) {
    let folder = TempDir::new().unwrap();
    run(Command::new(compile("capi/tests/abi.c", &folder)).arg(test).arg(argument.as_ref()));
}

/// The answer to a question without C.
fn answer() -> String {
    let request = serde_json::json!({
        "messages": [{ "role": "user", "content": QUESTION }], "temperature": 0,
    });
    let request = ChatRequest::from_json(&request.to_string()).unwrap();
    pollster::block_on(async {
        let engine = Engine::builder().demo().build().await.unwrap();
        engine.chat(&request).unwrap().text().await.unwrap()
    })
}

#[test]
fn the_examples_print_the_engines_answer() {
    let expected = answer() + "\n";
    assert!(expected.contains("WebGPU"), "{expected}");
    let folder = TempDir::new().unwrap();
    let chat = compile("examples/c/chat.c", &folder);
    assert_eq!(run(Command::new(&chat).arg(QUESTION)), expected);
    // A model by its path, whose characters are those of JSON.
    let odd = folder.path().join("a \"model\"\\\n");
    std::os::unix::fs::symlink(file("assets/demo"), &odd).unwrap();
    assert_eq!(run(Command::new(&chat).arg(QUESTION).arg(&odd)), expected);
    let failed = Command::new(&chat).args([QUESTION, "/nonexistent"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let told = String::from_utf8(failed.stderr).unwrap();
    assert!(told.starts_with("chat: /nonexistent"), "{told}");

    let mut python = Command::new("python3");
    python.arg(file("examples/python/chat.py")).arg(library());
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(format!("{QUESTION}\n").as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    let lines = std::fs::read_to_string(file("examples/python/chat.py")).unwrap().lines().count();
    assert!(lines <= 60, "the example has {lines} lines");
}

#[test]
fn the_header_is_cpp_too() {
    run(Command::new("c++")
        .args(["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .arg("-fsyntax-only")
        .arg("-I")
        .arg(file("capi/include"))
        .arg(file("capi/tests/abi.c")));
}

#[test]
fn null_pointers_are_refused() {
    abi("nulls", "");
}

#[test]
fn wrong_handles_options_and_requests_are_refused() {
    abi("wrong_handles", "");
}

#[test]
fn every_way_to_read_gives_the_same_answer() {
    abi("ways", "");
}

#[test]
fn callbacks_get_the_answer_and_stop_it() {
    abi("callbacks", "");
}

#[test]
fn two_threads_share_an_engine() {
    abi("two_threads", "");
}

#[test]
fn a_state_is_saved_and_restored() {
    abi("state", TempDir::new().unwrap().path());
}

/// An adapter for the demonstration model in the files of PEFT: of one matrix, large enough for other texts.
fn adapter(folder: &Path) {
    let config = serde_json::json!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "target_modules": ["conv.out_proj"],
        "layers_to_transform": [0],
    });
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let values: Vec<f32> = (0..384).map(|i| (i as f32 * 1.7).sin()).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let module = "base_model.model.model.layers.0.conv.out_proj";
    let header = serde_json::json!({
        format!("{module}.lora_A.weight"): { "dtype": "F32", "shape": [2, 192], "data_offsets": [0, 1536] },
        format!("{module}.lora_B.weight"): { "dtype": "F32", "shape": [192, 2], "data_offsets": [1536, 3072] },
    });
    let header = header.to_string().into_bytes();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes, &bytes].concat();
    std::fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
}

#[test]
fn an_adapter_is_loaded_used_and_removed() {
    let folder = TempDir::new().unwrap();
    adapter(folder.path());
    abi("lora", folder.path());
}

/// A host app may make engines again and again.
#[test]
fn engines_leave_nothing_behind() {
    let all = std::env::var("LFM2_TESTS").is_ok_and(|tests| tests == "all");
    abi("cycles", if all { "200" } else { "20" });
}
