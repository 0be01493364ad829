//! `lfm2 merge`: copies and packages with adapters in their weights, and the refusals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lfm2_wgpu::engine::OpenedModel;
use lfm2_wgpu::formats::ModelFiles;
use lfm2_wgpu::model::expected_tensors;
use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

use super::gguf_writer::{BF16, F32, convert};
use super::{lfm2, ok, refused, root, text};

fn fixture(name: &str) -> PathBuf {
    root("tests/fixtures").join(name)
}

fn adapter(name: &str) -> String {
    fixture("lora").join(name).to_str().unwrap().to_owned()
}

fn merge(base: &Path, more: &[&str], to: &Path) {
    let (base, out) = (base.to_str().unwrap(), to.to_str().unwrap());
    let said = ok(&[&["merge", "-q", "-m", base, "--out", out][..], more].concat());
    assert_eq!(said, format!("{out}\n"));
}

/// Logits for the adapter's prompt, and PEFT's.
fn logits(model: &Path, adapter: &str, more: &[&str]) -> (Vec<f32>, Vec<f32>) {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.safetensors");
    let read = |file: &[u8], name: &str| -> Vec<f32> {
        let tensors = SafeTensors::deserialize(file).unwrap();
        let bytes = tensors.tensor(name).unwrap().data().to_vec();
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let golden = std::fs::read(fixture("lora").join(adapter).join("logits.safetensors")).unwrap();
    let ids: Vec<String> =
        read(&golden, "input_ids").iter().map(|id| id.to_bits().to_string()).collect();
    let ask = ["-q", "logits", "-m", model.to_str().unwrap(), "--tokens", &ids.join(",")];
    ok(&[&ask[..], more, &["--out", out.to_str().unwrap()]].concat());
    (read(&std::fs::read(out).unwrap(), "logits"), read(&golden, "logits"))
}

/// The largest difference, in units of the largest value.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    ours.iter().zip(theirs).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
    });
    named.filter(|(name, _)| !name.starts_with("golden")).collect()
}

/// Every tensor of the model by its name on the hub, as bytes.
fn tensors(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = Arc::new(ModelFiles::directory(dir).unwrap());
    let model = block_on(OpenedModel::open(&files)).unwrap();
    let read = |id| {
        let slice = model.tensors.get(id).unwrap();
        let mut bytes = vec![0; slice.bytes() as usize];
        block_on(model.checkpoint.read(slice, 0, &mut bytes)).unwrap();
        bytes
    };
    let ids = expected_tensors(&model.config).into_iter().map(|(id, _)| id);
    ids.map(|id| (id.hub_name(), read(id))).collect()
}

fn changed(base: &Path, merged: &Path) -> Vec<String> {
    let (before, after) = (tensors(base), tensors(merged));
    before.into_iter().filter(|(name, bytes)| after[name] != *bytes).map(|(name, _)| name).collect()
}

