//! Reading valid GGUF files, including split ones.

use std::path::Path;
use std::sync::Arc;

use lfm2_wgpu::engine::OpenedModel;
use lfm2_wgpu::formats::gguf::{Counts, Value, read_header};
use lfm2_wgpu::formats::{ByteSource, BytesSource, ElementType, ModelFiles};
use lfm2_wgpu::model::TensorId;
use lfm2_wgpu::text::Conversation;

use super::gguf_writer::{BF16, F16, F32, Gguf, T, V, array, convert};
use super::refused::refused;

/// Opens files as a table, like a browser. Errors name them `dir/NAME`.
pub fn open(files: &[(&str, Vec<u8>)]) -> Result<OpenedModel, lfm2_wgpu::Error> {
    let sources = files.iter().map(|(name, bytes)| {
        let source = BytesSource::shared(format!("dir/{name}"), Arc::from(&bytes[..]));
        ((*name).to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
    });
    let files = Arc::new(ModelFiles::from_sources("dir", sources));
    pollster::block_on(OpenedModel::open(&files))
}

pub fn open_one(file: &Gguf) -> Result<OpenedModel, lfm2_wgpu::Error> {
    open(&[("m.gguf", file.bytes())])
}

/// The demonstration model, which also has a tokenizer and a template.
pub fn demo() -> Gguf {
    convert(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo"), BF16)
}

#[test]
fn keys_of_every_type() {
    let mut file = Gguf::new();
    file.version = 2;
    file.set("a.u8", V(0, vec![200])).set("a.i8", V(1, vec![0x80]));
    file.set("a.u16", 60_000_u16).set("a.i16", V(3, (-5_i16).to_le_bytes().to_vec()));
    file.set("a.u32", 4_000_000_000_u32).set("a.i32", -7).set("a.f32", 0.5_f32);
    file.set("a.bool", true).set("a.text", "é\n").set("a.u64", V(10, vec![0xff; 8]));
    file.set("a.i64", V(11, vec![0xff; 8])).set("a.f64", V(12, 1e-5_f64.to_le_bytes().to_vec()));
    file.set("b.bools", array(7, 2, vec![1, 0])).set("b.empty", array(8, 0, vec![]));
    file.set("b.i8", array(1, 3, vec![0, 127, 0x80])).set("b.u64", array(10, 1, vec![0xff; 8]));
    file.set("b.texts", &["x".to_owned(), String::new(), "yz".to_owned()][..]);
    let source = BytesSource::shared("f.gguf", Arc::from(file.bytes()));
    let header = pollster::block_on(read_header(&source, 0)).unwrap();
    let m = header.metadata;
    assert!(header.tensors.is_empty() && m.keys().count() == 17 && m.file() == "f.gguf");
    for (key, shown) in [
        ("a.u8", "200"),
        ("a.i8", "-128"),
        ("a.u16", "60000"),
        ("a.i16", "-5"),
        ("a.u32", "4000000000"),
        ("a.i32", "-7"),
        ("a.f32", "0.5"),
        ("a.bool", "true"),
        ("a.text", "\"é\\n\""),
        ("a.u64", "18446744073709551615"),
        ("a.i64", "-1"),
        ("a.f64", "1e-5"),
        ("b.bools", "an array of 2 bool"),
    ] {
        assert_eq!(m.get(key).unwrap().to_string(), shown, "{key}");
    }
    let Some(Value::Array(texts)) = m.get("b.texts") else { panic!() };
    assert_eq!(texts.texts().unwrap().collect::<Vec<_>>(), ["x", "", "yz"]);
    assert!(texts.integers().is_none() && texts.len() == 3);
    let integers =
        |key: &str| -> Vec<i128> { m.array(key).unwrap().unwrap().integers().unwrap().collect() };
    assert_eq!(integers("b.i8"), [0, 127, -128]);
    assert_eq!(integers("b.u64"), [u64::MAX.into()]);
    assert!(m.array("b.empty").unwrap().unwrap().is_empty());
    assert!(m.array("b.bools").unwrap().unwrap().integers().is_none());
    assert_eq!(m.counts("a.u8").unwrap(), Some(Counts::One(200)));
    assert_eq!(m.count("c"), Ok(None));
    for key in ["a.i8", "a.f32", "a.text", "b.i8", "a.u64"] {
        let result = m.count(key).map(|count| assert!(key == "a.u64" && count.is_some()));
        assert!(result.is_ok() == (key == "a.u64"), "{key}");
    }
}

#[test]
fn tensors_of_every_type_and_alignment() {
    for alignment in [1_u64, 8, 32, 4096] {
        let mut file = Gguf::new();
        file.alignment = alignment;
        file.set("general.alignment", alignment as u32);
        let kinds = [
            (0, ElementType::F32, 4),
            (1, ElementType::F16, 2),
            (2, ElementType::Q4_0, 18),
            (3, ElementType::Q4_1, 20),
            (6, ElementType::Q5_0, 22),
            (7, ElementType::Q5_1, 24),
            (8, ElementType::Q8_0, 34),
            (12, ElementType::Q4_K, 144),
            (13, ElementType::Q5_K, 176),
            (14, ElementType::Q6_K, 210),
            (26, ElementType::I32, 4),
            (30, ElementType::BF16, 2),
        ];
        for (kind, element_type, bytes) in kinds {
            let block = element_type.block();
            assert_eq!(block.bytes, bytes);
            let (name, ne) = (format!("t{kind:02}").into_bytes(), vec![block.elements, 3, 2]);
            let data = vec![kind as u8; 6 * bytes as usize];
            file.tensors.push(T { name, ne, kind, data, offset: None });
        }
        let bytes = file.bytes();
        let source = BytesSource::shared("f.gguf", Arc::from(&bytes[..]));
        let tensors = pollster::block_on(read_header(&source, 5)).unwrap().tensors;
        assert_eq!(tensors.len(), kinds.len());
        for (tensor, (kind, element_type, _)) in tensors.iter().zip(kinds) {
            assert_eq!((tensor.element_type, tensor.file), (element_type, 5));
            let row = element_type.block().elements as usize;
            assert_eq!(tensor.shape, [2, 3, row]);
            let range = tensor.range.start as usize..tensor.range.end as usize;
            assert!(bytes[range].iter().all(|byte| *byte == kind as u8), "{kind}");
        }
    }
}

#[test]
fn every_fixture_means_the_same_as_a_gguf() {
    let mut seen = 0;
    for entry in std::fs::read_dir(super::fixture("")).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("config.json").exists() {
            continue;
        }
        let hub = super::load(&path);
        for kind in [F32, F16, BF16] {
            let gguf = open_one(&convert(&path, kind)).unwrap();
            assert_eq!(gguf.config, hub.config, "{path:?}");
            assert_eq!(gguf.tensors.size().total_parameters, hub.tensors.size().total_parameters);
            let head = gguf.tensors.get(TensorId::LmHead).is_some();
            assert_eq!(head, !hub.config.tie_word_embeddings, "{path:?}");
            assert_eq!(gguf.generation.eos_token_ids, [7]);
            assert!(gguf.text.tokenizer().unwrap_err().to_string().contains("tokenizer"));
        }
        seen += 1;
    }
    assert!(seen >= 23, "only {seen}");
}

#[test]
fn sizes_are_the_tensors() {
    let mut file = convert(&super::fixture("tiny-a"), F32);
    let want = open_one(&file).unwrap().config;
    for key in [
        "embedding_length",
        "feed_forward_length",
        "expert_feed_forward_length",
        "expert_count",
        "shortconv.l_cache",
        "vocab_size",
        "attention.key_length",
    ] {
        file.set(&format!("lfm2moe.{key}"), 12_u32);
    }
    file.remove("lfm2moe.attention.value_length");
    assert_eq!(open_one(&file).unwrap().config, want);
    for key in ["vocab_size", "attention.key_length", "expert_gating_func"] {
        file.remove(&format!("lfm2moe.{key}"));
    }
    file.remove("general.type");
    assert_eq!(open_one(&file).unwrap().config, want);
}

#[test]
fn end_tokens_and_recommendations() {
    let mut file = demo();
    let opened = open_one(&file).unwrap();
    assert_eq!((opened.generation.eos_token_ids, opened.generation.temperature), (vec![7], None));
    file.set("tokenizer.ggml.eot_token_id", 2_u32).set("tokenizer.ggml.eom_token_id", 7_u32);
    file.set("general.sampling.temp", 0.5_f32).set("general.sampling.top_k", 40);
    let g = open_one(&file).unwrap().generation;
    assert_eq!((g.eos_token_ids, g.temperature, g.top_k), (vec![7, 2], Some(0.5), Some(40)));
    file.set("tokenizer.ggml.eos_token_ids", &[7, 5][..]);
    assert_eq!(open_one(&file).unwrap().generation.eos_token_ids, [7, 2, 5]);
    for wrong in [V::from(&[-1][..]), V::from(&[2688][..]), V::from(&[7; 65][..]), 7_u32.into()] {
        file.set("tokenizer.ggml.eos_token_ids", wrong);
        let error = open_one(&file).map(drop).unwrap_err().to_string();
        assert!(error.contains("tokenizer.ggml.eos_token_ids: got"), "{error}");
    }
}

#[test]
fn the_demonstration_models_text_is_that_of_its_directory() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    let files = Arc::new(ModelFiles::directory(dir).unwrap());
    let hub = pollster::block_on(OpenedModel::open(&files)).unwrap();
    let gguf = open_one(&demo()).unwrap();
    assert_eq!(gguf.config, hub.config);
    let chat = r#"{"messages": [{"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Größe? <|im_end|> python 中文 😀"}], "tools": [{"name": "f"}]}"#;
    let conversation = Conversation::from_json(chat).unwrap();
    let want = hub.text.encode_chat(&conversation).unwrap();
    assert_eq!(gguf.text.encode_chat(&conversation).unwrap(), want);
    let (ours, theirs) = (gguf.text.tokenizer().unwrap(), hub.text.tokenizer().unwrap());
    assert_eq!(ours.encode("x", true).unwrap(), theirs.encode("x", true).unwrap());
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(ours.token_mask(2688), theirs.token_mask(2688));
    assert_eq!(gguf.text.place(), "dir/m.gguf");
}

