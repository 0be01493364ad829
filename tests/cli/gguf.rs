//! GGUF files as models.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::gguf_writer::{BF16, Gguf, V, convert};
use super::{lfm2, ok, refused, root};

fn demo() -> Gguf {
    convert(&root("assets/demo"), BF16)
}

fn written(dir: &TempDir, name: &str, file: &Gguf) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, file.bytes()).unwrap();
    path
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_gguf_file_answers_like_its_source() {
    let dir = TempDir::new().unwrap();
    let path = written(&dir, "m.gguf", &demo());
    let ask = ["generate", "-p", "What is 2 + 3?", "--temp", "0", "-n", "24"];
    let built_in = ok(&[&["-q"][..], &ask].concat());
    assert!(!built_in.is_empty());
    for model in [&path, dir.path()] {
        assert_eq!(ok(&[&["-q", "-m", str(model)][..], &ask].concat()), built_in);
        assert_eq!(ok(&["-m", str(model), "tokenize", "Hi"]), ok(&["tokenize", "Hi"]));
    }
    // Sampled as well: without its own recommendation, the model card's applies.
    let sampled = ["generate", "-p", "Hello", "-s", "7", "-n", "24"];
    assert_eq!(
        ok(&[&["-q", "-m", str(&path)][..], &sampled].concat()),
        ok(&[&["-q"][..], &sampled].concat())
    );
    let info: serde_json::Value =
        serde_json::from_str(&ok(&["-m", str(&path), "info", "--json"])).unwrap();
    assert_eq!(info["model"]["model_type"], "lfm2_moe");
    assert_eq!(info["model"]["place"], str(&path));
}

#[test]
fn bad_gguf_files_are_refused() {
    let dir = TempDir::new().unwrap();
    type Edit = fn(&mut Gguf);
    let cases: [(&str, Edit, &[&str]); 9] = [
        ("magic.gguf", |f| f.magic = *b"GGUX", &["magic.gguf", "is not a model"]),
        ("endian.gguf", |f| f.version = 3_u32.swap_bytes(), &["endian.gguf", "big-endian"]),
        ("tensors.gguf", |f| f.n_tensors = Some(1 << 40), &["1099511627776 tensors"]),
        (
            "string.gguf",
            |f| _ = f.set("x.s", V(8, (1_u64 << 32).to_le_bytes().to_vec())),
            &["string.gguf: x.s: ", "cut short"],
        ),
        (
            "experts.gguf",
            |f| _ = f.set("lfm2moe.expert_used_count", 9_u32),
            &["experts.gguf: lfm2moe.expert_used_count: got 9, need 1 to 8"],
        ),
        (
            "arch.gguf",
            |f| _ = f.set("general.architecture", "llama"),
            &["general.architecture", "lfm2moe"],
        ),
        ("type.gguf", |f| f.tensors[0].kind = 23, &["token_embd.weight", "IQ4_XS"]),
        (
            "types.gguf",
            |f| _ = f.remove("tokenizer.ggml.token_type"),
            &["tokenizer.ggml.token_type: is missing"],
        ),
        ("template.gguf", |f| _ = f.set("tokenizer.chat_template", "{% for"), &["chat template"]),
    ];
    for (name, edit, words) in cases {
        let mut file = demo();
        edit(&mut file);
        let path = written(&dir, name, &file);
        refused(&mut lfm2(&["-q", "-m", str(&path), "generate", "-p", "x"]), words);
    }
    refused(&mut lfm2(&["-m", str(dir.path()), "generate", "-p", "x"]), &["has 9 GGUF models"]);
    refused(&mut lfm2(&["-m", str(dir.path()), "tokenize", "x"]), &["has 9 GGUF models"]);

    let bytes = demo().bytes();
    for len in [0, 4, 23, 1000, bytes.len() / 2, bytes.len() - 64] {
        let path = dir.path().join("cut");
        std::fs::write(&path, &bytes[..len]).unwrap();
        refused(&mut lfm2(&["-q", "-m", str(&path), "generate", "-p", "x"]), &["cut: "]);
    }
    let weights = root("tests/fixtures/tiny-a/model.safetensors");
    refused(&mut lfm2(&["-m", str(&weights), "info"]), &["safetensors file: name its directory"]);
}
