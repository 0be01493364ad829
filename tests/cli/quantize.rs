//! Packages: written, used for answers, and refused if incomplete.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lfm2_wgpu::engine::OpenedModel;
use lfm2_wgpu::formats::ModelFiles;
use lfm2_wgpu::model::package::{MAX_FILE_BYTES, PackagePlan};
use lfm2_wgpu::model::{ModelPart, Recipe, WeightChoice};
use pollster::block_on;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::gguf_writer::{BF16, convert};
use super::{copy, edit, lfm2, ok, refused, root, run_all, text};

const TINY: &str = "tests/fixtures/tiny-b";

/// `-m` and the path; nothing for the built-in model.
fn model(path: Option<&Path>) -> Vec<&str> {
    path.map_or(Vec::new(), |path| vec!["-m", path.to_str().unwrap()])
}

fn quantise(from: Option<&Path>, more: &[&str], to: &Path) {
    let out = ["quantize", "-q", "--out", to.to_str().unwrap()];
    let said = ok(&[&model(from)[..], &out, more].concat());
    assert_eq!(said, format!("{}\n", to.display()));
}

/// Bytes of the file that `logits` writes.
fn logits(of: Option<&Path>, more: &[&str]) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.safetensors");
    let ask = ["-q", "logits", "--tokens", "1,17,203,42,99,7,64,150", "--greedy", "4"];
    ok(&[&model(of)[..], &ask, more, &["--out", out.to_str().unwrap()]].concat());
    std::fs::read(out).unwrap()
}

fn manifest(package: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(package.join("manifest.json")).unwrap()).unwrap()
}

/// Asserts that the manifest has the length and hash of every other file.
fn assert_complete(package: &Path, source: &str, recipe: &Value) {
    let manifest = manifest(package);
    assert_eq!(manifest["format"], "lfm2-wgpu package");
    assert_eq!(manifest["version"], 1);
    assert_eq!(manifest["source"], source);
    assert_eq!(manifest["recipe"], *recipe);
    let files = manifest["files"].as_array().unwrap();
    for file in files {
        let bytes = std::fs::read(package.join(file["name"].as_str().unwrap())).unwrap();
        assert_eq!(file["bytes"], bytes.len());
        assert!(bytes.len() <= 256 << 20);
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(file["sha256"], hash);
    }
    assert_eq!(std::fs::read_dir(package).unwrap().count(), files.len() + 1);
}

#[test]
fn a_package_computes_the_same_as_quantising_while_loading() {
    let tiny = root(TINY);
    for (from, source) in [(None, "lfm2-wgpu demonstration model"), (Some(&*tiny), "tiny-b")] {
        for weights in ["q4", "q8", "f16"] {
            // The other formats use the same code.
            if !run_all() && (weights == "f16" || from.is_none() && weights == "q8") {
                continue;
            }
            let dir = TempDir::new().unwrap();
            let to = dir.path().join("package");
            quantise(from, &["--weights", weights], &to);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            let keep =
                if weights == "q4" { json!({"head": "q8", "attention": "q8"}) } else { json!({}) };
            assert_complete(&to, source, &json!({"weights": weights, "keep": keep}));
            // With fixed activations, so that the logits are comparable.
            for activations in ["float", "int8"] {
                let exact = ["--activations", activations];
                let want = logits(from, &[&exact[..], &["--weights", weights]].concat());
                assert!(logits(Some(&to), &exact) == want, "{source} {weights}");
                assert!(want != logits(from, &exact) || weights == "f16", "{source} {weights}");
            }
            // The package contains the source's tokenizer, so it answers.
            if from.is_none() {
                let ask = ["-q", "generate", "-p", "What is 2 + 3?", "--temp", "0", "-n", "8"];
                let ask = [&ask[..], &["--activations", "float"]].concat();
                let on_the_fly = ok(&[&ask[..], &["--weights", weights]].concat());
                assert_eq!(ok(&[&model(Some(&to))[..], &ask].concat()), on_the_fly);
            }
        }
    }
}