/// A model cut into `count` parts like those of `gguf-split`; the first part has the keys.
pub fn split(file: &Gguf, count: usize) -> Vec<(String, Gguf)> {
    let per_part = file.tensors.len().div_ceil(count);
    let mut parts = Vec::new();
    for no in 0..count {
        let mut part = if no == 0 { file.clone() } else { Gguf::new() };
        part.tensors = file.tensors.iter().skip(no * per_part).take(per_part).cloned().collect();
        part.set("split.no", no as u16).set("split.count", count as u16);
        part.set("split.tensors.count", file.tensors.len() as i32);
        parts.push((format!("m-{:05}-of-{count:05}.gguf", no + 1), part));
    }
    parts
}

pub fn open_split(parts: &[(String, Gguf)]) -> Result<OpenedModel, lfm2_wgpu::Error> {
    let files: Vec<(&str, Vec<u8>)> =
        parts.iter().map(|(name, part)| (&**name, part.bytes())).collect();
    open(&files)
}

#[test]
fn a_split_model_is_the_same_model() {
    let file = convert(&super::fixture("tiny-a"), F32);
    let want = open_one(&file).unwrap();
    let mut parts = split(&file, 3);
    // A first part without tensors, like that of --no-tensor-first-split.
    let tensors = std::mem::take(&mut parts[0].1.tensors);
    parts[1].1.tensors.extend(tensors);
    let dir = tempfile::tempdir().unwrap();
    for (name, part) in &parts {
        std::fs::write(dir.path().join(name), part.bytes()).unwrap();
    }
    let first = dir.path().join(&parts[0].0);
    for path in [dir.path(), &first] {
        let files = Arc::new(ModelFiles::path(path).unwrap());
        let got = pollster::block_on(OpenedModel::open(&files)).unwrap();
        assert_eq!(got.config, want.config);
        assert_eq!(got.tensors.size(), want.tensors.size());
        for id in [TensorId::Embedding, TensorId::ExpertW2(4, 7), TensorId::EmbeddingNorm] {
            let bytes = |model: &OpenedModel| {
                let slice = *model.tensors.get(id).unwrap();
                let mut bytes = vec![0; slice.bytes() as usize];
                pollster::block_on(model.checkpoint.read(&slice, 0, &mut bytes)).unwrap();
                bytes
            };
            assert!(bytes(&got) == bytes(&want), "{id:?}");
        }
    }
    let second = dir.path().join(&parts[1].0);
    let files = Arc::new(ModelFiles::path(second).unwrap());
    refused("the second part", &["is part 2 of 3", "m-00001-of-00003.gguf"], || {
        pollster::block_on(OpenedModel::open(&files)).map(drop)
    });
}

