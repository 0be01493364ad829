//! The first hour: a start with empty caches, habits of other programs, pipes, text with a dash.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::answers::chat;
use super::{lfm2, ok, refused, root, run, text};

fn tip_of(output: &Output) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let tips: Vec<_> = stderr.lines().filter_map(|l| l.strip_prefix("tip: ")).collect();
    assert_eq!(tips.len(), 1, "{stderr}");
    assert_eq!(stderr.lines().filter(|l| l.starts_with("error: ")).count(), 1, "{stderr}");
    tips[0].to_owned()
}

#[test]
fn commands_and_options_of_other_programs_get_one_tip() {
    let model = "LiquidAI/LFM2.5-8B-A1B-GGUF";
    for (args, tip) in [
        (&["run"][..], "lfm2 chat -m "),
        (&["run", model], "lfm2 chat -m LiquidAI/LFM2.5-8B-A1B-GGUF"),
        (&["run", model, "Why?"], "lfm2 generate -m LiquidAI/LFM2.5-8B-A1B-GGUF 'Why?'"),
        (&["server"], "lfm2 serve"),
        (&["ps"], "lfm2 serve"),
        (&["models"], "lfm2 list"),
        (&["ls"], "lfm2 list"),
        (&["version"], "lfm2 --version"),
        (&["chta"], "lfm2 chat"),
        (&["hello"], "lfm2 generate hello"),
        (&["generate", "-ngl", "99", "-p", "x"], "always on the GPU"),
        (&["chat", "--n-gpu-layers", "99"], "always on the GPU"),
        (&["generate", "-p", "x", "-t", "8"], "not on CPU threads"),
        (&["generate", "-fa", "-p", "x"], "leave it out"),
        (&["chat", "--host", "0.0.0.0"], "lfm2 serve"),
        (&["adapter", "./legal"], "lfm2 chat --lora ./legal"),
        (&["generate", "--lora-scaled", "a.gguf", "0.5"], "--lora PATH"),
        (&["serve", "--enable-lora"], "leave it out"),
        (&["generate", "-p", "x", "--temprature", "1"], "--temperature"),
        (&["chat", "-m", "LFM2-8B-A1B"], "-m LiquidAI/LFM2-8B-A1B-GGUF"),
        (
            &["generate", "-p", "x", "-m", "lfm2.5-1.2b-instruct:Q8_0"],
            "-m LiquidAI/LFM2.5-1.2B-Instruct-GGUF:Q8_0",
        ),
        (&["tokenize", "x", "-m", "nosuch.gguf"], "owner/repo"),
        (&["pull", "LFM2.5-8B-A1B"], "lfm2 pull LiquidAI/LFM2.5-8B-A1B-GGUF"),
        (&["pull", "LFM2.5-8B-A1B:Q8_0"], "lfm2 pull LiquidAI/LFM2.5-8B-A1B-GGUF:Q8_0"),
        (&["rm", "--yes", "x"], "owner/repo, e.g. lfm2 rm LiquidAI/"),
        (&["-q", "chta", "with", "me", "-n", "1"], "similar command: lfm2 chat"),
        (&["chat", "Hi there"], "lfm2 chat -p 'Hi there'"),
        (&["tokenize", "--chat", "-x.json"], "--chat=-x.json"),
        (&["generate"], "lfm2 generate 'your prompt'"),
    ] {
        let output = run(args);
        let printed = tip_of(&output);
        assert!(printed.contains(tip), "{args:?}: {printed}");
    }
    // Several words are more likely a prompt than a mistyped command.
    let tip = tip_of(&run(&["what", "is", "webgpu"]));
    assert!(tip.starts_with("to ask the model: lfm2 generate 'what is webgpu'"), "{tip}");
}

