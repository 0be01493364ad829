//! Errors of the user: one line, exit code 2, nothing written.

use std::process::Command;

use tempfile::TempDir;

use super::{NO_DRIVER, copy, edit, lfm2, logits, refused, root, tiny};

#[test]
fn a_missing_driver_or_adapter_is_refused() {
    refused(
        lfm2(&["generate", "-p", "x"]).envs(NO_DRIVER),
        &["no GPU adapter", "mesa-vulkan-drivers"],
    );
    refused(
        &mut lfm2(&["--adapter", "no such card", "generate", "-p", "x"]),
        &["--adapter no such card", "There are: 0:"],
    );
    refused(&mut lfm2(&["--adapter", "no such card", "info"]), &["no such card", "There are: 0:"]);
}

#[test]
fn options_out_of_range_are_refused() {
    for (option, value, word) in [
        ("--temperature", "nan", "temperature"),
        ("--temperature", "-1", "temperature"),
        ("--temperature", "1e9", "temperature"),
        ("--top-p", "2", "top_p"),
        ("--min-p", "-0.1", "min_p"),
        ("--repetition-penalty", "0", "repetition_penalty"),
        ("--presence-penalty", "inf", "presence_penalty"),
        ("--max-tokens", "0", "max_tokens"),
        ("--context", "4000000000", "context"),
        ("--memory", "1M", "GPU memory"),
        ("--stop", "", "stop"),
        ("--top-k", "-2", "--top-k"),
        ("--seed", "-2", "--seed"),
        ("--seed", "1.5", "--seed"),
        ("--max-tokens", "-5", "--max-tokens"),
        ("--memory", "lots", "--memory"),
        ("--limits", "some", "--limits"),
        ("--no-such-option", "1", "--no-such-option"),
    ] {
        refused(&mut lfm2(&["-q", "generate", "-p", "x", option, value]), &[word]);
    }
    refused(&mut lfm2(&["-q", "generate"]), &["--prompt"]);
    refused(
        &mut lfm2(&["-q", "generate", "-p", &"word ".repeat(3000)]),
        &["tokens", "context is 2048"],
    );
    refused(&mut lfm2(&["-q", "bench", "-p", "100000"]), &["context"]);
    refused(&mut lfm2(&["-q", "verify"]), &["--model"]);
    refused(
        &mut lfm2(&["-q", "-m", root("tests/fixtures/tiny-a").to_str().unwrap(), "verify"]),
        &["LFM2-8B-A1B"],
    );
}

#[test]
fn bad_ids_and_output_files_are_refused() {
    let dir = tiny();
    for (ids, word) in [("1,101", "101"), ("1,x", "\"x\""), ("", "empty"), ("-1", "-1")] {
        let mut command = lfm2(&["-q", "-m", dir.path().to_str().unwrap(), "logits"]);
        command.args([&format!("--tokens={ids}"), "--out"]).arg(dir.path().join("o"));
        refused(&mut command, &[word]);
    }
    refused(
        &mut lfm2(&[
            "-q",
            "-m",
            dir.path().to_str().unwrap(),
            "logits",
            "--tokens",
            "1",
            "--out",
            "/nonexistent/x",
        ]),
        &["/nonexistent/x"],
    );
    for (place, word) in [("/dev/null", "/dev/null"), (dir.path().to_str().unwrap(), "regular")] {
        let mut command = lfm2(&["-q", "-m", dir.path().to_str().unwrap(), "logits"]);
        refused(command.args(["--tokens", "1", "--out", place]), &[word]);
    }
    // The message has both numbers, before anything is computed.
    refused(
        &mut logits(dir.path(), &["--greedy", "9", "-c", "11"]),
        &["need a context of 12, it is 11"],
    );
    refused(&mut logits(dir.path(), &["--greedy", "4000000000"]), &["128000"]);
    refused(&mut lfm2(&["bench", "-d", "18446744073709551615"]), &["context"]);
    for sequences in ["0", "257", "x"] {
        refused(&mut lfm2(&["bench", "--parallel", sequences]), &["--parallel"]);
    }
    let parts = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "part"));
    assert_eq!(parts.count(), 0);
    refused(&mut logits(dir.path(), &["--chunk", "0"]), &["--chunk"]);
    assert!(!dir.path().join("o").exists() && !dir.path().join("out.safetensors").exists());
    refused(&mut lfm2(&["tokenize", "--decode", "1,99999999"]), &["99999999"]);
}