type SplitEdit = fn(&mut Vec<(String, Gguf)>);

#[test]
#[rustfmt::skip]
fn wrong_sets_of_parts() {
    let cases: [(&str, SplitEdit, &[&str]); 17] = [
        ("a number beyond all", |p| { p[0].1.set("split.no", V(10, u64::MAX.to_le_bytes().to_vec())); }, &["dir/m-00001", "split.no"]),
        ("a part missing", |p| drop(p.remove(1)), &["dir/m-00001", "part 2 of 3 is missing", "m-00002-of-00003.gguf"]),
        ("the last missing", |p| drop(p.pop()), &["part 3 of 3 is missing"]),
        ("two parts exchanged", |p| { let q = p[1].1.clone(); p[1].1 = p[2].1.clone(); p[2].1 = q; }, &["dir/m-00002", "split.no", "got 2, need 1"]),
        ("a part of another set", |p| { p[2].1.set("split.count", 4_u16); }, &["dir/m-00003", "split.count", "got 4, need 3"]),
        ("a total that lies", |p| p.iter_mut().for_each(|p| { p.1.set("split.tensors.count", 1_000_000); }), &["split.tensors.count", "got 1000000"]),
        ("a negative total", |p| { p[0].1.set("split.tensors.count", -1); }, &["split.tensors.count", "got -1"]),
        ("no total", |p| { p[0].1.remove("split.tensors.count"); }, &["split.tensors.count", "is missing"]),
        ("totals that differ", |p| { p[1].1.set("split.tensors.count", 3); }, &["dir/m-00002", "split.tensors.count", "got 3"]),
        ("no number", |p| { p[1].1.remove("split.no"); }, &["dir/m-00002", "split.no", "is missing"]),
        ("a wrong first number", |p| { p[0].1.set("split.no", 7_u16); }, &["split.no", "got 7, need 0"]),
        ("too many parts", |p| { p[0].1.set("split.count", 65_535_u16); }, &["split.count", "got 65535", "at most 512"]),
        ("a tensor twice", |p| { let t = p[0].1.tensors[0].clone(); p[2].1.tensors.push(t); }, &["split.tensors.count"]),
        ("a tensor in place of another", |p| { let t = p[0].1.tensors[0].clone(); p[2].1.tensors[0] = t; }, &["token_embd.weight", "both part 1 and part 3"]),
        ("a part that is no GGUF", |p| { p[1].1.magic = *b"GGUX"; }, &["dir/m-00002", "not a GGUF"]),
        ("a part cut short", |p| { p[1].1.tensors.last_mut().unwrap().data.truncate(8); }, &["dir/m-00002", "cut short"]),
        ("a count without a set", |p| { p[0].0 = "m.gguf".to_owned(); p.truncate(1); }, &["dir/m.gguf", "split.count", "need NAME-00001-of-00003.gguf"]),
    ];
    for (case, edit, words) in cases {
        let mut parts = split(&convert(&super::fixture("top-3-of-7"), F32), 3);
        edit(&mut parts);
        refused(case, words, || open_split(&parts).map(drop));
    }
    let mut single = convert(&super::fixture("top-3-of-7"), F32);
    single.set("split.count", 1_u16).set("split.no", 1_u16);
    refused("alone and second", &["split.no", "got 1, need 0"], || open_one(&single).map(drop));
    single.set("split.no", 0_u16).set("split.tensors.count", 5);
    refused("alone with a wrong total", &["split.tensors.count", "got 5"], || open_one(&single).map(drop));
}

