//! `lfm2 serve` as users start and end it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{lfm2, ok, refused};

/// A server, and its log.
pub(super) struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    address: String,
}

impl Server {
    /// Starts a server on a free port, or as `args` say, and waits until it listens.
    pub(super) fn start(args: &[&str]) -> Self {
        let mut command = lfm2(&["serve"]);
        command.args(args).stderr(Stdio::piped());
        if !args.contains(&"--socket") && !args.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log, address: String::new() };
        while server.address.is_empty() {
            let mut line = String::new();
            assert!(server.log.read_line(&mut line).unwrap() > 0, "the server has ended");
            let Some(rest) = line.strip_prefix("listening on ") else { continue };
            for words in ["model demo", "context ", "4 at once", " of GPU memory"] {
                assert!(rest.contains(words), "{line}");
            }
            let (address, _) = rest.split_once(": ").unwrap();
            server.address = address.trim_start_matches("http://").to_owned();
        }
        server
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn request(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "{}", http(method, path, body)).unwrap();
        stream
    }

    pub(super) fn get(&self, path: &str) -> (u16, String) {
        reply(self.request("GET", path, ""))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> (u16, String) {
        reply(self.request("POST", path, &body.to_string()))
    }

    /// Ends the server and returns its exit code and the rest of its log.
    fn end(mut self) -> (Option<i32>, String) {
        signal(&self.child, "-TERM");
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Status and body of a reply. A body in chunks is returned as it came.
fn reply(mut stream: impl Read) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

pub(super) fn signal(child: &Child, which: &str) {
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill").args([which, &id]).status().unwrap();
    assert!(sent.success());
}

fn chat(text: &str, more: Value) -> Value {
    let mut request =
        json!({ "messages": [{ "role": "user", "content": text }], "temperature": 0 });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

/// The same answer as `generate`; prompts and answers are not in the log.
#[test]
fn a_server_answers_and_logs_requests() {
    let server = Server::start(&["--log-format", "json"]);
    let (status, body) = server.post("/v1/chat/completions", &chat("What is 2 + 3?", json!({})));
    assert_eq!(status, 200, "{body}");
    let reply: Value = serde_json::from_str(&body).unwrap();
    let want = ok(&["-q", "generate", "What is 2 + 3?", "--temp", "0"]);
    assert_eq!(reply["choices"][0]["message"]["content"], want.trim_end_matches('\n'));
    assert_eq!(server.post("/v1/secret-path", &json!({})).0, 404);
    assert_eq!(server.post("/v1/chat/completions", &chat("secret", json!({ "n": "x" }))).0, 400);
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |status: u64| lines.iter().find(|line| line["status"] == status).unwrap();
    assert_eq!(of(200)["route"], "/v1/chat/completions");
    assert_eq!((&of(200)["method"], of(200)["ms"].is_u64()), (&json!("POST"), true));
    assert!(of(200)["time"].is_string() && of(200)["id"].is_string());
    for hidden in ["2 + 3", "secret"] {
        assert!(!log.contains(hidden), "{log}");
    }
}

/// SIGTERM lets a running answer end whole and refuses new ones; a second signal ends the server at once.
#[cfg(unix)]
#[test]
fn a_server_ends_when_its_answers_have_ended() {
    let server = Server::start(&[]);
    let fields = json!({ "stream": true, "ignore_eos": true, "max_tokens": 600 });
    let long = chat("Hello!", fields);
    let mut running = server.request("POST", "/v1/chat/completions", &long.to_string());
    let mut first = [0; 64];
    running.read_exact(&mut first).unwrap();
    signal(&server.child, "-TERM");
    let asked = Instant::now();
    loop {
        // The signal may take a moment.
        let (status, body) = server.post("/v1/chat/completions", &chat("Hi", json!({})));
        if status == 503 {
            assert!(body.contains("shutting_down"), "{body}");
            break;
        }
        assert!(asked.elapsed() < Duration::from_secs(5), "{status}: {body}");
    }
    let mut rest = String::new();
    running.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"finish_reason\":\"length\"") && rest.contains("[DONE]"), "{rest}");
    let mut server = server;
    assert_eq!(server.child.wait().unwrap().code(), Some(0));

    let server = Server::start(&[]);
    let mut running = server.request("POST", "/v1/chat/completions", &long.to_string());
    running.read_exact(&mut first).unwrap();
    signal(&server.child, "-INT");
    std::thread::sleep(Duration::from_millis(100));
    signal(&server.child, "-INT");
    let mut server = server;
    assert_eq!(server.child.wait().unwrap().code(), Some(130));
}

/// A client that goes away ends its answer.
#[test]
fn a_disconnect_ends_the_answer() {
    let server = Server::start(&[]);
    for streams in [true, false] {
        let fields = json!({ "stream": streams, "ignore_eos": true, "max_tokens": 1900 });
        let body = chat("Hello!", fields).to_string();
        let running = server.request("POST", "/v1/chat/completions", &body);
        let in_flight = || {
            let (_, body) = reply(server.request("GET", "/health", ""));
            serde_json::from_str::<Value>(&body).unwrap()["in_flight"].as_u64().unwrap()
        };
        let waited = Instant::now();
        while in_flight() == 0 {
            assert!(waited.elapsed() < Duration::from_secs(10));
        }
        drop(running);
        let left = Instant::now();
        while in_flight() > 0 {
            assert!(left.elapsed() < Duration::from_secs(2), "streams: {streams}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_unix_socket_serves_and_replaces_a_stale_one() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("lfm2.sock");
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::start(&["--socket", path.to_str().unwrap()]);
    assert!(server.address.starts_with("unix:"), "{}", server.address);
    let mut stream = UnixStream::connect(&path).unwrap();
    let body = chat("Hi", json!({ "max_tokens": 2 })).to_string();
    write!(stream, "{}", http("POST", "/v1/chat/completions", &body)).unwrap();
    assert_eq!(reply(stream).0, 200);
    assert_eq!(server.end().0, Some(0));
    assert!(!path.exists(), "the socket is removed");
}

/// A killed server cuts its streams, which clients can tell from an end, and starts again on its port.
#[test]
fn a_killed_server_starts_again() {
    let mut server = Server::start(&[]);
    let fields = json!({ "stream": true, "ignore_eos": true, "max_tokens": 1900 });
    let body = chat("Hello!", fields).to_string();
    let mut running = server.request("POST", "/v1/chat/completions", &body);
    let mut first = [0; 64];
    running.read_exact(&mut first).unwrap();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let mut rest = Vec::new();
    // Its end may be an error of the connection.
    let _ = running.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.contains("[DONE]") && !rest.contains("\"finish_reason\":\"length\""), "{rest}");
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let again = Server::start(&["--port", &port]);
    assert_eq!(again.post("/v1/chat/completions", &chat("Hi", json!({}))).0, 200);
}

#[test]
fn wrong_options_are_refused() {
    refused(&mut lfm2(&["serve", "--host", "0.0.0.0"]), &["--host 0.0.0.0", "other machines"]);
    refused(&mut lfm2(&["serve", "--cors", "example.org"]), &["--cors", "example.org"]);
    refused(&mut lfm2(&["serve", "--api-key", ""]), &["--api-key"]);
    refused(&mut lfm2(&["serve", "--api-key-file", "/nonexistent"]), &["/nonexistent"]);
    refused(&mut lfm2(&["serve", "--parallel", "0"]), &["--parallel"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&mut lfm2(&["serve", "--port", &port]), &[&port, "cannot listen"]);
}