fn adapted(name: &str) -> Vec<String> {
    let about = std::fs::read(fixture("lora").join(name).join("logits.json")).unwrap();
    let about: Value = serde_json::from_slice(&about).unwrap();
    about["deltas"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_merged_copy_computes_what_peft_computes() {
    let (base, dir) = (fixture("tiny-a"), TempDir::new().unwrap());
    let to = dir.path().join("merged");
    merge(&base, &["--lora", &adapter("everything")], &to);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let (ours, theirs) = logits(&to, "everything", &[]);
    let distance = difference(&ours, &theirs);
    assert!(distance < 1e-4, "{distance}");
    // Only the adapter's matrices have changed, and every file is there.
    assert_eq!(changed(&base, &to), adapted("everything"));
    let (before, after) = (files(&base), files(&to));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, bytes) in &before {
        assert_eq!(bytes.len(), after[name].len(), "{name}");
        assert_eq!(*bytes == after[name], !name.starts_with("model"), "{name}");
    }

    // Two parts of an adapter add up to the whole one; a part of 0 changes nothing.
    let parts = [("a=", "a=0.25"), ("b=", "b=0.75")];
    let parts =
        parts.map(|(name, scale)| [format!("{name}{}", adapter("everything")), scale.to_owned()]);
    let parts: Vec<&str> = parts
        .iter()
        .flat_map(|[path, scale]| ["--lora", &**path, "--lora-scale", &**scale])
        .collect();
    merge(&base, &parts, &dir.path().join("parts"));
    let distance = difference(&logits(&dir.path().join("parts"), "everything", &[]).0, &theirs);
    assert!(distance < 1e-4, "{distance}");
    let none = dir.path().join("none");
    merge(&base, &["--lora", &adapter("everything"), "--lora-scale", "0"], &none);
    assert!(files(&none) == before);
}

/// Shards and fused experts keep their layout, and their matrices are those of the plain layout.
#[test]
fn every_layout_of_a_checkpoint_is_kept() {
    let dir = TempDir::new().unwrap();
    let to = |name: &str| dir.path().join(name);
    let lora = adapter("patterns");
    for base in ["top-3-of-7", "fused", "sharded"] {
        merge(&fixture(base), &["--lora", &lora], &to(base));
        let (before, after) = (files(&fixture(base)), files(&to(base)));
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        assert_eq!(changed(&fixture(base), &to(base)), adapted("patterns"), "{base}");
    }
    assert!(tensors(&to("fused")) == tensors(&to("top-3-of-7")));
    assert!(files(&to("sharded")).len() > 4, "an index and several shards");
    // bf16 rounds the sums.
    let (ours, theirs) = logits(&to("fused"), "patterns", &[]);
    let distance = difference(&ours, &theirs);
    assert!(distance < 0.05, "{distance}");
    // Elements are the nearest of their type.
    let name = "model.layers.2.feed_forward.experts.3.w1.weight";
    let about = std::fs::read(fixture("lora/patterns/logits.json")).unwrap();
    let about: Value = serde_json::from_slice(&about).unwrap();
    let [base, merged] = [fixture("fused"), to("fused")].map(|dir| tensors(&dir)[name].clone());
    let value =
        |bytes: &[u8], i: usize| half::bf16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]);
    for element in about["deltas"][name]["elements"].as_array().unwrap() {
        let [row, col, delta] = [0, 1, 2].map(|i| element[i].as_f64().unwrap());
        let i = row as usize * 48 + col as usize;
        let sum = f64::from(value(&base, i)) + delta;
        assert_eq!(value(&merged, i), half::bf16::from_f64(sum), "{element}");
    }
}

#[test]
fn a_merged_package_is_the_merged_copy_quantised() {
    let dir = TempDir::new().unwrap();
    let (copy, package) = (dir.path().join("copy"), dir.path().join("package"));
    let lora = ["--lora", &adapter("everything")];
    merge(&fixture("tiny-a"), &lora, &copy);
    for weights in ["q4", "f16"] {
        let weights = ["--weights", weights];
        merge(&fixture("tiny-a"), &[&lora[..], &weights].concat(), &package);
        let exact = ["--activations", "float"];
        let of_package = logits(&package, "everything", &exact).0;
        let of_copy = logits(&copy, "everything", &[&exact[..], &weights].concat()).0;
        assert!(of_package == of_copy, "{weights:?}");
        let manifest = std::fs::read(package.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["recipe"]["weights"], weights[1]);
        std::fs::remove_dir_all(&package).unwrap();
    }
}

