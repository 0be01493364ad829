//! Output of valid commands.

use std::io::Write;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{NO_DRIVER, copy, lfm2, ok, refused, root, run, text, tiny};

#[test]
fn only_the_answer_goes_to_stdout() {
    let args = ["generate", "-p", "Hello!", "-n", "12", "--temp", "0", "--stats"];
    let output = run(&args);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(!output.stdout.is_empty());
    assert!(stderr.contains("t/s") && stderr.contains("first token"), "{stderr}");
    assert!(!stderr.contains("XDG_RUNTIME_DIR"), "{stderr}");
    // A software adapter is called one.
    if stderr.contains("llvmpipe") {
        assert!(stderr.contains("software"), "{stderr}");
    }
    let quiet = run(&["-q", "generate", "-p", "Hello!", "-n", "12", "--temp", "0"]);
    assert_eq!((quiet.stdout, text(&quiet.stderr)), (output.stdout, String::new()));
    let limited =
        ok(&["--limits", "default", "generate", "-p", "Hello!", "-n", "12", "--temp", "0"]);
    assert_eq!(limited, text(&run(&args).stdout));
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let answer = |seed: &str| {
        ok(&[
            "-q",
            "generate",
            "-p",
            "Tell me a joke",
            "-n",
            "16",
            "--temp",
            "20",
            "-s",
            seed,
            "--min-p",
            "0",
        ])
    };
    assert_eq!(answer("1"), answer("1"));
    assert_ne!(answer("1"), answer("2"));
}

#[test]
fn token_ids_and_conversations_are_printed() {
    let ids = ok(&["-q", "generate", "-p", "Hi", "-n", "5", "--token-ids", "--temp", "0"]);
    let ids: Vec<u32> = serde_json::from_str(&ids).unwrap();
    assert!(!ids.is_empty() && ids.len() <= 5);

    let greeting = "Grüße, 世界 🌍";
    let encoded = ok(&["tokenize", greeting]);
    let ids: Vec<u32> = serde_json::from_str(&encoded).unwrap();
    assert_eq!(ids[0], 1, "the beginning-of-text token");
    assert_eq!(
        ok(&["tokenize", "--decode", &encoded]).trim_end(),
        format!("<|startoftext|>{greeting}")
    );

    let dir = TempDir::new().unwrap();
    let file = dir.path().join("chat.json");
    let messages = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    std::fs::write(&file, messages).unwrap();
    let file = file.to_str().unwrap();
    let rendered: serde_json::Value =
        serde_json::from_str(&ok(&["tokenize", "--chat", file])).unwrap();
    assert_eq!(
        rendered["text"],
        "<|startoftext|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
    assert!(!ok(&["-q", "generate", "--messages", file, "-n", "4"]).is_empty());
    // Only the tokenizer's files are needed to tokenize.
    let alone = TempDir::new().unwrap();
    std::fs::copy(root("assets/demo/tokenizer.json"), alone.path().join("tokenizer.json")).unwrap();
    let alone_model = alone.path().to_str().unwrap();
    assert_eq!(ok(&["-m", alone_model, "tokenize", greeting]), encoded);
    // If tokenizer_config.json does not name the first token, the tokenizer does.
    let template = root("assets/demo/chat_template.jinja");
    std::fs::copy(template, alone.path().join("chat_template.jinja")).unwrap();
    let again: serde_json::Value =
        serde_json::from_str(&ok(&["-m", alone_model, "tokenize", "--chat", file])).unwrap();
    assert_eq!(again, rendered);
}

#[test]
fn logits_equal_the_reference_in_any_chunks() {
    use safetensors::SafeTensors;
    let dir = tiny();
    let golden = std::fs::read(dir.path().join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let words = |file: &SafeTensors<'_>, name: &str| -> Vec<u32> {
        bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data())
    };
    let ids: Vec<_> = words(&golden, "input_ids").iter().map(u32::to_string).collect();
    let list = dir.path().join("ids.json");
    std::fs::write(&list, format!("[{}]", ids.join(", "))).unwrap();
    let want: Vec<f32> = words(&golden, "logits").into_iter().map(f32::from_bits).collect();
    let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    for chunk in ["1", "5", "512"] {
        let out = dir.path().join("out.safetensors");
        let list = format!("@{}", list.display());
        ok(&[
            "-q",
            "-m",
            dir.path().to_str().unwrap(),
            "logits",
            "--tokens",
            &list,
            "--chunk",
            chunk,
            "--greedy",
            "16",
            "--out",
            out.to_str().unwrap(),
        ]);
        let file = std::fs::read(&out).unwrap();
        let file = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(file.tensor("logits").unwrap().shape(), [ids.len(), 101]);
        let got: Vec<f32> = words(&file, "logits").into_iter().map(f32::from_bits).collect();
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= 1e-3 * largest), "{chunk}");
        assert_eq!(words(&file, "greedy"), words(&golden, "greedy"), "{chunk}");
    }
}

