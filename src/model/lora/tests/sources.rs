//! Places from which an adapter is read.

use super::*;

fn adapter() -> Peft {
    Peft::new().pair("layers.0.conv.in_proj", 3 * HIDDEN, HIDDEN, 2)
}

fn error(files: &ModelFiles) -> String {
    block_on(LoraAdapter::read(files, &moe())).unwrap_err().to_string()
}

#[test]
fn a_folder_and_either_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let peft = adapter();
    std::fs::write(dir.path().join("adapter_config.json"), peft.config.to_string()).unwrap();
    let error = error(&ModelFiles::path(dir.path()).unwrap());
    assert!(error.contains("no adapter_model.safetensors"), "{error}");
    for name in ["adapter_model.safetensors", "other.safetensors"] {
        std::fs::write(dir.path().join(name), peft.weights()).unwrap();
    }
    let fingerprint = peft.ok(&moe()).fingerprint();
    for path in ["", "adapter_model.safetensors", "other.safetensors", "adapter_config.json"] {
        let files = ModelFiles::path(dir.path().join(path)).unwrap();
        let read = block_on(LoraAdapter::read(&files, &moe())).unwrap();
        assert_eq!(read.fingerprint(), fingerprint, "{path}");
    }
}

#[test]
fn other_files_are_named() {
    let json = adapter().config.to_string().into_bytes();
    for (files, problem) in [
        (
            &[("adapter_model.safetensors", adapter().weights())][..],
            "no adapter_config.json beside it",
        ),
        (&[("adapter_config.json", json.clone())], "no adapter_model.safetensors"),
        (
            &[("adapter_config.json", json), ("adapter_model.bin", vec![1])],
            "save the adapter with safe_serialization=True",
        ),
        (&[("config.json", b"{}".to_vec()), ("x", vec![])], "is a model, not an adapter"),
        (&[("a", vec![]), ("b", vec![])], "no adapter_config.json and no GGUF file"),
        (&[("a", vec![])], "is empty"),
        (&[("a", b"PK\x03\x04".to_vec())], "is not an adapter: need a folder"),
        (&[("config.json", b"{}".to_vec())], "is not an adapter: need a folder"),
    ] {
        let error = error(&table(files));
        assert!(error.starts_with("dir") && error.contains(problem), "{error}");
    }
}

/// Cut short anywhere, a file is an error and never a panic.
#[test]
fn truncated_files() {
    let peft = adapter();
    let (json, weights) = (peft.config.to_string().into_bytes(), peft.weights());
    for n in 0..weights.len() {
        let files = table(&[
            ("adapter_config.json", json.clone()),
            ("adapter_model.safetensors", weights[..n].to_vec()),
        ]);
        assert!(error(&files).contains("adapter_model.safetensors"));
    }
    for n in 0..json.len() {
        let files = table(&[
            ("adapter_config.json", json[..n].to_vec()),
            ("adapter_model.safetensors", weights.clone()),
        ]);
        assert!(error(&files).contains("adapter_config.json"));
    }
}
