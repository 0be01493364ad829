//! `lfm2 bench --serve`, with our server and with small ones that are like others or fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::serve::{Server, signal};
use super::{lfm2, refused, text};

fn rows(stdout: &[u8]) -> Vec<Value> {
    serde_json::from_slice(stdout).unwrap_or_else(|e| panic!("{e}: {}", text(stdout)))
}

/// Tokens of requests add up, times are in order, and only tokens that prompts share are cached.
#[test]
fn our_server_is_measured() {
    let server = Server::start(&["--parallel", "4"]);
    let url = format!("http://{}/v1", server.address());
    let args =
        "--concurrency 1,3 --request-rate 50 --requests 5 -p 80 -n 6 --shared-prefix 64 -o json";
    let mut command = lfm2(&["-q", "bench", "--serve", &url]);
    let output = command.args(args.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows = rows(&output.stdout);
    let names: Vec<_> = rows.iter().map(|row| row["test"].as_str().unwrap()).collect();
    let apart = ["80/6 c1", "80/6 c3", "80/6 r50"];
    assert_eq!(names[..3], apart);
    assert_eq!(names[3..], apart.map(|name| format!("{name} shared 64")));
    for row in &rows {
        let of = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
        assert_eq!((of("completed"), of("failed")), (5.0, 0.0), "{row}");
        assert_eq!((of("total_input_tokens"), of("total_output_tokens")), (400.0, 30.0), "{row}");
        let shared = of("random_prefix_len") > 0.0;
        assert_eq!(of("total_cached_tokens"), if shared { 320.0 } else { 0.0 }, "{row}");
        for name in ["ttft", "tpot", "itl", "e2el"] {
            let [mean, median, p90, p99] =
                ["mean", "median", "p90", "p99"].map(|s| of(&format!("{s}_{name}_ms")));
            assert!(mean > 0.0 && median > 0.0, "{name}: {row}");
            assert!(median <= p90 && p90 <= p99, "{name}: {row}");
        }
        assert!(
            of("mean_e2el_ms") >= of("mean_ttft_ms") + 5.0 * of("mean_tpot_ms") - 1e-6,
            "{row}"
        );
        assert!(of("p99_e2el_ms") <= 1e3 * of("duration"), "{row}");
        assert!((of("output_throughput") * of("duration") - 30.0).abs() < 1e-6, "{row}");
        assert!((of("total_token_throughput") * of("duration") - 430.0).abs() < 1e-6, "{row}");
    }
    assert_eq!((&rows[1]["max_concurrency"], &rows[1]["request_rate"]), (&json!(3), &json!("inf")));
    assert_eq!(
        (&rows[2]["max_concurrency"], &rows[2]["request_rate"]),
        (&json!(null), &json!(50.0))
    );
}

#[test]
fn a_server_that_wants_a_key_gets_it() {
    let server = Server::start(&["--api-key", "k1"]);
    let url = format!("http://{}", server.address());
    let small =
        ["bench", "--serve", &url, "--concurrency", "1", "-p", "4", "-n", "2", "--requests", "2"];
    refused(&mut lfm2(&small), &["--serve", "401", "key is needed"]);
    refused(lfm2(&small).args(["--api-key", "k2"]), &["--serve", "401", "key is wrong"]);
    let output = lfm2(&small).env("LFM2_API_KEY", "k1").output().unwrap();
    let (table, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(
        table.starts_with("|  | 4/2 c1 |\n| --- | ---: |\n| Successful requests | 2 |\n"),
        "{table}"
    );
    for name in ["Request throughput (req/s)", "Mean TTFT (ms)", "P99 ITL (ms)", "P90 E2EL (ms)"] {
        assert!(table.contains(&format!("| {name} | ")), "{table}");
    }
    assert!(errors.contains("measuring demo on http://"), "{errors}");
}

/// A server of another kind.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Its `/tokenize` takes `content`, its chunks have no counts.
    Llama,
    /// It has no `/tokenize`.
    Plain,
    /// It cuts its streams.
    Cuts,
    /// It refuses requests.
    Full,
}

/// Starts such a server. Returns its URL and the number of its whole answers.
fn other(kind: Kind) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let counted = counted.clone();
            std::thread::spawn(move || answer(kind, stream.unwrap(), &counted));
        }
    });
    (url, answers)
}

