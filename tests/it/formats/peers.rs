//! Files of other programs: names, ids and texts that differ from those of llama.cpp's conversion and
//! transformers, and files stored beside a model.

use std::path::Path;
use std::sync::Arc;

use lfm2_wgpu::engine::OpenedModel;
use lfm2_wgpu::formats::{ByteSource, BytesSource, ModelFiles};
use lfm2_wgpu::model::TensorId;
use lfm2_wgpu::text::{Conversation, Message};

use super::fixture;
use super::gguf::{demo, open, open_one, split};
use super::gguf_writer::{F32, Gguf, T, V, array, convert, string};
use super::refused::{refused, refused_within};

const NORM: &str = "token_embd_norm.weight";
const OTHER_NORM: &str = "output_norm.weight";

fn tensor_bytes(model: &OpenedModel, id: TensorId) -> Vec<u8> {
    let slice = *model.tensors.get(id).unwrap();
    let mut bytes = vec![0; slice.bytes() as usize];
    pollster::block_on(model.checkpoint.read(&slice, 0, &mut bytes)).unwrap();
    bytes
}

#[test]
fn the_final_norm_by_either_name() {
    for of in ["tiny-a", "dense", "untied"] {
        let file = convert(&fixture(of), F32);
        let want = tensor_bytes(&open_one(&file).unwrap(), TensorId::EmbeddingNorm);
        let mut renamed = file.clone();
        renamed.tensor(NORM).name = OTHER_NORM.into();
        assert_eq!(
            tensor_bytes(&open_one(&renamed).unwrap(), TensorId::EmbeddingNorm),
            want,
            "{of}"
        );
        // With both names, and other values, type and shape, llama.cpp's name is read.
        let own = file.clone().tensor(NORM).clone();
        let wrong = T { name: OTHER_NORM.into(), data: vec![7; own.data.len()], ..own.clone() };
        let same = T { name: OTHER_NORM.into(), ..own.clone() };
        let short = T { ne: vec![4], data: vec![0; 16], ..wrong.clone() };
        for other in [wrong, same, short] {
            for at in [0, file.tensors.len()] {
                let mut both = file.clone();
                both.tensors.insert(at, other.clone());
                assert_eq!(tensor_bytes(&open_one(&both).unwrap(), TensorId::EmbeddingNorm), want);
            }
        }
        // Alone, it must match the norm.
        let mut short = renamed.clone();
        short.reshape(OTHER_NORM, &[4]);
        refused("a short norm", &[OTHER_NORM, "shape"], || open_one(&short).map(drop));
        let mut neither = renamed.clone();
        neither.tensor(OTHER_NORM).name = b"norm.weight".to_vec();
        refused("no norm", &[NORM, "is missing"], || open_one(&neither).map(drop));
    }
    // The name is only valid in GGUF files: a checkpoint of the hub has another.
    let model = super::load(&fixture("tiny-a"));
    assert!(model.checkpoint.find(OTHER_NORM).is_none());
}

