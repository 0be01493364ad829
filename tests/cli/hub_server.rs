//! A small server with the hub's endpoints, and with faults on request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const REPO: &str = "owner/repo";

/// A fault of one reply.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another status with these header lines.
    Status(u16, &'static str),
    /// The connection ends after this number of bytes.
    Cut(usize),
    /// The server falls silent after this number of bytes.
    Stall(usize),
    /// The whole content for any range.
    NoRange,
    /// Another range than the requested one.
    OtherRange,
    /// A byte of the content is changed.
    Corrupt,
    /// More than the content.
    Longer,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Faults of the next request whose path contains the text.
    faults: Vec<(&'static str, Fault)>,
    seen: Vec<Seen>,
    /// Requests for the first part of a file before a download; `seen` does not contain them.
    probes: Vec<Seen>,
    /// Whether whole files are sent in place of first parts.
    no_parts: bool,
    /// The required token.
    token: Option<&'static str>,
    /// Whether hashes are missing in the listing; HEAD requests have them.
    bare: bool,
    /// The port of the server for large files.
    cdn: u16,
    /// Another listing to send.
    listing: Option<String>,
}

#[derive(Clone)]
pub struct Server {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn git_hash(bytes: &[u8]) -> String {
    let hash = Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes);
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

pub fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".gguf")
}

impl Server {
    pub fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, cdn) = (listen(), listen());
        let cdn_port = cdn.local_addr().unwrap().port();
        let state = State { files: files.into_iter().collect(), cdn: cdn_port, ..State::default() };
        let server =
            Self { port: hub.local_addr().unwrap().port(), state: Arc::new(Mutex::new(state)) };
        for listener in [hub, cdn] {
            let server = server.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let server = server.clone();
                    // A killed client breaks the connection, which is no error.
                    std::thread::spawn(move || server.answer(stream));
                }
            });
        }
        server
    }

    pub fn fails(&self, path: &'static str, fault: Fault) {
        self.state.lock().unwrap().faults.push((path, fault));
    }

    pub fn wants_token(&self, token: &'static str) {
        self.state.lock().unwrap().token = Some(token);
    }

    pub fn tells_hashes_by_head_only(&self) {
        self.state.lock().unwrap().bare = true;
    }

    pub fn lists(&self, listing: String) {
        self.state.lock().unwrap().listing = Some(listing);
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// The requests for parts of files since the last call.
    pub fn probes(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().probes)
    }

    pub fn sends_no_parts(&self) {
        self.state.lock().unwrap().no_parts = true;
    }

    /// The ranges requested since the last call.
    pub fn ranges(&self) -> Vec<String> {
        self.seen().into_iter().filter_map(|s| s.range).collect()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut seen = Seen { method, path, range: None, token: None };
        for line in lines {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                    seen.range = Some(value.to_owned());
                }
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    seen.token = value.strip_prefix("Bearer ").map(str::to_owned);
                }
                Some(_) => {}
                None => break,
            }
        }
        let reply = self.reply(&seen);
        stream.write_all(&reply.head)?;
        stream.write_all(&reply.body)?;
        stream.flush()?;
        if reply.stall {
            std::thread::sleep(Duration::from_secs(600));
        }
        Ok(())
    }

    fn reply(&self, seen: &Seen) -> Reply {
        let mut state = self.state.lock().unwrap();
        let is_probe = seen.range.as_deref().is_some_and(|range| !range.ends_with('-'));
        if is_probe {
            state.probes.push(seen.clone());
        } else {
            state.seen.push(seen.clone());
        }
        let fits = |path: &str| seen.path.contains(path) && !is_probe;
        let at = state.faults.iter().position(|(path, _)| fits(path));
        let mut fault = at.map(|at| state.faults.remove(at).1);
        if is_probe && state.no_parts {
            fault = Some(Fault::NoRange);
        }
        if let Some(Fault::Status(status, headers)) = fault {
            return Reply::text(status, headers, "");
        }
        let path = seen.path.split('?').next().unwrap().to_owned();
        if let Some(hash) = path.strip_prefix("/cdn/") {
            let found = state.files.values().find(|bytes| sha256(bytes) == hash);
            return found.map_or(Reply::text(404, "", ""), |bytes| content(bytes, seen, fault));
        }
        if state.token.is_some() && seen.token.as_deref() != state.token {
            return Reply::text(401, "X-Error-Code: GatedRepo\r\n", "");
        }
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{REPO}/revision/")) {
            if revision != "main" && revision != COMMIT && revision != "refs%2Fpr%2F1" {
                return Reply::text(404, "X-Error-Code: RevisionNotFound\r\n", "");
            }
            return Reply::text(200, "", &state.listing.clone().unwrap_or_else(|| state.listing()));
        }
        let Some(name) = path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/")) else {
            return Reply::text(404, "X-Error-Code: RepoNotFound\r\n", "");
        };
        let name = name.replace("%20", " ");
        let Some(bytes) = state.files.get(&name) else {
            return Reply::text(404, "X-Error-Code: EntryNotFound\r\n", "");
        };
        if is_large(&name) {
            let (hash, len) = (sha256(bytes), bytes.len());
            let headers = format!(
                "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {len}\r\nLocation: http://127.0.0.1:{}/cdn/{hash}?signature=secret\r\n",
                state.cdn
            );
            return Reply::text(302, &headers, "");
        }
        content(bytes, seen, fault)
    }
}

