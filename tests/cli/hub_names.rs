//! Names of models: forms that users paste, checks before a download, names that `list` prints.

use std::path::Path;

use super::gguf_writer::{F32, Gguf, convert};
use super::hub::{ANSWER, Computer, demo};
use super::hub_server::{COMMIT, REPO, Server};
use super::{lfm2, refused, root, text};

/// A small model with matrices of the given ggml type.
fn model_of(kind: u32) -> Vec<u8> {
    let mut file: Gguf = convert(&root("tests/fixtures/top-3-of-7"), F32);
    if kind != F32 {
        file.tensor("token_embd.weight").kind = kind;
    }
    file.bytes()
}

fn named(files: &[(&str, u32)]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(name, kind)| ((*name).to_owned(), model_of(*kind))).collect()
}

#[test]
fn unsupported_gguf_files_are_refused_before_the_download() {
    let files = [
        ("M-IQ4_NL.gguf", 20),
        ("M-MXFP4.gguf", 39),
        ("M-IQ3_XS.gguf", 21),
        ("M-Q2_K.gguf", 10),
        ("M-Q3_K_M.gguf", 11),
        ("M-TQ1_0.gguf", 34),
        ("M-NVFP4.gguf", 40),
        ("M-unknown-99.gguf", 99),
        ("M-Q4_0.gguf", F32),
        ("M-QAD-Q4_0.gguf", F32),
        ("M-Q8_0-00001-of-00002.gguf", F32),
        // The type in the name differs from the file's.
        ("M-Q6_K.gguf", 12 + 100),
    ];
    for parts in [true, false] {
        let server = Server::start(named(&files));
        if !parts {
            server.sends_no_parts();
        }
        let computer = Computer::new(&server);
        for (quant, kind) in [
            ("IQ4_NL", "has type IQ4_NL"),
            ("iq3_xs", "has type IQ3_S"),
            ("MXFP4", "has type MXFP4"),
            ("Q2_K", "has type Q2_K"),
            ("Q3_K_M", "has type Q3_K"),
            ("TQ1_0", "has type TQ1_0"),
            ("NVFP4", "has type NVFP4"),
            ("M-unknown-99", "unknown type 99"),
            ("Q6_K", "unknown type 112"),
        ] {
            let name = format!("owner/repo:{quant}");
            let words = [kind, "not downloaded", "owner/repo:Q4_0", "owner/repo:QAD-Q4_0"];
            refused(&mut computer.command(&["pull", &name]), &words);
            let probes = server.probes();
            assert!(!probes.is_empty() && probes.len() <= 4, "{quant}: {probes:?}");
            assert!(probes.iter().all(|p| p.range.as_deref().unwrap().starts_with("bytes=")));
            // Nothing else was requested, and the cache is empty.
            assert!(server.seen().iter().all(|s| s.path.starts_with("/api/")));
            assert!(!computer.repo().join("blobs").exists());
        }
        let stderr = text(&computer.run(&["pull", "owner/repo:IQ4_NL"]).stderr);
        assert!(!stderr.contains("MXFP4") && !stderr.contains("Q8_0-"), "{stderr}");
        computer.ok(&["-q", "pull", "owner/repo:Q4_0"]);
        // Cached files are not probed again.
        server.probes();
        computer.ok(&["-q", "pull", "owner/repo:Q4_0"]);
        assert!(server.probes().is_empty());
    }
}

#[test]
fn unsupported_checkpoints_are_refused_before_the_download() {
    let with = |name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut files = demo();
        let (_, bytes) = files.iter_mut().find(|(other, _)| other == name).unwrap();
        edit(bytes);
        Server::start(files)
    };
    let swap = |bytes: &mut Vec<u8>, from: &str, to: &str| {
        assert!(from.len() == to.len());
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    };
    let servers = [
        (with("config.json", &|b| swap(b, "\"lfm2_moe\"", "\"whatever\"")), "model_type"),
        (
            with("config.json", &|b| {
                swap(b, "\"intermediate_size\": 448", "\"intermediate_size\": 444")
            }),
            "shape",
        ),
        (
            with("model.safetensors", &|b| swap(b, "\"dtype\":\"BF16\"", "\"dtype\":\"I16\" ")),
            "is I16",
        ),
    ];
    for (server, word) in servers {
        let computer = Computer::new(&server);
        refused(&mut computer.command(&["pull", REPO]), &[word, "not downloaded"]);
        assert!(!computer.repo().join("blobs").exists());
    }
}