fn broken(bytes: &[u8]) -> V {
    V(8, [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat())
}

#[test]
fn text_that_nobody_reads_may_be_no_text() {
    let latin1 = b"Mod\xe8le fran\xe7ais";
    let half = "…".as_bytes()[..2].to_vec();
    let many = array(8, 3, [string("ok"), string("x").to_vec(), broken(latin1).1].concat());
    let values =
        [broken(latin1), broken(&half), broken(&[0xff]), broken(&[0xed, 0xa0, 0x80]), many];
    for key in ["general.description", "general.tags", "x.s", "general.license", "general.name"] {
        for value in &values {
            let mut file = demo();
            file.set(key, value.clone()).set("z.after", "still read");
            let opened = open_one(&file).unwrap();
            assert!(opened.text.tokenizer().is_ok(), "{key}");
        }
    }
    // A text that is needed reports its problem.
    let words = |key: &'static str| [key, "text that is not UTF-8 (byte 3 of 15)"];
    let list = || array(8, 2, [string("ok"), broken(latin1).1].concat());
    for (key, value) in [
        ("general.architecture", broken(latin1)),
        ("general.type", broken(latin1)),
        ("tokenizer.ggml.model", broken(latin1)),
        ("tokenizer.ggml.pre", broken(latin1)),
        ("tokenizer.ggml.tokens", list()),
        ("tokenizer.ggml.merges", list()),
    ] {
        let mut file = demo();
        file.set(key, value);
        let file = [("m.gguf", file.bytes())];
        refused_within(key, 32 << 20, &words(key), || open(&file).map(drop));
    }
    let mut file = demo();
    file.set("tokenizer.chat_template", broken(latin1));
    let opened = open_one(&file).unwrap();
    refused("a template", &words("tokenizer.chat_template"), || {
        opened.text.encode_chat(&Conversation::new([Message::user("x")]))
    });
    // Lengths are still checked against the file's length.
    for bytes in [u64::MAX, 1 << 40, 1 << 20] {
        let mut file = convert(&fixture("top-3-of-7"), F32);
        file.set("x.s", V(8, [&bytes.to_le_bytes()[..], latin1].concat()));
        refused("a length", &["m.gguf"], || open_one(&file).map(drop));
    }
}

/// An image projector in the form of llama.cpp's conversion.
fn projector() -> Gguf {
    let mut file = Gguf::new();
    file.set("general.architecture", "clip").set("general.type", "mmproj");
    let (ne, data) = (vec![4, 4], vec![0; 64]);
    file.tensors.push(T {
        name: b"v.patch_embd.weight".to_vec(),
        ne,
        kind: F32,
        data,
        offset: None,
    });
    file
}

#[test]
fn a_model_beside_what_comes_with_it() {
    let model = convert(&fixture("top-3-of-7"), F32);
    let want = open_one(&model).unwrap().config;
    let bytes = model.bytes();
    let typed = |kind: &str, arch: &str| {
        let mut file = projector();
        file.set("general.type", kind).set("general.architecture", arch);
        file.bytes()
    };
    let mut vocabulary = model.clone();
    vocabulary.tensors.clear();
    let mut old = projector();
    old.remove("general.type");
    let companions = [
        ("mmproj-model-f16.gguf", projector().bytes()),
        ("LFM2-VL-mmproj.gguf", projector().bytes()),
        ("A-first-by-name.gguf", projector().bytes()),
        ("Vision-Encoder.GGUF", old.bytes()),
        ("adapter.gguf", typed("adapter", "lfm2moe")),
        ("imatrix.gguf", typed("imatrix", "imatrix")),
        ("model.imatrix.gguf", b"what old imatrix files are".to_vec()),
        ("ggml-vocab-lfm2.gguf", vocabulary.bytes()),
    ];
    for (name, companion) in &companions {
        for own in ["LFM2-VL-450M-Q4_0.gguf", "a.gguf", "z.GGUF"] {
            let opened = open(&[(own, bytes.clone()), (name, companion.clone())]);
            assert_eq!(
                opened.map(|m| m.config).map_err(|e| e.to_string()),
                Ok(want.clone()),
                "{name}"
            );
        }
    }
    // A configuration without its weights, as in repositories of GGUF files.
    let config = std::fs::read(fixture("tiny-a").join("config.json")).unwrap();
    let both = [("config.json", config), ("m.gguf", bytes.clone())];
    assert_eq!(open(&both).unwrap().config, want);
    // All of them in one folder, and a model in parts.
    let dir = tempfile::tempdir().unwrap();
    for (name, companion) in &companions {
        std::fs::write(dir.path().join(name), companion).unwrap();
    }
    for (name, part) in split(&model, 2) {
        std::fs::write(dir.path().join(name), part.bytes()).unwrap();
    }
    let files = Arc::new(ModelFiles::path(dir.path()).unwrap());
    assert_eq!(pollster::block_on(OpenedModel::open(&files)).unwrap().config, want);
    // Two models are still an error, and a projector alone is reported as one.
    let two = [("a.gguf", bytes.clone()), ("b.gguf", bytes.clone()), ("mmproj.gguf", bytes)];
    refused("two", &["has 2 GGUF models", "a.gguf", "b.gguf"], || open(&two).map(drop));
    let alone = [("mmproj-a.gguf", projector().bytes()), ("README.md", Vec::new())];
    refused("a projector", &["projector"], || open(&alone).map(drop));
}

/// The demonstration model with its special tokens after its text tokens, as in LFM2.5's large vocabulary, and two
/// rows without a token between them.
fn specials_last() -> Gguf {
    let json = std::fs::read(demo_dir().join("tokenizer.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let vocab = json["model"]["vocab"].as_object().unwrap();
    let pieces = vocab.len() as u64 - 14;
    let moved = |id: u64| if id < 14 { pieces + 2 + id } else { id - 14 };
    let vocab: serde_json::Map<_, _> =
        vocab.iter().map(|(text, id)| (text.clone(), moved(id.as_u64().unwrap()).into())).collect();
    json["model"]["vocab"] = vocab.into();
    for added in json["added_tokens"].as_array_mut().unwrap() {
        added["id"] = moved(added["id"].as_u64().unwrap()).into();
    }
    let mut file = demo();
    let rows = pieces + 20;
    super::gguf_writer::tokenizer_keys(&mut file, &json, rows as usize);
    file.set("tokenizer.ggml.bos_token_id", moved(1) as u32);
    file.set("tokenizer.ggml.eos_token_id", moved(7) as u32);
    file.set("tokenizer.ggml.padding_token_id", moved(0) as u32);
    file.set("lfm2moe.vocab_size", rows as u32);
    file.reshape("token_embd.weight", &[192, rows]);
    file
}

fn demo_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo")
}

#[test]
fn special_tokens_behind_the_text_pieces() {
    let file = specials_last();
    let opened = open_one(&file).unwrap();
    let tokenizer = opened.text.tokenizer().unwrap();
    let (end, own) = (tokenizer.token_id("<|im_end|>").unwrap(), open_one(&demo()).unwrap());
    assert!(end > 2600 && opened.ends.contains(&end), "{:?}", opened.ends);
    let conversation = Conversation::new([Message::user("Hello there, 2024!")]);
    let ids = opened.text.encode_chat(&conversation).unwrap();
    let want = own.text.encode_chat(&conversation).unwrap();
    assert_eq!(ids.len(), want.len());
    assert_eq!(
        tokenizer.decode(&ids, false).unwrap(),
        own.text.tokenizer().unwrap().decode(&want, false).unwrap()
    );
    // Only rows without a token are masked.
    let vocab = opened.config.vocab_size;
    let mask = tokenizer.token_mask(vocab);
    for id in 0..vocab as u32 {
        let allowed = mask[id as usize / 32] >> (id % 32) & 1 == 1;
        let text = tokenizer.token_text(id);
        assert_eq!(allowed, text.is_some(), "{id}");
        assert!(!text.is_some_and(|text| text.starts_with("[PAD")), "{id}");
    }
    let without = (0..vocab as u32).filter(|id| !tokenizer.has_token(*id)).count();
    assert_eq!(without, 20 - 14);
}

#[test]
fn a_turn_ends_where_the_template_ends_it() {
    const IM_END: u32 = 7;
    const END_OF_TEXT: u32 = 2;
    let ends = |edit: &dyn Fn(&mut Gguf)| {
        let mut file = demo();
        edit(&mut file);
        open_one(&file).unwrap().ends
    };
    let eos = "tokenizer.ggml.eos_token_id";
    let both = [END_OF_TEXT, IM_END];
    assert_eq!(ends(&|_| {}), both);
    assert_eq!(
        ends(&|f| {
            f.set(eos, END_OF_TEXT);
        }),
        both
    );
    assert_eq!(
        ends(&|f| {
            f.remove(eos);
        }),
        both
    );
    assert_eq!(
        ends(&|f| {
            f.set(eos, 0_u32);
        }),
        [0, END_OF_TEXT, IM_END]
    );
    // A base model has no template; an old file has a broken one.
    for template in ["{% if %}", "{{ raise_exception('no') }}", "{{ messages[0].content }}"] {
        assert_eq!(
            ends(&|f| {
                f.set("tokenizer.chat_template", template);
            }),
            both,
            "{template}"
        );
    }
    assert_eq!(
        ends(&|f| {
            f.remove("tokenizer.chat_template");
        }),
        both
    );
    // A template with its own end token, in every way to write one.
    let more = [
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|fim_mid|>\n{% endfor %}",
        "{% for m in messages %}<|im_start|>{{ m.content }}\n  <|fim_mid|>{% endfor %}",
        "{% for m in messages %}{{ m.content ~ unk_token }}{% endfor %}",
        "{% for m in messages %}{{ m['content'] | trim }} end of turn <|fim_mid|>{% endfor %}",
    ];
    for template in more {
        let found = ends(&|f| {
            f.set("tokenizer.chat_template", template)
                .set("tokenizer.ggml.unknown_token_id", 4_u32);
        });
        assert_eq!(found, [END_OF_TEXT, 4, IM_END], "{template}");
    }
    // All end tokens in the metadata count.
    let all = ends(&|f| {
        f.set(eos, 0_u32).set("tokenizer.ggml.eot_token_id", 3_u32);
        f.set("tokenizer.ggml.eom_token_id", 4_u32)
            .set("tokenizer.ggml.eos_token_ids", &[5, 0][..]);
    });
    assert_eq!(all, [0, END_OF_TEXT, 3, 4, 5, IM_END]);
    // Tokens that the file marks as ordinary or user-defined also end a turn.
    for kind in [1, 4] {
        let found = ends(&|f| {
            let mut types = [3_i32; 14];
            types[7] = kind;
            let (_, V(_, bytes)) =
                f.keys.iter_mut().find(|(k, _)| k == b"tokenizer.ggml.token_type").unwrap();
            for (at, kind) in types.iter().enumerate() {
                bytes[12 + 4 * at..][..4].copy_from_slice(&kind.to_le_bytes());
            }
        });
        assert_eq!(found, both, "{kind}");
    }
}

/// The demonstration model's directory as a table, with some changed files.
pub fn hub(edits: &[(&str, Option<&str>)]) -> Result<OpenedModel, lfm2_wgpu::Error> {
    let names =
        ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
    let mut files: Vec<(String, Vec<u8>)> = names
        .into_iter()
        .chain(["chat_template.jinja", "model.safetensors"])
        .map(|name| (name.to_owned(), std::fs::read(demo_dir().join(name)).unwrap()))
        .collect();
    for (name, text) in edits {
        files.retain(|(other, _)| other != name);
        files.extend(text.map(|text| ((*name).to_owned(), text.as_bytes().to_vec())));
    }
    let sources = files.into_iter().map(|(name, bytes)| {
        let source = BytesSource::shared(format!("dir/{name}"), Arc::from(&bytes[..]));
        (name, Arc::new(source) as Arc<dyn ByteSource>)
    });
    let files = Arc::new(ModelFiles::from_sources("dir", sources));
    pollster::block_on(OpenedModel::open(&files))
}

#[test]
fn ends_of_a_directory_are_united() {
    let config = std::fs::read_to_string(demo_dir().join("config.json")).unwrap();
    let with = |eos: &str| config.replace("\"eos_token_id\": 7,", eos);
    assert!(with("") != config);
    let generation = |eos: &str| format!("{{{eos}}}");
    for (in_config, in_generation, in_tokenizer, want) in [
        ("", "", "{}", vec![2, 7]),
        ("\"eos_token_id\": 2,", "", "{}", vec![2, 7]),
        ("\"eos_token_id\": null,", "\"eos_token_id\": [3, 7]", "{}", vec![2, 3, 7]),
        ("\"eos_token_id\": [4, 5],", "\"eos_token_id\": 3", "{}", vec![2, 3, 4, 5, 7]),
        ("", "", r#"{"eos_token": "<|pad|>"}"#, vec![0, 2, 7]),
        ("", "", r#"{"eos_token": {"content": "<|fim_pre|>"}}"#, vec![2, 3, 7]),
        ("", "", r#"{"eos_token": "<|of another model|>"}"#, vec![2, 7]),
        ("", "", r#"{"eos_token": 7}"#, vec![2, 7]),
    ] {
        let (config, generation) = (with(in_config), generation(in_generation));
        let edits = [
            ("config.json", Some(&*config)),
            ("generation_config.json", Some(&*generation)),
            ("tokenizer_config.json", Some(in_tokenizer)),
        ];
        assert_eq!(hub(&edits).unwrap().ends, want, "{in_config} {in_generation} {in_tokenizer}");
    }
    // Without a tokenizer only the named tokens are known.
    let bare = [("tokenizer.json", None), ("generation_config.json", None)];
    assert_eq!(hub(&bare).unwrap().ends, [7]);
}

#[test]
fn byte_order_marks_before_every_file_of_a_model() {
    let marked =
        |name: &str| format!("\u{feff}{}", std::fs::read_to_string(demo_dir().join(name)).unwrap());
    let names =
        ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
    let names = [&names[..], &["chat_template.jinja"]].concat();
    let texts: Vec<String> = names.iter().map(|name| marked(name)).collect();
    let want = hub(&[]).unwrap();
    let conversation = Conversation::new([Message::system("Be brief."), Message::user("Hi")]);
    let ids = want.text.encode_chat(&conversation).unwrap();
    let same = |edits: &[(&str, Option<&str>)]| {
        let model = hub(edits).unwrap();
        assert_eq!((&model.config, &model.ends), (&want.config, &want.ends));
        assert_eq!(model.recommended, want.recommended);
        assert_eq!(model.text.encode_chat(&conversation).unwrap(), ids);
    };
    let all: Vec<_> = names.iter().zip(&texts).map(|(name, text)| (*name, Some(&**text))).collect();
    for edit in &all {
        same(&[*edit]);
    }
    same(&all);
    // The index of a sharded checkpoint.
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("sharded")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        if name.ends_with(".json") {
            bytes.splice(0..0, "\u{feff}".bytes());
        }
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let files = Arc::new(ModelFiles::path(dir.path()).unwrap());
    let got = pollster::block_on(OpenedModel::open(&files)).unwrap();
    assert_eq!(got.config, super::load(&fixture("sharded")).config);
}