#[test]
fn parts_keep_their_own_format() {
    let (tiny, dir) = (root(TINY), TempDir::new().unwrap());
    let to = dir.path().join("package");
    // An empty folder is accepted, also with a slash at the end.
    std::fs::create_dir(&to).unwrap();
    let slash = PathBuf::from(format!("{}/", to.display()));
    let keep = "head=f16,attention=q8,conv=q8,dense=q4";
    quantise(Some(&tiny), &["--weights", "q4", "--keep", keep, "--keep", "experts=q8"], &slash);
    let keep = json!({
        "head": "f16", "attention": "q8", "conv": "q8", "dense": "q4", "experts": "q8"
    });
    assert_complete(&to, "tiny-b", &json!({"weights": "q4", "keep": keep}));
    // The files equal the library's for the same recipe.
    let (q8, q4, f16) = (WeightChoice::Q8, WeightChoice::Q4, WeightChoice::F16);
    let recipe = Recipe::new(q4).keeping([
        (ModelPart::Head, f16),
        (ModelPart::Attention, q8),
        (ModelPart::Conv, q8),
        (ModelPart::Dense, q4),
        (ModelPart::Experts, q8),
    ]);
    let files = Arc::new(ModelFiles::directory(&tiny).unwrap());
    let m = block_on(OpenedModel::open(&files)).unwrap();
    let plan =
        PackagePlan::new(&files, &m.config, &m.checkpoint, &m.tensors, &recipe, MAX_FILE_BYTES);
    let by_library = TempDir::new().unwrap();
    let plan = block_on(plan).unwrap();
    block_on(plan.write(by_library.path(), "tiny-b", &mut |_| true)).unwrap();
    for entry in std::fs::read_dir(by_library.path()).unwrap() {
        let path = entry.unwrap().path();
        let same = std::fs::read(to.join(path.file_name().unwrap())).unwrap();
        assert!(same == std::fs::read(&path).unwrap(), "{path:?}");
    }
}

#[test]
fn a_q8_package_scores_like_the_original() {
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("package");
    quantise(None, &["--weights", "q8"], &to);
    let questions = root("assets/demo/eval.jsonl");
    let limit = if run_all() { 200 } else { 20 };
    let score = |of: Option<&Path>| {
        let most = limit.to_string();
        let ask = ["-q", "eval", questions.to_str().unwrap(), "--limit", &most, "--json"];
        let ask = [&ask[..], &["--activations", "float"]].concat();
        let json: Value = serde_json::from_str(&ok(&[&model(of)[..], &ask].concat())).unwrap();
        assert_eq!(json["exact_match"]["total"], limit);
        json["exact_match"]["fraction"].as_f64().unwrap() * 100.0
    };
    let (original, packed) = (score(None), score(Some(&to)));
    assert!((original - packed).abs() <= 0.3, "{original} became {packed}");
}

#[test]
fn wrong_options_are_refused() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("new");
    let out = out.to_str().unwrap();
    let with = |more: &[&str]| lfm2(&[&["quantize", "--out", out][..], more].concat());
    refused(&mut with(&[]), &["--weights", "q4, q8 or f16"]);
    refused(&mut with(&["--weights", "q5"]), &["--weights", "q5"]);
    for wrong in ["head", "head=q5", "tail=q4", "=q4", "head=", "head=q4,,", "q4=head", "HEAD=q4"] {
        refused(&mut with(&["--weights", "q4", "--keep", wrong]), &["--keep", "head=q8"]);
    }
    let twice = "head=q8,conv=q8,head=q4";
    refused(&mut with(&["--weights", "q4", "--keep", twice]), &["--keep: head is given twice"]);
    refused(with(&["--weights", "q4"]).env("LFM2_KEEP", "x=q4"), &["--keep"]);
    refused(&mut lfm2(&["quantize", "--weights", "q4"]), &["--out"]);
    refused(&mut with(&["--weights", "q4", "-m", "/nonexistent"]), &["/nonexistent"]);

    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let places: [(&Path, &str); 5] = [
        (dir.path(), "is not empty"),
        (&file, "not a folder"),
        (Path::new("/nonexistent/x"), "/nonexistent/x"),
        (&file.join("x"), "file/x"),
        (Path::new("."), "not the name of a new folder"),
    ];
    for (place, words) in places {
        let mut command = lfm2(&["quantize", "--weights", "q4", "--out"]);
        refused(command.arg(place), &[words]);
    }
    // No refused command left a file.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
}

#[test]
fn quantised_sources_are_refused() {
    let dir = TempDir::new().unwrap();
    let package = dir.path().join("q8");
    quantise(None, &["--weights", "q8"], &package);
    let pack = |from: &Path| {
        let mut command = lfm2(&["quantize", "--weights", "q4", "-m", from.to_str().unwrap()]);
        command.arg("--out").arg(dir.path().join("new"));
        command
    };
    refused(&mut pack(&package), &["model.embed_tokens.weight", "Q8_0", "quantised already"]);
    // --weights is an error with a quantised model.
    let answer = ["-m", package.to_str().unwrap(), "--weights", "q4", "generate", "-p", "x"];
    refused(&mut lfm2(&answer), &["--weights", "already quantised"]);
    // A GGUF file needs the small files of the checkpoint beside it.
    let gguf = dir.path().join("m.gguf");
    std::fs::write(&gguf, convert(&root("assets/demo"), BF16).bytes()).unwrap();
    refused(&mut pack(&gguf), &["m.gguf", "config.json beside it", "checkpoint folder"]);
    let small = ["config.json", "tokenizer.json"];
    let beside = |of: &str, name| std::fs::copy(root(of).join(name), dir.path().join(name));
    beside("tests/fixtures/tiny-a", small[0]).unwrap();
    refused(&mut pack(&gguf), &["m.gguf", "tokenizer.json beside it"]);
    beside("assets/demo", small[1]).unwrap();
    refused(&mut pack(&gguf), &["m.gguf", "config.json", "not this GGUF model's"]);
    assert!(!dir.path().join("new").exists());
    // With its own files beside it, the package equals the folder's.
    for name in ["config.json", "tokenizer_config.json", "chat_template.jinja"] {
        beside("assets/demo", name).unwrap();
    }
    let to = dir.path().join("of-gguf");
    quantise(Some(&gguf), &["--weights", "q8"], &to);
    let exact = ["--activations", "float"];
    assert!(logits(Some(&to), &exact) == logits(Some(&package), &exact));
}