#[test]
fn quantisations_of_one_repository_are_distinguished() {
    let files = [
        ("LFM2.5-1.2B-BF16.gguf", F32),
        ("LFM2.5-1.2B-Q4_0.gguf", F32),
        ("LFM2.5-1.2B-QAD-Q4_0.gguf", F32),
        ("UD/LFM2.5-1.2B-UD-Q4_K_XL.gguf", F32),
        ("LFM2.5-1.2B.i1-Q4_K_M.gguf", F32),
        ("mmproj-LFM2.5-Q4_0.gguf", F32),
    ];
    let server = Server::start(named(&files));
    let computer = Computer::new(&server);
    let pulled = |name: &str| {
        let path = computer.ok(&["-q", "pull", name]);
        Path::new(path.trim_end()).file_name().unwrap().to_str().unwrap().to_owned()
    };
    // The plain name does not match the QAD file, neither on the hub nor in the cache.
    assert_eq!(pulled("owner/repo:qad-q4_0"), files[2].0);
    refused(
        &mut computer.command(&["-m", "owner/repo:Q4_0", "generate", "-p", "x"]),
        &["lfm2 pull"],
    );
    for (name, file) in [
        ("owner/repo", files[1].0),
        ("owner/repo:Q4_0", files[1].0),
        ("owner/repo:q4_0", files[1].0),
        ("owner/repo:QAD-Q4_0", files[2].0),
        ("owner/repo:LFM2.5-1.2B-QAD-Q4_0", files[2].0),
        ("owner/repo:UD-Q4_K_XL", "LFM2.5-1.2B-UD-Q4_K_XL.gguf"),
        ("owner/repo:i1-Q4_K_M", files[4].0),
        ("owner/repo:bf16", files[0].0),
    ] {
        assert_eq!(pulled(name), file, "{name}");
    }
    // Each command accepts the names that `list` prints.
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&computer.ok(&["list", "--json"])).unwrap();
    let names: Vec<&str> = listed.iter().map(|row| row["name"].as_str().unwrap()).collect();
    let want = ["BF16", "Q4_0", "QAD-Q4_0", "i1-Q4_K_M", "UD-Q4_K_XL"];
    assert_eq!(names, want.map(|quant| format!("owner/repo:{quant}")));
    for row in &listed {
        let (name, path) = (row["name"].as_str().unwrap(), row["path"].as_str().unwrap());
        assert_eq!(computer.ok(&["-q", "pull", name]).trim_end(), path);
        let info = computer.ok(&["-q", "-m", name, "info"]);
        assert!(info.contains(Path::new(path).file_name().unwrap().to_str().unwrap()), "{info}");
    }
    computer.ok(&["-q", "rm", "--yes", "owner/repo:Q4_0"]);
    assert_eq!(computer.ok(&["list"]).matches("Q4_0").count(), 2, "its name and its path");
    for row in listed.iter().filter(|row| row["name"] != "owner/repo:Q4_0") {
        computer.ok(&["-q", "rm", "--yes", row["name"].as_str().unwrap()]);
    }
    assert!(!computer.repo().exists());
}

#[test]
fn pasted_addresses_are_accepted() {
    let server = Server::start(named(&[("M-Q4_0.gguf", F32), ("M-F16.gguf", F32)]));
    let computer = Computer::new(&server);
    let host = computer.endpoint.trim_start_matches("http://").to_owned();
    let names = [
        "hf.co/owner/repo:Q4_0".to_owned(),
        "https://huggingface.co/owner/repo".to_owned(),
        "https://huggingface.co/owner/repo/tree/main?x=y".to_owned(),
        "https://huggingface.co/owner/repo/blob/main/M-Q4_0.gguf".to_owned(),
        format!("https://huggingface.co/owner/repo/resolve/{COMMIT}/M-Q4_0.gguf?download=true"),
        "hf://owner/repo".to_owned(),
        // The mirror that HF_ENDPOINT names.
        format!("http://{host}/owner/repo/resolve/main/M-Q4_0.gguf"),
    ];
    let mut paths = Vec::new();
    for name in &names {
        paths.push(computer.ok(&["-q", "pull", name]));
        let mut model = computer.command(&["-q", "-m", name, "info"]);
        assert!(model.output().unwrap().status.success(), "{name}");
    }
    paths.dedup();
    assert!(paths.len() == 1 && paths[0].ends_with("M-Q4_0.gguf\n"), "{paths:?}");
    let folder = Computer::new(&Server::start(demo()));
    folder.ok(&["-q", "pull", "hf.co/owner/repo"]);
    // A checkpoint is shown by its name, not by its commit.
    let line = folder.run(&[&["-m", "hf.co/owner/repo"], &ANSWER[1..]].concat());
    let line = text(&line.stderr);
    assert!(line.contains("owner/repo BF16") && !line.contains("01234567"), "{line}");
    for (name, words) in [
        ("https://example.com/owner/repo", "not a URL of the hub"),
        ("https://huggingface.co/datasets/a/b", "not the URL of a model"),
        ("hf.co/owner", "names no repository"),
    ] {
        refused(&mut folder.command(&["pull", name]), &[words]);
        refused(&mut folder.command(&["-m", name, "generate", "-p", "x"]), &[words]);
    }
}

#[test]
fn the_cache_is_that_of_huggingface_hub() {
    let server = Server::start(named(&[("M-Q4_0.gguf", F32)]));
    let computer = Computer::new(&server);
    computer.ok(&["-q", "pull", REPO]);
    let home = computer.home.path();
    for (variable, value) in [
        ("HF_HUB_CACHE", "$HOME/hub"),
        ("HF_HUB_CACHE", "~/hub"),
        ("HF_HUB_CACHE", "${HOME}/hub"),
        ("HUGGINGFACE_HUB_CACHE", "~/hub"),
        ("HUGGINGFACE_HUB_CACHE", "$HOME/hub"),
        ("HF_HOME", "$HOME"),
        ("HF_HOME", "~"),
        ("HF_HOME", "~/"),
    ] {
        let mut list = lfm2(&["-q", "list"]);
        for name in ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"] {
            list.env_remove(name);
        }
        list.env("HOME", home).env(variable, value).current_dir(home);
        let listed = text(&list.output().unwrap().stdout);
        assert!(listed.contains("owner/repo:Q4_0"), "{variable}={value}: {listed}");
    }
    for folder in ["$HOME", "~", "${HOME}"] {
        assert!(!home.join(folder).exists());
    }
}