fn answer(kind: Kind, mut stream: TcpStream, answers: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let head = "connection: close\r\n\r\n";
    let path = first.split(' ').nth(1).unwrap_or_default();
    let reply = match (path, kind) {
        ("/v1/models", _) => {
            format!("HTTP/1.1 200 OK\r\n{head}{}", json!({ "data": [{ "id": "m" }] }))
        }
        ("/tokenize", Kind::Llama) => {
            let ids: Vec<u32> =
                if body["content"].is_string() { (0..40).collect() } else { vec![] };
            format!("HTTP/1.1 200 OK\r\n{head}{}", json!({ "tokens": ids }))
        }
        ("/v1/completions", Kind::Full) => {
            let error = json!({ "error": { "message": "the queue is full" } });
            format!("HTTP/1.1 429 Too Many Requests\r\n{head}{error}")
        }
        ("/v1/completions", Kind::Cuts) => {
            let chunk = "data: {\"choices\": [{\"text\": \"a\"}]}\n\n";
            let head = "transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
            format!("HTTP/1.1 200 OK\r\n{head}{:x}\r\n{chunk}\r\n", chunk.len())
        }
        ("/v1/completions", _) => {
            answers.fetch_add(1, Ordering::SeqCst);
            let tokens = match &body["prompt"] {
                Value::Array(ids) => ids.len(),
                prompt => prompt.as_str().unwrap().split(' ').count(),
            };
            let n = body["max_tokens"].as_u64().unwrap();
            let usage = json!({ "prompt_tokens": tokens, "completion_tokens": n });
            let chunk = "data: {\"choices\": [{\"text\": \"a\"}]}\n\n".repeat(n as usize);
            let end =
                format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage }));
            format!("HTTP/1.1 200 OK\r\n{head}{chunk}{end}")
        }
        _ => format!("HTTP/1.1 404 Not Found\r\n{head}no such path"),
    };
    // Clients may leave.
    let _ = stream.write_all(reply.as_bytes());
}

fn measured(url: &str) -> std::process::Command {
    let mut command = lfm2(&["bench", "--serve", url, "-o", "json", "--seed", "3"]);
    command.args(["--concurrency", "2", "-p", "8", "-n", "4", "--requests", "3"]);
    command
}

#[test]
fn servers_of_other_kinds_are_measured() {
    for (kind, note) in [(Kind::Llama, ""), (Kind::Plain, "no /tokenize")] {
        let output = measured(&other(kind).0).output().unwrap();
        let errors = text(&output.stderr);
        assert!(output.status.success() && errors.contains(note), "{errors}");
        let row = &rows(&output.stdout)[0];
        assert_eq!((&row["completed"], &row["model_id"]), (&json!(3), &json!("m")), "{row}");
        assert_eq!(row["total_input_tokens"], 24, "{row}");
        assert_eq!((&row["total_output_tokens"], &row["seed"]), (&json!(12), &json!(3)), "{row}");
        assert!(row["total_cached_tokens"].is_null(), "{row}");
    }
}

#[test]
fn failures_are_counted_and_named() {
    let cases = [
        (Kind::Cuts, "the stream ended before the answer did"),
        (Kind::Full, "status 429: the queue is full"),
    ];
    for (kind, words) in cases {
        let output = measured(&other(kind).0).output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let row = &rows(&output.stdout)[0];
        assert_eq!((&row["completed"], &row["failed"]), (&json!(0), &json!(3)), "{row}");
        assert_eq!(row["errors"], json!({ words: 3 }), "{row}");
        assert!(row["mean_ttft_ms"].is_null(), "{row}");
        assert!(errors.contains(&format!("8/4 c2: 3 failed: {words}\n")), "{errors}");
        assert!(errors.contains("all requests have failed"), "{errors}");
    }
}

/// Ctrl-C ends the run and prints its figures so far.
#[cfg(unix)]
#[test]
fn an_interrupted_run_prints_its_figures() {
    let (url, answers) = other(Kind::Llama);
    let mut command =
        lfm2(&["bench", "--serve", &url, "-p", "8", "-n", "2", "--requests", "100000"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let began = Instant::now();
    while answers.load(Ordering::SeqCst) < 10 {
        assert!(began.elapsed() < Duration::from_secs(60), "no answers");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let table = text(&output.stdout);
    assert!(table.starts_with("|  | 8/2 c1 |\n"), "{table}");
    assert!(!table.contains("| Successful requests | 0 |"), "{table}");
}

#[test]
fn wrong_options_of_serve_are_refused() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = format!("http://{free}");
    refused(&mut lfm2(&["bench", "--serve", &dead]), &["--serve", &dead, "cannot be reached"]);
    let serve = |more: &[&str]| lfm2(&[&["bench", "--serve", &dead], more].concat());
    for (more, name) in [
        (&["--parallel", "2"][..], "--parallel"),
        (&["--sampling", "greedy"], "--sampling"),
        (&["-d", "8"], "--n-depth"),
        (&["-r", "2"], "--repetitions"),
        (&["--shape", "mini"], "--shape"),
        (&["--profile"], "--profile"),
        (&["-m", "x"], "--model"),
    ] {
        refused(&mut serve(more), &["--serve", name]);
    }
    refused(&mut serve(&["-p", "0"]), &["-p", "--serve"]);
    refused(&mut serve(&["-n", "0"]), &["-n", "--serve"]);
    refused(&mut serve(&["--shared-prefix", "1024"]), &["--shared-prefix", "-p 1024"]);
    refused(&mut serve(&["--request-rate", "0"]), &["--request-rate"]);
    refused(&mut serve(&["--concurrency", "0"]), &["--concurrency"]);
    refused(&mut lfm2(&["bench", "--serve", "localhost:8080"]), &["--serve", "http://"]);
    refused(&mut lfm2(&["bench", "--requests", "3"]), &["--requests", "--serve"]);
}