#[test]
fn a_prompt_is_answered_in_every_form() {
    let ids =
        |args: &[&str]| ok(&[args, &["-q", "-n", "6", "--temp", "0", "--token-ids"]].concat());
    let answer = ids(&["generate", "-p", "What is WebGPU?"]);
    assert_eq!(ids(&["What is WebGPU?"]), answer);
    assert_eq!(ids(&["generate", "What is WebGPU?"]), answer);
    assert_eq!(ids(&["generate", "What", "is", "WebGPU?"]), answer);
    let longer = ["generate", "What is WebGPU?", "--n-predict", "6", "--temp", "0", "--token-ids"];
    assert_eq!(ok(&longer), answer);
}

/// The answer to the prompt from these arguments and this stdin.
fn answered(args: &[&str], stdin: Stdio, text: Option<&str>) -> Output {
    let common = ["-n", "6", "--temp", "0", "--token-ids"];
    let mut command = lfm2(&[&["generate"], args, &common].concat());
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if let Some(text) = text {
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    }
    child.wait_with_output().unwrap()
}

#[test]
fn text_from_a_pipe_is_added_to_the_prompt() {
    let joined = ok(&[
        "-q",
        "generate",
        "-p",
        "Summarise\n\nAll of it.",
        "-n",
        "6",
        "--temp",
        "0",
        "--token-ids",
    ]);
    let piped = |args: &[&str], input: &str| {
        let output = answered(args, Stdio::piped(), Some(input));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("all.txt");
    std::fs::write(&file, "All of it.").unwrap();
    assert_eq!(piped(&["-p", "Summarise"], "All of it."), joined);
    assert_eq!(piped(&["-p", "Summarise", "-f", "-"], "All of it."), joined);
    assert_eq!(piped(&["Summarise"], "All of it."), joined);
    assert_eq!(piped(&["-p", "Summarise", "-f", file.to_str().unwrap()], ""), joined);
    assert_eq!(piped(&[], "Summarise\n\nAll of it."), joined);
    assert_eq!(piped(&["-p", "Summarise\n\nAll of it."], ""), joined);
    let from_file = Stdio::from(std::fs::File::open(&file).unwrap());
    assert_eq!(text(&answered(&["-p", "Summarise"], from_file, None).stdout), joined);
    let empty = answered(&[], Stdio::piped(), Some(""));
    assert_eq!(empty.status.code(), Some(2), "{}", text(&empty.stderr));
}

/// A pipe that stays open without input, as some supervisors leave it.
#[test]
fn a_silent_pipe_has_a_time_limit() {
    let args = ["generate", "-p", "Hi", "-n", "1", "--temp", "0"];
    let mut command = lfm2(&args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(open);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("waiting for text at stdin"), "{stderr}");
    assert!(stderr.contains("no input from stdin"), "{stderr}");
    // The text of a slow writer is read.
    let mut command = lfm2(&["-q", "generate", "-p", "a", "-n", "1", "--temp", "0", "-c", "2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    pipe.write_all(&b"word ".repeat(3000)).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    let tokens = stderr.split("the prompt has ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(tokens.unwrap().parse::<usize>().unwrap() > 3000, "{stderr}");
}

#[test]
fn text_may_begin_with_a_dash() {
    for dashed in ["-1", "- buy milk", "---", "-x", "--> that", "-5 degrees"] {
        let ids = ok(&["tokenize", dashed]);
        let decoded = ok(&["tokenize", "--decode", ids.trim()]);
        assert_eq!(decoded.trim_end(), format!("<|startoftext|>{dashed}"));
    }
    let taken = |args: &[&str]| {
        ok(&[&["-q", "generate", "-n", "2", "--temp", "0"], args].concat());
    };
    taken(&["-p", "- buy milk", "--stop", "---", "--stop", "-x", "--system", "-x"]);
    taken(&["- buy milk", "--stop=-1"]);
    taken(&["--prompt", "--stats"]);
    taken(&["--raw", "-p", "-1"]);
}

#[test]
fn minus_one_has_the_meaning_of_other_programs() {
    let all = ["generate", "-p", "Hi", "--temp", "0", "--token-ids", "-q"];
    let plain = ok(&all);
    assert_eq!(ok(&[&all[..], &["-n", "-1", "--top-k", "-1", "--seed", "-1"]].concat()), plain);
    assert_eq!(ok(&[&all[..], &["--max-tokens=-1", "-s", "-1"]].concat()), plain);
    let by_variable = lfm2(&all).env("LFM2_SEED", "-1").env("LFM2_TOP_K", "-1").output().unwrap();
    assert_eq!(text(&by_variable.stdout), plain);
}

#[test]
fn the_random_seed_is_logged_and_repeats_the_answer() {
    let hot = ["-v", "generate", "-p", "Tell me", "-n", "12", "--temp", "20", "--min-p", "0"];
    let answer = |more: &[&str]| {
        let output = run(&[&hot[..], more].concat());
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let seed = stderr.lines().find_map(|l| l.split("] seed ").nth(1)).unwrap().to_owned();
        (text(&output.stdout), seed)
    };
    let (first, seed) = answer(&[]);
    let (second, other) = answer(&[]);
    assert_ne!((&first, &seed), (&second, &other));
    assert_eq!(answer(&["-s", &seed]), (first, seed));
}

#[test]
fn completions_are_printed_for_each_shell() {
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef lfm2"),
        ("fish", "complete -c lfm2"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = ok(&["completions", shell]);
        assert!(script.contains(word) && script.contains("generate"), "{shell}");
    }
    refused(&mut lfm2(&["completions", "tcsh"]), &["tcsh", "bash"]);
}

/// `lfm2 … | head -1` and the like end quietly.
#[cfg(unix)]
#[test]
fn a_closed_stdout_is_no_failure() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("chat.json");
    std::fs::write(&file, r#"[{"role": "user", "content": "Hi"}]"#).unwrap();
    for args in ["completions bash", "--help", "tokenize --chat FILE", "info"] {
        let args = args.replace("FILE", file.to_str().unwrap());
        let inner = lfm2(&[]);
        let program = inner.get_program().to_str().unwrap();
        let script = format!("exec 4>&1; {{ ({program} {args}; echo $? >&3) | true; }} 3>&1 4>&-");
        let output = Command::new("sh")
            .args(["-c", &script])
            .envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .output()
            .unwrap();
        assert_eq!(text(&output.stdout).trim(), "0", "{args}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{args}");
    }
}

/// A start with empty caches checks the GPU and compiles for many seconds, with progress.
#[cfg(target_os = "linux")]
#[test]
fn a_first_start_always_shows_progress() {
    use super::terminal::Terminal;
    let version = Instant::now();
    let mut t = Terminal::of(&lfm2(&["--version"]), "");
    t.wait("lfm2 ");
    let start = t.silences(version).0;

    let home = tempfile::TempDir::new().unwrap();
    let mut command = lfm2(&["generate", "-p", "Hi", "-n", "1", "--temp", "0", "--stats"]);
    for name in ["HOME", "XDG_CACHE_HOME", "MESA_SHADER_CACHE_DIR"] {
        command.env(name, home.path());
    }
    let began = Instant::now();
    let mut t = Terminal::of(&command, "");
    t.wait("checking this GPU (first start only)");
    t.wait("compiling kernels ");
    t.wait("first token");
    let (first, silence, before) = t.silences(began);
    println!(
        "first output after {first:?} (a bare start {start:?}), longest silence {silence:?} after {before:?}"
    );
    // Without the time that the machine needs to start any program.
    assert!(first < start + Duration::from_millis(500), "{first:?}, a bare start {start:?}");
    assert!(silence < Duration::from_secs(2), "{silence:?} after {before:?}");
    assert_eq!(t.exit_code(), Some(0));
}

/// A conversation of the evaluation that the model answers with a tool call.
fn asks_for_a_tool(folder: &std::path::Path) -> std::path::PathBuf {
    let examples = std::fs::read_to_string(root("assets/demo/eval.jsonl")).unwrap();
    let lines = examples.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let call = lines.into_iter().find(|e| {
        e["expected"].as_str().unwrap().starts_with("<|tool_call_start|>")
            && e["messages"].as_array().unwrap().len() == 1
    });
    let call = call.unwrap();
    let file = folder.join("call.json");
    let json = serde_json::json!({"messages": call["messages"], "tools": call["tools"]});
    std::fs::write(&file, json.to_string()).unwrap();
    file
}

#[test]
fn a_chat_takes_the_results_of_tools() {
    let folder = tempfile::TempDir::new().unwrap();
    let call = asks_for_a_tool(folder.path());
    let result = folder.path().join("result.json");
    std::fs::write(&result, "{\"result\": \"from a file\"}").unwrap();
    let args = ["--temp", "0", "--messages", call.to_str().unwrap()];
    for given in [
        "/tool {\"result\": \"ok\"}".to_owned(),
        format!("/tool @{}", result.display()),
        "/tool \"\"\"\n{\"result\":\n\"ok\"}\n\"\"\"".to_owned(),
    ] {
        let (out, err, code) = chat(&args, &format!("{given}\n/show\n/tool again\n"));
        assert_eq!(code, Some(0), "{err}");
        assert!(
            err.contains("The model calls ") && err.contains("Give the result: /tool RESULT"),
            "{err}"
        );
        // The call and the answer to its result.
        assert!(out.lines().filter(|l| !l.is_empty()).count() >= 2, "{out}");
        assert!(err.contains("tool: {\"result\""), "{err}");
        assert!(err.contains("The model has called no tool."), "{err}");
    }
}

#[test]
fn a_conversation_overwrites_only_its_own_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let (own, other) = (folder.path().join("own.json"), folder.path().join("other.json"));
    std::fs::write(&other, "precious").unwrap();
    let (own, other) = (own.to_str().unwrap(), other.to_str().unwrap());
    let lines = format!("Hello\n/save {own}\n/save {own}\n/save {other}\n/load {own}\n");
    let (_, err, code) = chat(&["--temp", "0", "-n", "4"], &lines);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("own.json written.").count(), 2, "{err}");
    assert!(err.contains("other.json exists: /save! "), "{err}");
    assert!(err.contains("2 messages.") && err.contains("user: Hello"), "{err}");
    assert_eq!(std::fs::read_to_string(other).unwrap(), "precious");
    let (_, err, _) =
        chat(&["--temp", "0", "-n", "4"], &format!("Hello\n/save! {other}\n/stats\n"));
    assert!(err.contains("other.json written.") && err.contains("\nseed "), "{err}");
}

#[cfg(target_os = "linux")]
#[test]
fn words_wrap_and_typed_keys_wait_at_a_terminal() {
    use super::terminal::Terminal;
    let lfm2 = lfm2(&[]);
    let program = lfm2.get_program().to_str().unwrap();
    let chat = "chat --no-history --temp 100 --min-p 0 -s 3 -n 60";
    let mut command = Command::new("sh");
    command.args(["-c", &format!("stty rows 20 cols 30; exec {program} {chat}")]);
    for (name, value) in lfm2.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut t = Terminal::of(&command, "");
    t.wait("Send a message");
    t.press("Tell me\r");
    t.press("typed ahead");
    let answer = t.wait("first token");
    // Text typed during the answer appears at the next prompt and not in the answer.
    let (answer, rest) = answer.split_once("[ prompt").unwrap();
    assert!(!answer.contains("yped"), "{answer:?}");
    assert!(answer.contains("\x1b[K\r\n"), "no word moved to the next line: {answer:?}");
    if !rest.contains("yped ahead") {
        t.wait("yped ahead");
    }
    // Ctrl-C during prefill removes the progress bar.
    let folder = tempfile::TempDir::new().unwrap();
    let long = folder.path().join("long");
    std::fs::write(&long, "word ".repeat(900)).unwrap();
    t.press(&format!("\x15/read {}\r", long.display()));
    t.wait("prompt 0/9");
    t.press("\x03");
    let left = t.wait_for_prompt("Stopped before the answer began.");
    assert!(!left.contains("^C"), "{left:?}");
    t.press("\x04");
    assert_eq!(t.exit_code(), Some(0));
}