#[test]
fn broken_model_directories_are_refused() {
    refused(&mut lfm2(&["-q", "-m", "/nonexistent", "generate", "-p", "x"]), &["/nonexistent"]);
    let file = root("Cargo.toml");
    refused(&mut lfm2(&["-q", "-m", file.to_str().unwrap(), "info"]), &["Cargo.toml"]);

    type Breaker = Box<dyn Fn(&TempDir)>;
    let json = |change: fn(&mut serde_json::Value)| -> Breaker {
        Box::new(move |d: &TempDir| edit(d, "config.json", change))
    };
    let remove = |name: &'static str| -> Breaker {
        Box::new(move |d: &TempDir| std::fs::remove_file(d.path().join(name)).unwrap())
    };
    let write = |name: &'static str, bytes: &'static [u8]| -> Breaker {
        Box::new(move |d: &TempDir| std::fs::write(d.path().join(name), bytes).unwrap())
    };
    let cases: Vec<(Breaker, &[&str])> = vec![
        (remove("config.json"), &["config.json"]),
        (remove("model.safetensors"), &["model.safetensors"]),
        (write("config.json", b"{"), &["config.json"]),
        (write("config.json", b"\xff\xfe"), &["config.json"]),
        (json(|c| c["hidden_size"] = 0.into()), &["config.json", "hidden_size"]),
        (json(|c| c["hidden_size"] = 60.into()), &["model.safetensors"]),
        (json(|c| c["num_experts_per_tok"] = 9.into()), &["config.json", "num_experts_per_tok"]),
        (json(|c| c["norm_eps"] = (-1.0).into()), &["config.json", "norm_eps"]),
        (json(|c| c["model_type"] = "llama".into()), &["config.json", "model_type"]),
        (json(|c| c["num_hidden_layers"] = 2_000_000_000_u32.into()), &["config.json"]),
        (json(|c| c["vocab_size"] = 102.into()), &["embed_tokens"]),
        (json(|c| c["layer_types"] = serde_json::json!(["conv"])), &["config.json", "layer_types"]),
        (json(|c| c["rope_theta"] = serde_json::json!("x")), &["config.json", "rope"]),
        (json(|c| c["eos_token_id"] = 101.into()), &["config.json", "eos_token_id"]),
        (json(|c| drop(c.as_object_mut().unwrap().remove("hidden_size"))), &["hidden_size"]),
        (write("generation_config.json", b"{\"temperature\": -3}"), &["temperature"]),
        (write("tokenizer.json", b"{}"), &["tokenizer.json"]),
        (write("model.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f{"), &["model.safetensors"]),
        (
            Box::new(|d: &TempDir| {
                let path = d.path().join("model.safetensors");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
            }),
            &["model.safetensors"],
        ),
        (
            Box::new(|d: &TempDir| {
                // A renamed tensor: the required one is missing.
                let path = d.path().join("model.safetensors");
                let mut bytes = std::fs::read(&path).unwrap();
                let name = b"model.layers.0.operator_norm.weight";
                let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
                bytes[at] = b'x';
                std::fs::write(path, bytes).unwrap();
            }),
            &["model.layers.0.operator_norm.weight"],
        ),
        (
            Box::new(|d: &TempDir| {
                // An unknown tensor type.
                let path = d.path().join("model.safetensors");
                let mut bytes = std::fs::read(&path).unwrap();
                let name = br#""dtype":""#;
                let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
                bytes[at + name.len()] = b'Q';
                std::fs::write(path, bytes).unwrap();
            }),
            &["model.safetensors"],
        ),
    ];
    for (breaks, words) in &cases {
        let dir = tiny();
        breaks(&dir);
        refused(&mut logits(dir.path(), &[]), words);
        let left = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name());
        let left: Vec<_> = left.filter(|n| n.to_string_lossy().starts_with("out.")).collect();
        assert!(left.is_empty(), "{words:?}: {left:?}");
    }
}

#[test]
fn broken_templates_and_conversations_are_refused() {
    for (template, word) in [
        ("{% for", "template"),
        ("{{ raise_exception('no tools here') }}", "no tools here"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "template",
        ),
        (
            "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
            "template",
        ),
    ] {
        let dir = copy("assets/demo");
        std::fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
        let model = dir.path().to_str().unwrap();
        refused(&mut lfm2(&["-q", "-m", model, "generate", "-p", "x"]), &[word]);
    }
    let dir = TempDir::new().unwrap();
    for (json, word) in [
        ("{", "messages.json"),
        (r#"{"messages": [{"role": "wizard", "content": "x"}]}"#, "messages[0].role"),
        (r#"{"messages": [{"role": "user", "content": 5}]}"#, "messages[0].content"),
        (r#"{"messages": 1}"#, "messages"),
    ] {
        let path = dir.path().join("messages.json");
        std::fs::write(&path, json).unwrap();
        refused(&mut lfm2(&["-q", "generate", "--messages", path.to_str().unwrap()]), &[word]);
    }
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_directories_are_not_files() {
    let dir = TempDir::new().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [fifo.to_str().unwrap(), "/dev/zero", dir.path().to_str().unwrap()] {
        refused(&mut lfm2(&["-q", "generate", "-f", path]), &[path]);
        refused(&mut lfm2(&["-q", "generate", "--messages", path]), &[path]);
        refused(&mut lfm2(&["-q", "tokenize", "--chat", path]), &[path]);
        refused(&mut lfm2(&["-q", "eval", path]), &[path]);
        refused(&mut lfm2(&["-q", "tokenize", &format!("@{path}")]), &[path]);
        let tokens = format!("@{path}");
        refused(&mut lfm2(&["-q", "logits", "--tokens", &tokens, "--out", "x"]), &[path]);
    }
    refused(&mut lfm2(&["-q", "-m", fifo.to_str().unwrap(), "info"]), &["fifo"]);
    let model = tiny();
    for file in ["config.json", "model.safetensors", "generation_config.json"] {
        let model = copy("tests/fixtures/top-3-of-7");
        let path = model.path().join(file);
        std::fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        refused(&mut logits(model.path(), &[]), &[file]);
    }
    drop(model);
}