#[test]
fn what_is_neither_a_directory_nor_a_gguf() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let safetensors = super::fixture("tiny-a").join("model.safetensors");
    for (path, words) in [
        (safetensors, vec!["model.safetensors: is a safetensors file", "name its directory"]),
        (super::fixture("tiny-a").join("config.json"), vec!["is a JSON file", "directory"]),
        (write("empty", b""), vec!["empty: is empty"]),
        (write("lfs", b"version https://git-lfs.github.com/spec/v1\n"), vec!["Git LFS pointer"]),
        (write("pt.bin", b"PK\x03\x04...."), vec!["PyTorch"]),
        (write("old.bin", b"tjgg\x01\0\0\0"), vec!["before GGUF"]),
        (write("text", b"hello there, you"), vec!["is not a model", "GGUF"]),
    ] {
        let files = Arc::new(ModelFiles::path(&path).unwrap());
        refused(&path.display().to_string(), &words, || {
            pollster::block_on(OpenedModel::open(&files)).map(drop)
        });
    }
    // One file with any name, as picked in a browser.
    assert!(open(&[("download", convert(&super::fixture("top-3-of-7"), F32).bytes())]).is_ok());
    refused("picked", &["dir/picked: is not a model"], || {
        open(&[("picked", b"hello".to_vec())]).map(drop)
    });
    // Several models in a directory; a file without the ending is recognised too.
    let file = convert(&super::fixture("top-3-of-7"), F32).bytes();
    let renamed = write("model.bin", &file);
    let files = Arc::new(ModelFiles::path(renamed).unwrap());
    assert!(pollster::block_on(OpenedModel::open(&files)).is_ok());
    for (name, ok) in [("a.gguf", true), ("b.gguf", false)] {
        write(name, &file);
        let files = Arc::new(ModelFiles::path(dir.path()).unwrap());
        let opened = pollster::block_on(OpenedModel::open(&files));
        let error = opened.map(drop).map_err(|e| e.to_string());
        assert_eq!(error.is_ok(), ok, "{error:?}");
        assert!(ok || error.unwrap_err().contains("has 2 GGUF models"));
    }
}
