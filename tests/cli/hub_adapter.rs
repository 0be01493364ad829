//! LoRA adapters of the hub, from a server on this machine.

use std::path::Path;

use super::hub::Computer;
use super::hub_server::{COMMIT, REPO, Server};
use super::{ok, refused, root};

/// The files of a fixture's adapter as a repository.
fn repository(adapter: &str, names: &[&str]) -> Server {
    let folder = root("tests/fixtures/lora").join(adapter);
    let read = |name: &&str| ((*name).to_owned(), std::fs::read(folder.join(name)).unwrap());
    let readme = ("README.md".to_owned(), b"# Adapter".to_vec());
    Server::start(names.iter().map(read).chain([readme]))
}

fn weights(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model.safetensors")).unwrap()
}

#[test]
fn a_pulled_adapter_is_merged_without_a_network() {
    let base = root("tests/fixtures/top-3-of-7");
    let local = root("tests/fixtures/lora/attention");
    let peft = ["adapter_config.json", "adapter_model.safetensors"];
    let to = tempfile::TempDir::new().unwrap();
    let out = |name: &str| to.path().join(name).to_str().unwrap().to_owned();
    let merge = ["merge", "-q", "-m", base.to_str().unwrap(), "--lora"];
    ok(&[&merge[..], &[local.to_str().unwrap(), "--out", &out("local")]].concat());
    for (names, folder) in [(&peft[..], true), (&["adapter.gguf"], false)] {
        let server = repository("attention", names);
        let computer = Computer::new(&server);
        let new = out(names[0]);
        let merge = [&merge[..], &[REPO, "--out", &new]].concat();
        refused(&mut computer.command(&merge), &["no downloaded adapter", "lfm2 pull owner/repo"]);
        let place = computer.repo().join("snapshots").join(COMMIT);
        let place = if folder { place } else { place.join(names[0]) };
        assert_eq!(computer.ok(&["pull", "-q", REPO]), format!("{}\n", place.display()));
        assert_eq!(computer.blobs().len(), names.len(), "no README.md");
        if folder {
            let list = computer.ok(&["list"]);
            assert!(list.contains("(LoRA adapter)"), "{list}");
            assert!(computer.ok(&["list", "--json"]).contains(r#""state":"adapter""#));
        }
        let offline = computer.command(&merge).env("HF_HUB_OFFLINE", "1").output().unwrap();
        assert!(offline.status.success(), "{offline:?}");
        assert!(weights(Path::new(&new)) == weights(Path::new(&out("local"))), "{names:?}");
    }
}

#[test]
fn a_repository_without_an_adapter_is_refused() {
    let server = repository("attention", &["adapter_config.json"]);
    let computer = Computer::new(&server);
    let error = ["owner/repo", "neither .gguf files nor config.json"];
    refused(&mut computer.command(&["pull", REPO]), &error);
    let model = std::fs::read(root("tests/fixtures/top-3-of-7/model.safetensors")).unwrap();
    let config = std::fs::read(root("tests/fixtures/top-3-of-7/config.json")).unwrap();
    let files = [("config.json".to_owned(), config), ("model.safetensors".to_owned(), model)];
    let server = Server::start(files);
    let computer = Computer::new(&server);
    computer.ok(&["pull", "-q", REPO]);
    let to = tempfile::TempDir::new().unwrap();
    let out = to.path().join("out");
    let base = root("tests/fixtures/top-3-of-7");
    let mut merge =
        computer.command(&["merge", "-m", base.to_str().unwrap(), "--lora", REPO, "--out"]);
    refused(merge.arg(&out), &["no downloaded adapter has this name"]);
}
