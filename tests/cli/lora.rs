//! `--lora`: an adapter for the demonstration model, as users give it to commands.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::answers::chat;
use super::serve::Server;
use super::{lfm2, ok, refused, run, text};

/// Width of the demonstration model.
const WIDTH: usize = 192;

/// Writes an adapter of PEFT for the demonstration model: the first layer's output projection, large enough for other
/// texts.
pub fn adapter(folder: &Path, sign: f32) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let config = json!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "target_modules": ["conv.out_proj"],
        "layers_to_transform": [0],
    });
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let values = |by: f32| -> Vec<u8> {
        let values = (0..2 * WIDTH).map(|i| by * (i as f32 * 1.7).sin());
        values.flat_map(f32::to_le_bytes).collect()
    };
    let (a, b) = (values(0.2), values(sign));
    let name =
        |factor: &str| format!("base_model.model.model.layers.0.conv.out_proj.{factor}.weight");
    let entry = |shape: [usize; 2], from: usize| json!({ "dtype": "F32", "shape": shape, "data_offsets": [from, from + a.len()] });
    let header =
        json!({ name("lora_A"): entry([2, WIDTH], 0), name("lora_B"): entry([WIDTH, 2], a.len()) });
    let header = header.to_string().into_bytes();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &a, &b].concat();
    std::fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// Two adapters, called `first` and `second`.
fn adapters() -> (TempDir, String, String) {
    let dir = TempDir::new().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let (first, second) = (adapter(&first, 1.0), adapter(&second, -1.0));
    (dir, first, second)
}

const QUESTION: [&str; 7] = ["generate", "-p", "What is 2 + 3?", "-n", "8", "--temp", "0"];

fn answer(more: &[&str]) -> String {
    ok(&[&["-q"], &QUESTION[..], more].concat())
}

#[test]
fn the_first_adapter_answers() {
    let (_dir, first, second) = adapters();
    let plain = answer(&[]);
    let with_first = answer(&["--lora", &first]);
    let with_second = answer(&["--lora", &second]);
    assert!(with_first != plain && with_second != plain && with_first != with_second);
    assert_eq!(answer(&["--lora", &first, "--lora-scale", "0"]), plain);
    assert_eq!(answer(&["--lora", &second, "--lora", &first]), with_second);
    // A name, and the scale of one adapter.
    let named = format!("x={first}");
    let scaled = ["--lora", &named, "--lora", &second, "--lora-scale", "x=0"];
    assert_eq!(answer(&scaled), plain);
    assert_eq!(answer(&[&scaled[..], &["--lora-scale", "3"]].concat()), plain);
    // Options before and after the command are both used.
    let around = ok(&[&["-q", "--lora", &second], &QUESTION[..], &["--lora", &first]].concat());
    assert_eq!(around, with_second);
    let by_variable = lfm2(&[&["-q"], &QUESTION[..]].concat()).env("LFM2_LORA", &first).output();
    assert_eq!(text(&by_variable.unwrap().stdout), with_first);
    let told =
        run(&[&QUESTION[..], &["--lora", &first, "--lora", &second, "--lora-scale", "second=0.5"]]
            .concat());
    let told = text(&told.stderr);
    assert!(told.contains("\nLoRA: first (rank 2), second (rank 2, scale 0.5)\n"), "{told}");
}

#[test]
fn wrong_adapters_are_refused() {
    let (dir, first, second) = adapters();
    let with = |more: &[&str]| lfm2(&[&QUESTION[..], more].concat());
    let missing = dir.path().join("missing").to_str().unwrap().to_owned();
    refused(&mut with(&["--lora", &missing]), &[&missing]);
    refused(&mut with(&["--lora", dir.path().to_str().unwrap()]), &["is not an adapter"]);
    let renamed = format!("first={second}");
    refused(&mut with(&["--lora", &first, "--lora", &renamed]), &["the name first"]);
    refused(&mut with(&["--lora", &format!("demo={first}")]), &["the model has the name demo"]);
    refused(&mut with(&["--lora", "x="]), &["--lora x=", "need a path"]);
    refused(
        &mut with(&["--lora", &first, "--lora-scale", "second=1"]),
        &["no adapter second", "first"],
    );
    refused(&mut with(&["--lora-scale", "1"]), &["--lora-scale: there is no --lora"]);
    refused(
        &mut with(&["--lora", &first, "--lora-scale", "x"]),
        &["--lora-scale", "need a number"],
    );
    refused(&mut with(&["--adapter", &first]), &["--adapter"]);
    let output = with(&["--adapter", &first]).output().unwrap();
    assert!(
        text(&output.stderr).contains(&format!("tip: --adapter chooses the GPU; --lora {first}"))
    );
    // An adapter of another model.
    let file = dir.path().join("first/adapter_config.json");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("conv.out_proj", "lm_head")).unwrap();
    refused(&mut with(&["--lora", &first]), &["adapter_config.json", "lm_head"]);
}