/// At temperature 0 the answer equals the tokens of `logits --greedy`.
#[test]
fn temperature_0_takes_the_most_likely_token() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.safetensors");
    let text = "Once there was a dog, a dog, a dog";
    let ids = ok(&["tokenize", text]);
    ok(&["-q", "logits", "--tokens", &ids, "--greedy", "12", "--out", out.to_str().unwrap()]);
    let file = std::fs::read(&out).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let greedy: Vec<u32> = bytemuck::pod_collect_to_vec(file.tensor("greedy").unwrap().data());
    let args = ["-q", "generate", "--raw", "-p", text, "-n", "12", "--temp", "0", "--token-ids"];
    let generated: Vec<u32> = serde_json::from_str(&ok(&args)).unwrap();
    // The answer may end earlier than the greedy tokens.
    assert_eq!(generated, greedy[..generated.len()]);
}

/// `greedy` is the argmax of the logits, as in transformers, even if that id has no token.
#[test]
fn greedy_logits_ignore_the_tokenizer() {
    use safetensors::SafeTensors;
    let dir = copy("tests/fixtures/gqa-3");
    let small = std::fs::read(root("tests/fixtures/tokenizer-small/tokenizer.json")).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&small).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
    let bytes = vocab.keys().filter(|k| k.chars().count() == 1).take(256);
    let bytes: serde_json::Map<_, _> =
        bytes.enumerate().map(|(id, key)| (key.clone(), id.into())).collect();
    assert_eq!(bytes.len(), 256);
    tokenizer["model"]["vocab"] = bytes.into();
    tokenizer["model"]["merges"] = serde_json::json!([]);
    tokenizer["added_tokens"] = serde_json::json!([]);
    tokenizer["post_processor"] = serde_json::Value::Null;
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let golden = std::fs::read(dir.path().join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let words = |file: &SafeTensors<'_>, name: &str| -> Vec<u32> {
        bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data())
    };
    let ids: Vec<_> = words(&golden, "input_ids").iter().map(u32::to_string).collect();
    let out = dir.path().join("out.safetensors");
    let model = dir.path().to_str().unwrap();
    let (ids, out) = (ids.join(","), out.to_str().unwrap());
    ok(&["-q", "-m", model, "logits", "--tokens", &ids, "--greedy", "16", "--out", out]);
    let file = std::fs::read(out).unwrap();
    let want = words(&golden, "greedy");
    assert!(want.iter().any(|id| *id > 255), "the test needs an id without a token");
    assert_eq!(words(&SafeTensors::deserialize(&file).unwrap(), "greedy"), want);
    // Answers never contain ids without a token.
    let args = ["-q", "-m", model, "generate", "--raw", "-p", "x", "-n", "32", "--token-ids"];
    let sampled: Vec<u32> = serde_json::from_str(&ok(&args)).unwrap();
    assert!(sampled.iter().all(|id| *id < 256), "{sampled:?}");
}

/// Without `add_generation_prompt`, the prompt of a conversation consists of its turns alone.
#[test]
fn a_conversation_may_omit_the_generation_prompt() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("chat.json");
    let json =
        r#"{"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": false}"#;
    std::fs::write(&file, json).unwrap();
    let greedy = |args: &[&str]| {
        let common = ["-q", "generate", "-n", "4", "--temp", "0", "--token-ids"];
        ok(&[&common[..], args].concat())
    };
    let turns = "<|im_start|>user\nHi<|im_end|>\n";
    let messages = greedy(&["--messages", file.to_str().unwrap()]);
    assert_eq!(messages, greedy(&["--raw", "-p", turns]));
    assert_ne!(messages, greedy(&["-p", "Hi"]));
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_no_incomplete_file() {
    let dir = copy("tests/fixtures/long");
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    let ids = vec!["1"; 60_000].join(",");
    std::fs::write(dir.path().join("golden.json"), ids).unwrap();
    let mut child = lfm2(&["-q", "logits", "--chunk", "1", "--tokens"])
        .arg(format!("@{}", dir.path().join("golden.json").display()))
        .arg("-m")
        .arg(dir.path())
        .arg("--out")
        .arg(dir.path().join("out"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let part = dir.path().join(format!("out.{}.part", child.id()));
    while std::fs::metadata(&part).map_or(0, |m| m.len()) < 10_000 {
        assert!(child.try_wait().unwrap().is_none(), "the program ended early");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), String::new()));
    let after = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(after, before + usize::from(!root("tests/fixtures/long/golden.json").exists()));
}