impl State {
    fn listing(&self) -> String {
        let sibling = |(name, bytes): (&String, &Vec<u8>)| match (self.bare, is_large(name)) {
            (true, _) => serde_json::json!({"rfilename": name}),
            (false, true) => serde_json::json!({
                "rfilename": name, "size": bytes.len(), "blobId": git_hash(b"a pointer"),
                "lfs": {"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134},
            }),
            (false, false) => serde_json::json!({
                "rfilename": name, "size": bytes.len(), "blobId": git_hash(bytes),
            }),
        };
        let siblings: Vec<_> = self.files.iter().map(sibling).collect();
        serde_json::json!({"id": REPO, "sha": COMMIT, "siblings": siblings}).to_string()
    }
}

struct Reply {
    head: Vec<u8>,
    body: Vec<u8>,
    stall: bool,
}

impl Reply {
    fn text(status: u16, headers: &str, body: &str) -> Self {
        Self::new(status, headers, body.len(), body.as_bytes().to_vec())
    }

    fn new(status: u16, headers: &str, len: usize, body: Vec<u8>) -> Self {
        let head = format!(
            "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {len}\r\n{headers}\r\n"
        );
        Self { head: head.into_bytes(), body, stall: false }
    }
}

/// The reply with a file's bytes, or with a fault.
fn content(bytes: &[u8], seen: &Seen, fault: Option<Fault>) -> Reply {
    let etag = format!("ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\n", git_hash(bytes));
    if seen.method == "HEAD" {
        return Reply::new(200, &etag, bytes.len(), Vec::new());
    }
    let range = seen.range.as_deref().and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
    let number = |text: &str, default: usize| match text {
        "" => default,
        text => text.parse().unwrap(),
    };
    let (from, last) = range.map_or((0, ""), |(from, to)| (number(from, 0), to));
    let last = number(last, bytes.len().saturating_sub(1)).min(bytes.len().saturating_sub(1));
    let part = range.is_some_and(|(_, to)| !to.is_empty());
    let ranged = |start: usize| {
        let body = bytes[start..=last].to_vec();
        let range = format!("Content-Range: bytes {start}-{last}/{}\r\n", bytes.len());
        Reply::new(206, &(range + &etag), body.len(), body)
    };
    let mut reply = match fault {
        Some(Fault::NoRange) => Reply::new(200, &etag, bytes.len(), bytes.to_vec()),
        Some(Fault::OtherRange) => ranged(from.saturating_sub(1)),
        _ if from >= bytes.len() => Reply::text(416, "", ""),
        _ if from > 0 || part => ranged(from),
        _ => Reply::new(200, &etag, bytes.len(), bytes.to_vec()),
    };
    match fault {
        Some(Fault::Cut(n)) => reply.body.truncate(n),
        Some(Fault::Stall(n)) => {
            reply.body.truncate(n);
            reply.stall = true;
        }
        Some(Fault::Corrupt) => {
            let middle = reply.body.len() / 2;
            reply.body[middle] ^= 1;
        }
        Some(Fault::Longer) => {
            reply.body.extend(b"more");
            reply.head = b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n".to_vec();
        }
        _ => {}
    }
    reply
}