#[test]
fn a_chat_changes_its_adapter() {
    let (dir, first, second) = adapters();
    let conversation = dir.path().join("a.json");
    let lines = format!(
        "What is 2 + 3?\n/save {0}\n/lora\n/lora off\n/clear\nWhat is 2 + 3?\n/lora second 0.5\n/lora nope\n/load {0}\n",
        conversation.display()
    );
    let args = ["--temp", "0", "-n", "8", "--lora", &first, "--lora", &second];
    let (out, err, code) = chat(&args, &lines);
    assert_eq!(code, Some(0), "{err}");
    let answers: Vec<&str> = out.lines().filter(|line| !line.is_empty()).collect();
    let (plain, adapted) = (answer(&[]), answer(&["--lora", &first]));
    assert_eq!(answers.last().copied(), Some(plain.trim_end()), "{out}");
    assert!(out.starts_with(adapted.trim_end()), "{out}");
    for words in [
        "a.json.state has the state of ",
        "The state of ",
        "  off: the model alone\n* first (rank 2)\n  second (rank 2)",
        "* off: the model alone\n  first (rank 2)",
        "* second (rank 2, scale 0.5)",
        "nope: no such adapter; these are: first, second, off",
    ] {
        assert!(err.contains(words), "no {words:?} in {err}");
    }
    let (_, err, _) = chat(&[], &format!("/load {}\n/lora\n/lora x\n", conversation.display()));
    assert!(err.contains("is the state of a LoRA adapter that is not loaded"), "{err}");
    assert!(err.contains("* off: the model alone\n--lora PATH loads an adapter"), "{err}");
    assert!(err.contains("No LoRA adapter is loaded"), "{err}");
}

/// Requests of a batch choose an adapter, and the first one is the default.
#[test]
fn a_batch_has_adapters() {
    let (dir, first, second) = adapters();
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    let line = |id: &str, more: Value| {
        let mut body = json!({
            "messages": [{ "role": "user", "content": "What is 2 + 3?" }], "max_tokens": 8, "temperature": 0,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "custom_id": id, "body": body }).to_string() + "\n"
    };
    let lines = [
        line("default", json!({})),
        line("model", json!({ "model": "demo" })),
        line("second", json!({ "model": "second" })),
        line("lora", json!({ "lora": "second" })),
        line("off", json!({ "lora": [] })),
        line("wrong", json!({ "lora": "third" })),
    ];
    std::fs::write(&input, lines.concat()).unwrap();
    let (input, out) = (input.to_str().unwrap(), output.to_str().unwrap());
    ok(&["-q", "batch", input, out, "--lora", &first, "--lora", &second]);
    let answers = std::fs::read_to_string(&output).unwrap();
    let answers: Vec<Value> = answers.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |id: &str| {
        let answer = answers.iter().find(|answer| answer["custom_id"] == id).unwrap();
        answer["response"]["body"].clone()
    };
    let text = |id: &str| of(id)["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let (plain, adapted) = (answer(&[]), answer(&["--lora", &first]));
    assert_eq!((text("model"), text("off")), (plain.trim_end().to_owned(), text("model")));
    assert_eq!(text("default"), adapted.trim_end());
    assert!(text("second") == text("lora") && text("second") != text("default"));
    assert_eq!((&of("second")["model"], &of("lora")["model"]), (&json!("second"), &json!("demo")));
    assert_eq!(of("wrong")["error"]["param"], "lora");
}

/// Logits, perplexity and bench run the adapter.
#[test]
fn measurements_use_the_adapter() {
    let (dir, first, _) = adapters();
    let file = dir.path().join("text.txt");
    std::fs::write(&file, "What is the capital of France? It is Paris. ".repeat(4)).unwrap();
    let perplexity = |more: &[&str]| {
        let args = ["-q", "perplexity", "-c", "16", "--chunks", "1", "-f", file.to_str().unwrap()];
        ok(&[&args[..], more].concat())
    };
    let plain = perplexity(&[]);
    assert_ne!(perplexity(&["--lora", &first]), plain);
    assert_eq!(perplexity(&["--lora", &first, "--lora-scale", "0"]), plain);
    let logits = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let args =
            ["-q", "logits", "--tokens", "1,2,3", "--greedy", "2", "--out", out.to_str().unwrap()];
        ok(&[&args[..], more].concat());
        std::fs::read(out).unwrap()
    };
    assert_ne!(logits("a", &["--lora", &first]), logits("b", &[]));
    let args = ["-q", "bench", "-p", "4", "-n", "2", "-r", "1", "-o", "json", "--lora", &first];
    let rows: Value = serde_json::from_str(&ok(&args)).unwrap();
    assert!(rows.as_array().unwrap().iter().all(|row| row["lora"] == "first"), "{rows}");
    let model = rows[0]["model_type"].as_str().unwrap();
    assert!(model.ends_with(", LoRA first"), "{model}");
}

#[test]
fn a_server_uses_the_adapter_of_a_request() {
    let (_dir, first, second) = adapters();
    let server = Server::start(&["--lora", &first, "--lora", &second]);
    let answer_of = |more: Value| {
        let mut body = json!({
            "messages": [{ "role": "user", "content": "What is 2 + 3?" }], "max_tokens": 8, "temperature": 0,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, body) = server.post("/v1/chat/completions", &body);
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    // The model alone answers unless a request names an adapter.
    assert_eq!(answer_of(json!({})), answer(&[]).trim_end());
    assert_eq!(answer_of(json!({ "model": "second" })), answer(&["--lora", &second]).trim_end());
    let (status, list) = server.get("/lora-adapters");
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((status, &list[1]["name"]), (200, &json!("second")));
}

#[test]
fn a_server_does_not_call_two_models_the_same() {
    let (_dir, first, _) = adapters();
    let args = ["serve", "--port", "0", "--alias", "first", "--lora", &first];
    let output = lfm2(&args).stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("error: --alias first: a LoRA adapter has this name\n"));
}