#[test]
fn eval_prints_scores_and_fails_below_a_minimum() {
    let dir = TempDir::new().unwrap();
    let question = |expected: &str| {
        let json = serde_json::json!({
            "messages": [{"role": "user", "content": "Hi"}], "expected": expected, "category": "c",
        });
        format!("{json}\n")
    };
    let file = dir.path().join("eval.jsonl");
    std::fs::write(&file, question("no such answer") + &question("<|tool_call_start|>[]")).unwrap();
    let file = file.to_str().unwrap();
    let scores: serde_json::Value =
        serde_json::from_str(&ok(&["-q", "eval", file, "--json"])).unwrap();
    assert_eq!(scores["exact_match"]["total"], 2);
    assert_eq!(scores["tool_calls"]["total"], 1);
    assert_eq!(scores["categories"]["c"]["exact"], 0);
    let demo = root("assets/demo");
    let against = |weights: &[&str]| -> serde_json::Value {
        let options = ["-q", "--activations", "float", "eval", file, "--json", "--against"];
        let options = [weights, &options, &[demo.to_str().unwrap()]].concat();
        serde_json::from_str::<serde_json::Value>(&ok(&options)).unwrap()["against"].clone()
    };
    // The same model, but with a KV cache in f16.
    let same = against(&[]);
    assert!(same["positions"].as_u64().unwrap() > 5, "{same}");
    assert_eq!(same["greedy_agreement"], 1.0, "{same}");
    assert!(same["mean_kl_divergence"].as_f64().unwrap() < 1e-5, "{same}");
    let coarse = against(&["--weights", "q4"])["mean_kl_divergence"].as_f64().unwrap();
    assert!((1e-5..2.0).contains(&coarse), "{coarse}");
    let other = root("tests/fixtures/tiny-a");
    let other = other.to_str().unwrap();
    refused(&mut lfm2(&["-q", "eval", file, "--against", other]), &["--against", "vocabulary"]);
    let below = run(&["-q", "eval", file, "--min-exact", "0.5"]);
    assert_eq!(below.status.code(), Some(1));
    refused(&mut lfm2(&["eval", file, "--min-exact", "nan"]), &["--min-exact"]);
    refused(&mut lfm2(&["eval", file, "--min-tool-calls", "1", "--limit", "1"]), &["no tool call"]);
    std::fs::write(dir.path().join("bad.jsonl"), "{\"messages\": []}\n").unwrap();
    refused(&mut lfm2(&["eval", dir.path().join("bad.jsonl").to_str().unwrap()]), &["bad.jsonl:1"]);
}