#[test]
fn incomplete_packages_are_refused() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole");
    quantise(Some(&root(TINY)), &["--weights", "q4"], &whole);
    let shard = "model-00001-of-00001.safetensors";
    let broken = |change: &dyn Fn(&TempDir)| {
        let dir = copy(whole.to_str().unwrap());
        change(&dir);
        dir
    };
    type Change<'a> = &'a dyn Fn(&TempDir);
    let remove =
        |name: &'static str| move |d: &TempDir| std::fs::remove_file(d.path().join(name)).unwrap();
    let cut = |name: &'static str| {
        move |d: &TempDir| {
            let file = std::fs::OpenOptions::new().write(true).open(d.path().join(name)).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        }
    };
    let cases: [(Change, &[&str]); 7] = [
        (&remove(shard), &["manifest.json", shard, "missing"]),
        (&remove("model.safetensors.index.json"), &["index.json", "missing"]),
        (&remove("generation_config.json"), &["generation_config.json", "missing"]),
        (&cut(shard), &[shard, "manifest.json says", "incomplete"]),
        (&cut("config.json"), &["config.json", "incomplete"]),
        (&|d: &TempDir| edit(d, "manifest.json", |m| m["version"] = 9.into()), &["version 9"]),
        // A file that is not JSON counts as ours if it contains the format's name.
        (
            &|d: &TempDir| {
                let cut_short = r#"{"format": "lfm2-wgpu package","#;
                std::fs::write(d.path().join("manifest.json"), cut_short).unwrap();
            },
            &["manifest.json", "wrong manifest"],
        ),
    ];
    for (change, words) in cases {
        let dir = broken(change);
        refused(&mut super::logits(dir.path(), &[]), words);
    }
}

/// A model with a large embedding of zeros in a sparse file, which takes a while to quantise.
fn large() -> TempDir {
    let dir = copy(TINY);
    std::fs::remove_file(dir.path().join("golden.json")).unwrap();
    let (rows, name) = (1_500_000_u64, "model.embed_tokens.weight");
    edit(&dir, "config.json", |c| c["vocab_size"] = rows.into());
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let len = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let hidden = header[name]["shape"][1].as_u64().unwrap();
    // The old embedding stays in the file, unused.
    header["old"] = header[name].clone();
    let end = (bytes.len() - 8 - len) as u64;
    let size = rows * hidden * 2;
    header[name] =
        json!({"dtype": "BF16", "shape": [rows, hidden], "data_offsets": [end, end + size]});
    let header = header.to_string();
    let start = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + len..]];
    std::fs::write(&path, start.concat()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() + size).unwrap();
    dir
}

/// Starts to quantise, and returns after the first bytes are written.
fn started(source: &Path, out: &Path) -> Child {
    let mut child = lfm2(&["quantize", "-q", "--weights", "q8", "-m", source.to_str().unwrap()])
        .arg("--out")
        .arg(out)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let part = PathBuf::from(format!("{}.{}.part", out.display(), child.id()));
    let len = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
    while std::fs::read_dir(&part).map_or(0, |files| files.map(len).max().unwrap_or(0)) < 1 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "the program ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!out.exists());
    child
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_no_package() {
    let (source, dir) = (large(), TempDir::new().unwrap());
    let out = dir.path().join("package");
    let names = || std::fs::read_dir(dir.path()).unwrap().count();
    let child = started(source.path(), &out);
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), String::new()));
    assert_eq!(names(), 0);

    let mut child = started(source.path(), &out);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!out.exists());
    // Files of a killed run do not disturb the next one.
    assert_eq!(names(), 1);
    quantise(Some(&root(TINY)), &["--weights", "q8"], &out);
    assert_complete(&out, "tiny-b", &json!({"weights": "q8", "keep": {}}));
}

/// A failed write, as on a full disk.
#[cfg(unix)]
#[test]
fn a_failed_write_leaves_no_file() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("package");
    let quantise = lfm2(&["quantize", "-q", "--weights", "q8", "--out", out.to_str().unwrap()]);
    // No file may be longer than 1000 blocks of 512 bytes (of 1024 in some shells).
    let limited = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", limited]).arg(quantise.get_program()).args(quantise.get_args());
    for (name, value) in quantise.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    refused(&mut shell, &["model-00001-of-00001.safetensors", "cannot write", "too large"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