/// A GGUF file with its checkpoint's small files beside it.
#[test]
fn a_merged_gguf_model_is_the_package_of_its_checkpoint() {
    let dir = TempDir::new().unwrap();
    let (demo, gguf) = (root("assets/demo"), dir.path().join("base.gguf"));
    std::fs::write(&gguf, convert(&demo, BF16).bytes()).unwrap();
    let lora = super::lora::adapter(&dir.path().join("lora"), 1.0);
    let more = ["--lora", &lora, "--weights", "q4"];
    let out = dir.path().join("none");
    let base = ["merge", "-m", gguf.to_str().unwrap(), "--out", out.to_str().unwrap()];
    refused(&mut lfm2(&[&base[..], &more].concat()), &["base.gguf", "config.json beside it"]);
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(demo.join(name), dir.path().join(name)).unwrap();
    }
    let (of_gguf, of_checkpoint) = (dir.path().join("gguf"), dir.path().join("checkpoint"));
    merge(&gguf, &more, &of_gguf);
    merge(&demo, &more, &of_checkpoint);
    // The GGUF file has its small tensors in f32, the checkpoint in bf16, which is the upper half.
    let (gguf, checkpoint) = (tensors(&of_gguf), tensors(&of_checkpoint));
    assert!(gguf.keys().eq(checkpoint.keys()));
    for (name, bytes) in gguf {
        let in_f32 =
            |bf16: &[u8]| bf16.chunks(2).flat_map(|b| [0, 0, b[0], b[1]]).collect::<Vec<_>>();
        let other = &checkpoint[&name];
        assert!(bytes == *other || bytes == in_f32(other), "{name}");
    }
    let plain = dir.path().join("plain");
    ok(&[
        "quantize",
        "-q",
        "-m",
        demo.to_str().unwrap(),
        "--weights",
        "q4",
        "--out",
        plain.to_str().unwrap(),
    ]);
    assert_eq!(changed(&plain, &of_checkpoint), ["model.layers.0.conv.out_proj.weight"]);
}

#[test]
fn merges_that_are_refused() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let (attention, everything) = (adapter("attention"), adapter("everything"));
    let named = |name: &str| format!("{name}={attention}");
    let gguf = dir.path().join("x.gguf");
    std::fs::write(&gguf, convert(&fixture("top-3-of-7"), F32).bytes()).unwrap();
    let package = dir.path().join("package");
    ok(&[
        "quantize",
        "-q",
        "-m",
        fixture("tiny-a").to_str().unwrap(),
        "--weights",
        "q4",
        "--out",
        package.to_str().unwrap(),
    ]);
    let (base, other, plain) = (fixture("sharded"), fixture("gqa-8"), fixture("tiny-b"));
    let nowhere = dir.path().join("nowhere");
    let (base, package) = (base.to_str().unwrap(), package.to_str().unwrap());
    let cases: [(&[&str], &[&str]); 9] = [
        (&["-m", base], &["--lora"]),
        (&["-m", base, "--lora", nowhere.to_str().unwrap()], &["nowhere", "no such file"]),
        (
            &["-m", base, "--lora", plain.to_str().unwrap()],
            &["tiny-b", "is a model, not an adapter"],
        ),
        (&["-m", other.to_str().unwrap(), "--lora", &attention], &["lora/attention", "tensor"]),
        (
            &["-m", base, "--lora", &attention, "--lora", &attention],
            &["another adapter has the name attention"],
        ),
        (
            &["-m", base, "--lora", &named("a"), "--lora-scale", "b=1"],
            &["--lora-scale: there is no adapter b", "these are: a"],
        ),
        (
            &["-m", base, "--lora", &attention, "--lora-scale", "1e6"],
            &["_proj.weight", "becomes infinite in F16", "smaller --lora-scale"],
        ),
        (
            &["-m", gguf.to_str().unwrap(), "--lora", &attention],
            &["x.gguf", "is a GGUF model", "--weights"],
        ),
        (
            &["-m", package, "--lora", &everything],
            &["package", "quantised already", "Merge into the plain checkpoint"],
        ),
    ];
    for (args, words) in cases {
        let mut command = lfm2(&[&["merge", "--out", out.to_str().unwrap()][..], args].concat());
        refused(&mut command, words);
        assert!(!out.exists(), "{args:?}");
    }
    let help = ok(&["merge", "--help"]);
    assert!(
        help.contains("--weights, --lora, --lora-scale") && help.contains("W + scale * B * A"),
        "{help}"
    );
    let tip = lfm2(&["export-lora", "x"]).output().unwrap();
    assert!(text(&tip.stderr).contains("lfm2 merge"), "{}", text(&tip.stderr));
}