#[test]
fn a_piped_chat_answers_and_executes_commands() {
    let mut child = lfm2(&["-q", "chat", "-n", "8", "--temp", "0", "--no-history"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines =
        "Hello\n/nope\n/set temperature 9e9\n/undo\n/tokens\n\"\"\"\ntwo\nlines\n\"\"\"\n/exit\n";
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(text(&output.stdout).lines().filter(|l| !l.is_empty()).count(), 2);
    for said in
        ["/nope: no such command", "temperature: got", "message is removed", "0 of 2048 tokens"]
    {
        assert!(stderr.contains(said), "{said:?} is not in {stderr}");
    }
}

/// A chat's output to stdout and stderr for these lines of input, and its exit code.
pub fn chat(args: &[&str], lines: &str) -> (String, String, Option<i32>) {
    let mut child = lfm2(&[&["chat", "--no-history"], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A chat that ends at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = child.wait_with_output().unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn a_chat_reports_errors_and_cut_answers() {
    // `-` is the source of the commands; a message with open quotes is sent at the end.
    let (out, err, code) = chat(&["--temp", "0", "-n", "3"], "/read -\n\"\"\"\nHello");
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(err.contains("/read needs a file name"), "{err}");
    let own = "temperature 0.3, min_p 0.15, repetition 1.05, generation_config.json)";
    let note = format!("sampling: temperature 0 (your options; recommended: {own}");
    assert!(err.contains(&note), "{err}");
    assert!(err.contains("The answer was cut at 3 tokens (--max-tokens)."), "{err}");

    let full = "Tell me about WebGPU and about Rust and about everything else that you know. ";
    let lines = format!("{}\nHello\n/tokens\n", full.repeat(10));
    let (out, err, code) = chat(&["-c", "64", "--temp", "100", "--min-p", "0", "-s", "1"], &lines);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("tokens and the context holds 64: nothing was sent."), "{err}");
    // The refused message is not part of the conversation.
    assert_eq!(out.lines().filter(|l| !l.is_empty()).count().min(1), 1, "{out}");
    assert!(err.contains("The answer was cut: the context of 64 tokens is full."), "{err}");
    let (_, err, code) = chat(&["-c", "64", "-p", &full.repeat(10)], "");
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn a_chat_answers_again_and_keeps_its_tool_calls() {
    let (out, _, _) = chat(
        &["-q", "--temp", "3", "--min-p", "0", "-s", "5", "-n", "12"],
        "Tell me something.\n/regen\n",
    );
    let lines: Vec<_> = out.lines().collect();
    assert!(lines.len() >= 2 && lines[0] != lines[1], "{out}");

    // The first tool call of the evaluation.
    let examples = std::fs::read_to_string(root("assets/demo/eval.jsonl")).unwrap();
    let call = examples
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
        .find(|e| {
            e["expected"].as_str().unwrap().starts_with("<|tool_call_start|>")
                && e["messages"].as_array().unwrap().len() == 1
        })
        .unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let (from, saved) = (folder.path().join("from.json"), folder.path().join("saved.json"));
    let conversation = serde_json::json!({"messages": call["messages"], "tools": call["tools"]});
    std::fs::write(&from, conversation.to_string()).unwrap();
    let args = ["--temp", "0", "--messages", from.to_str().unwrap()];
    let lines = format!("/save {}\nThanks\n", saved.display());
    let (out, err, code) = chat(&args, &lines);
    assert_eq!(code, Some(0), "{err}");
    assert!(!out.contains("<|tool_call_start|>"), "{out}");
    let saved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(saved).unwrap()).unwrap();
    assert_eq!(saved["tools"], call["tools"]);
    let answer = saved["messages"][1]["content"].as_str().unwrap();
    // The model was trained to call a tool here. It sees its own text again, so that the second turn
    // computes only the new tokens.
    assert!(answer.starts_with("<|tool_call_start|>["), "{answer}");
    assert!(answer.ends_with("]<|tool_call_end|>"), "{answer}");
    let second = err.lines().filter(|l| l.starts_with("[ prompt")).nth(1).unwrap();
    assert!(second.contains("cached)"), "{err}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_chat_that_waits_for_its_pipe() {
    use std::io::{BufRead, BufReader};
    let mut child = lfm2(&["chat", "--no-history", "--temp", "0", "-n", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Hello\n").unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    assert!(stderr.lines().any(|l| l.unwrap().starts_with("[ prompt")));
    // The program may not yet read the pipe again; Ctrl-C works before and after.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}

#[cfg(unix)]
#[test]
fn ctrl_c_exits_with_130_and_a_closed_pipe_with_0() {
    use std::io::Read;
    let mut child =
        lfm2(&["-q", "generate", "-p", "Hello", "--raw", "--temp", "5", "--min-p", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    // An untrained or terse model may have ended just before.
    assert!(matches!(output.status.code(), Some(130 | 0)), "{:?}", output.status);
    assert_eq!(text(&output.stderr), "");

    let mut child =
        lfm2(&["-q", "generate", "-p", "Hello", "--raw", "--temp", "5", "--min-p", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn info_and_selftest_print_json() {
    let info: serde_json::Value = serde_json::from_str(&ok(&["info", "--json"])).unwrap();
    assert!(!info["adapters"].as_array().unwrap().is_empty() && info["chosen"].is_u64());
    refused(&mut lfm2(&["--adapter", "nosuch", "info"]), &["--adapter nosuch", "There are: 0: "]);
    assert!(info["memory"]["total"].as_u64() > info["memory"]["weights"].as_u64());
    let no_driver = lfm2(&["info"]).envs(NO_DRIVER).output().unwrap();
    assert!(no_driver.status.success() && text(&no_driver.stdout).contains("none. Install"));

    let selftest: serde_json::Value = serde_json::from_str(&ok(&["selftest", "--json"])).unwrap();
    assert_eq!(selftest["failed"], 0, "{selftest}");
    assert!(selftest["checks"].as_array().unwrap().len() > 10);
}

/// A KV cache in 8 bits changes no greedy answer of the built-in model.
#[test]
fn a_q8_kv_cache_gives_the_same_answers() {
    for prompt in ["Hello!", "What is 2 + 3?", "Tell me a joke", "What is lfm2-wgpu?"] {
        let ask = ["-q", "generate", "-p", prompt, "-n", "32", "--temp", "0"];
        assert_eq!(ok(&[&ask[..], &["--kv", "q8"]].concat()), ok(&ask), "{prompt}");
    }
}
