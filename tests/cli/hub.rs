//! Models of the hub, from a server on this machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::hub_server::{COMMIT, Fault, REPO, Server, git_hash, is_large, sha256};
use super::{lfm2, refused, root, text};

/// A computer with its own cache.
pub struct Computer {
    pub home: TempDir,
    pub endpoint: String,
}

impl Computer {
    pub fn new(server: &Server) -> Self {
        let endpoint = format!("http://127.0.0.1:{}", server.port);
        Self { home: TempDir::new().unwrap(), endpoint }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = lfm2(args);
        let of_the_hub = std::env::vars().map(|(n, _)| n).filter(|n| {
            n.starts_with("HF_")
                || n == "HUGGINGFACE_HUB_CACHE"
                || n.to_lowercase().ends_with("_proxy")
        });
        of_the_hub.for_each(|name| {
            command.env_remove(name);
        });
        command.env("HF_HOME", self.home.path()).env("HF_ENDPOINT", &self.endpoint);
        command.env("HF_HUB_DOWNLOAD_TIMEOUT", "60");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Asserts that the command exits with 1 and an error of one line.
    fn fails(&self, args: &[&str], words: &[&str]) {
        let output = self.run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        let last = stderr.lines().last().unwrap();
        assert!(last.starts_with("error: "), "{stderr}");
        words.iter().for_each(|w| assert!(last.contains(w), "{args:?}: no {w:?} in {stderr}"));
    }

    pub fn repo(&self) -> PathBuf {
        self.home.path().join("hub/models--owner--repo")
    }

    pub fn blobs(&self) -> Vec<String> {
        let Ok(blobs) = std::fs::read_dir(self.repo().join("blobs")) else { return Vec::new() };
        let names = blobs.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn incomplete(&self, bytes: &[u8]) -> PathBuf {
        self.repo().join("blobs").join(format!("{}.incomplete", sha256(bytes)))
    }

    /// Asserts that the cached file equals the server's, and that no incomplete file is left.
    fn assert_complete(&self, name: &str, bytes: &[u8]) {
        let place = self.repo().join("snapshots").join(COMMIT).join(name);
        assert!(std::fs::read(&place).unwrap() == bytes, "{}", place.display());
        assert_eq!(self.blobs(), [sha256(bytes)]);
    }

    /// Asserts that no file is complete.
    fn assert_nothing_complete(&self) {
        assert!(!self.repo().join("snapshots").exists() && !self.repo().join("refs").exists());
        let blobs = self.blobs();
        assert!(blobs.iter().all(|b| b.ends_with(".incomplete")), "{blobs:?}");
    }
}

/// The demonstration model as a repository.
pub fn demo() -> Vec<(String, Vec<u8>)> {
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
        .into_iter()
        .chain(["chat_template.jinja", "model.safetensors", "README.md"])
        .map(|name| (name.to_owned(), std::fs::read(root("assets/demo").join(name)).unwrap()))
        .collect()
}

/// Bytes that do not repeat.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

const GGUF: &str = "LFM2-Q4_0.gguf";

/// A repository of one file.
fn one_file() -> (Server, Vec<u8>, Computer) {
    let bytes = bytes(3_000_000);
    let server = Server::start([(GGUF.to_owned(), bytes.clone())]);
    let computer = Computer::new(&server);
    (server, bytes, computer)
}

fn wait_for_len(path: &Path, len: u64) {
    let started = Instant::now();
    while std::fs::metadata(path).map_or(0, |m| m.len()) < len {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A pull that hangs after `len` bytes.
fn stalled(server: &Server, computer: &Computer, content: &[u8], len: usize) -> Child {
    server.fails("/cdn/", Fault::Stall(len));
    let mut pull = computer.command(&["pull", REPO]);
    let child = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_len(&computer.incomplete(content), len as u64);
    child
}

pub const ANSWER: [&str; 8] = ["-q", "generate", "-p", "Hello!", "-n", "8", "--temp", "0"];

#[test]
fn a_pulled_model_answers_without_a_network() {
    let server = Server::start(demo());
    let computer = Computer::new(&server);
    let by_name = || [&["-m", REPO], &ANSWER[..]].concat();
    // Without a terminal for the question, nothing is downloaded.
    refused(&mut computer.command(&by_name()), &["lfm2 pull owner/repo"]);
    assert!(server.seen().is_empty());

    let folder = computer.ok(&["-q", "pull", REPO]);
    let folder = Path::new(folder.trim_end());
    assert_eq!(folder, computer.repo().join("snapshots").join(COMMIT));
    // Only the files of the model; the large one comes from another server under its hash.
    let seen = server.seen();
    assert!(!seen.iter().any(|s| s.path.contains("README")), "{seen:?}");
    assert_eq!(seen.iter().filter(|s| s.path.starts_with("/cdn/")).count(), 1);
    let weights = std::fs::read_link(folder.join("model.safetensors")).unwrap();
    let hash = sha256(&std::fs::read(root("assets/demo/model.safetensors")).unwrap());
    assert_eq!(weights, Path::new("../../blobs").join(hash));
    assert_eq!(std::fs::read_to_string(computer.repo().join("refs/main")).unwrap(), COMMIT);

    let own = text(&lfm2(&ANSWER).output().unwrap().stdout);
    assert_eq!(computer.ok(&by_name()), own);
    let gone = Computer { home: computer.home, endpoint: "http://127.0.0.1:1".to_owned() };
    let mut offline = gone.command(&by_name());
    assert_eq!(text(&offline.env("HF_HUB_OFFLINE", "1").output().unwrap().stdout), own);
    assert_eq!(text(&gone.run(&[&["-m", "owner/repo@main"], &ANSWER[..]].concat()).stdout), own);
    assert!(server.seen().is_empty());
    let mut other = gone.command(&["-m", "owner/other", "generate", "-p", "x"]);
    let names = &["owner/other", "HF_HUB_OFFLINE", "The cache has owner/repo"];
    refused(other.env("HF_HUB_OFFLINE", "1"), names);
    let mut pull = gone.command(&["pull", "owner/other"]);
    refused(pull.env("HF_HUB_OFFLINE", "yes"), names);
}

#[test]
fn only_the_hub_gets_the_token() {
    let (server, content, computer) = one_file();
    server.wants_token("hf_secret");
    refused(&mut computer.command(&["pull", REPO]), &["401", "HF_TOKEN", "/owner/repo"]);
    let mut wrong = computer.command(&["pull", REPO]);
    refused(wrong.env("HF_TOKEN", "hf_wrong"), &["401", "HF_TOKEN's owner may read it"]);
    server.seen();
    let pull = computer.command(&["pull", REPO]).env("HF_TOKEN", "hf_secret").output().unwrap();
    assert!(pull.status.success(), "{}", text(&pull.stderr));
    assert!(!text(&pull.stderr).contains("hf_secret"));
    let seen = server.seen();
    let with: Vec<_> = seen.iter().filter(|s| s.token.is_some()).collect();
    assert!(with.iter().all(|s| !s.path.starts_with("/cdn/")) && with.len() == 2, "{seen:?}");
    assert!(seen.iter().any(|s| s.path.starts_with("/cdn/")), "{seen:?}");
    computer.assert_complete(GGUF, &content);
    // The token from the file of the hub's own program.
    let other = Computer::new(&server);
    std::fs::write(other.home.path().join("token"), "hf_secret\n").unwrap();
    other.ok(&["pull", REPO]);
    let mut bad = computer.command(&["pull", REPO]);
    refused(bad.env("HF_TOKEN", "two words"), &["HF_TOKEN: is not a token"]);
}

#[test]
fn an_interrupted_connection_resumes() {
    let (server, content, computer) = one_file();
    server.fails("/cdn/", Fault::Cut(1_000_000));
    server.fails("/cdn/", Fault::Cut(500_000));
    let output = computer.run(&["pull", REPO]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(server.ranges().last().unwrap(), "bytes=1500000-");
    computer.assert_complete(GGUF, &content);
    assert!(text(&output.stderr).contains("disconnected, again in"), "{}", text(&output.stderr));
    // A second pull requests only the listing.
    computer.ok(&["pull", REPO]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_server_without_correct_ranges_sends_the_whole_file() {
    let (server, content, computer) = one_file();
    for fault in [Fault::NoRange, Fault::OtherRange, Fault::Status(416, "")] {
        server.fails("/cdn/", Fault::Cut(1_000_000));
        server.fails("/cdn/", fault);
        computer.ok(&["pull", REPO]);
        computer.assert_complete(GGUF, &content);
        assert!(server.ranges().contains(&"bytes=1000000-".to_owned()));
        computer.ok(&["-q", "rm", "--yes", REPO]);
    }
}

#[test]
fn temporary_failures_are_retried() {
    let (server, content, computer) = one_file();
    server.fails("/api/", Fault::Status(503, ""));
    server.fails("/resolve/", Fault::Status(429, "Retry-After: 1\r\n"));
    server.fails("/cdn/", Fault::Status(503, ""));
    // An expired address.
    server.fails("/cdn/", Fault::Status(403, ""));
    let past = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    server.fails("/cdn/", Fault::Status(503, past));
    let pull = computer.run(&["pull", REPO]);
    let stderr = text(&pull.stderr);
    assert!(pull.status.success(), "{stderr}");
    for words in [
        "(503), again in 0.5 s",
        "(429), again in 1 s",
        "refused (403), again in 2 s",
        "(503), again in 0 s",
    ] {
        assert!(stderr.contains(words), "no {words:?} in {stderr}");
    }
    computer.assert_complete(GGUF, &content);
}

#[test]
fn permanent_failures_end_the_pull() {
    let (server, _, computer) = one_file();
    refused(&mut computer.command(&["pull", "owner/none"]), &["owner/none", "no such model"]);
    refused(&mut computer.command(&["pull", "owner/repo@v9"]), &["owner/repo@v9", "no such rev"]);
    refused(&mut computer.command(&["pull", "owner/repo:Q8_0"]), &["Q8_0", "There are: Q4_0"]);
    refused(&mut computer.command(&["pull", "not a name"]), &["owner/repo[:QUANT][@revision]"]);
    refused(
        &mut computer.command(&["-m", "a/b:", "generate", "-p", "x"]),
        &["as a name on the hub"],
    );
    server.fails("/api/", Fault::Status(429, "Retry-After: 9999\r\n"));
    computer.fails(&["pull", REPO], &["429", "wait 9999 s"]);
    server.fails("/cdn/", Fault::Status(500, "Retry-After: 0\r\n"));
    for _ in 0..4 {
        server.fails("/cdn/", Fault::Status(500, "Retry-After: 0\r\n"));
    }
    computer.fails(&["pull", REPO], &["500", "5 times", "run the command again"]);
    computer.assert_nothing_complete();
    let gone = Computer { home: computer.home, endpoint: "http://127.0.0.1:1".to_owned() };
    gone.fails(&["pull", REPO], &["127.0.0.1:1", "5 times"]);
    // Without a network, one line follows at once.
    let nowhere = Computer { endpoint: "http://no-such-host.invalid".to_owned(), ..gone };
    nowhere.fails(&["pull", REPO], &["no-such-host.invalid is not found", "online"]);
    let stderr = text(&nowhere.run(&["pull", REPO]).stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let gone = nowhere;
    let mut bad = gone.command(&["pull", REPO]);
    refused(bad.env("HF_ENDPOINT", "file:///etc"), &["HF_ENDPOINT", "http://"]);
}

#[test]
fn a_silent_server_is_asked_again() {
    let (server, content, computer) = one_file();
    server.fails("/cdn/", Fault::Stall(1_000_000));
    let mut pull = computer.command(&["pull", REPO]);
    let output = pull.env("HF_HUB_DOWNLOAD_TIMEOUT", "1").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(server.ranges().contains(&"bytes=1000000-".to_owned()));
    computer.assert_complete(GGUF, &content);
}

#[test]
fn damaged_files_are_never_used() {
    let (server, content, computer) = one_file();
    for (fault, word) in [(Fault::Corrupt, "SHA-256"), (Fault::Longer, "length")] {
        server.fails("/cdn/", fault);
        computer.fails(&["pull", REPO], &[GGUF, word, "deleted"]);
        computer.assert_nothing_complete();
        assert!(computer.blobs().is_empty());
    }
    // Damage in the second part discards the first one as well.
    server.fails("/cdn/", Fault::Cut(1_000_000));
    server.fails("/cdn/", Fault::Corrupt);
    computer.fails(&["pull", REPO], &["SHA-256"]);
    assert!(computer.blobs().is_empty());
    // A wrong beginning is downloaded again in the same run.
    std::fs::write(computer.incomplete(&content), vec![7; 1_000_000]).unwrap();
    computer.ok(&["pull", REPO]);
    computer.assert_complete(GGUF, &content);
    // An incomplete file that is too long.
    computer.ok(&["-q", "rm", "--yes", REPO]);
    std::fs::create_dir_all(computer.repo().join("blobs")).unwrap();
    std::fs::write(computer.incomplete(&content), vec![7; 4_000_000]).unwrap();
    computer.ok(&["pull", REPO]);
    computer.assert_complete(GGUF, &content);
    // Damage on the disk is found by the length, or with --check.
    let blob = computer.repo().join("blobs").join(sha256(&content));
    std::fs::write(&blob, &content[..100]).unwrap();
    computer.ok(&["pull", REPO]);
    computer.assert_complete(GGUF, &content);
    let mut wrong = content.clone();
    wrong[5] ^= 1;
    std::fs::write(&blob, &wrong).unwrap();
    computer.ok(&["pull", "--check", REPO]);
    computer.assert_complete(GGUF, &content);
    // Small files are checked by git's hash.
    let server = Server::start(demo());
    let computer = Computer::new(&server);
    server.fails("/config.json", Fault::Corrupt);
    computer.fails(&["pull", REPO], &["config.json", "git hash"]);
    computer.assert_nothing_complete();
}

#[test]
fn a_killed_pull_resumes() {
    let (server, content, computer) = one_file();
    let mut first = stalled(&server, &computer, &content, 1_200_000);
    // A second pull waits for the first one.
    let mut second = computer.command(&["-q", "pull", REPO]);
    let mut second = second.stdout(Stdio::null()).spawn().unwrap();
    refused(&mut computer.command(&["rm", "--yes", REPO]), &["another process"]);
    std::thread::sleep(Duration::from_millis(500));
    assert!(second.try_wait().unwrap().is_none());
    assert!(server.ranges().is_empty());
    computer.assert_nothing_complete();
    // An incomplete model is not used.
    refused(&mut computer.command(&["-m", REPO, "generate", "-p", "x"]), &["lfm2 pull"]);
    assert!(computer.ok(&["list"]).contains("incomplete"));

    first.kill().unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap().success());
    assert_eq!(server.ranges(), ["bytes=1200000-", "bytes=1200000-"], "the hub, and its CDN");
    computer.assert_complete(GGUF, &content);
}

#[cfg(unix)]
#[test]
fn a_pull_resumes_after_ctrl_c() {
    let (server, content, computer) = one_file();
    let mut pull = stalled(&server, &computer, &content, 1_200_000);
    // SAFETY: the child is ours and has not been waited for.
    let sent = unsafe { libc::kill(libc::pid_t::try_from(pull.id()).unwrap(), libc::SIGINT) };
    assert_eq!((sent, pull.wait().unwrap().code()), (0, Some(130)));
    computer.assert_nothing_complete();
    computer.ok(&["pull", REPO]);
    assert_eq!(server.ranges().last().unwrap(), "bytes=1200000-");
    computer.assert_complete(GGUF, &content);
}

/// Writes a repository as huggingface_hub does.
fn cache_by_hand(computer: &Computer, files: &[(String, Vec<u8>)]) {
    let (blobs, snapshot) =
        (computer.repo().join("blobs"), computer.repo().join("snapshots").join(COMMIT));
    for folder in [&blobs, &snapshot, &computer.repo().join("refs")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    for (name, content) in files {
        let hash = if is_large(name) { sha256(content) } else { git_hash(content) };
        std::fs::write(blobs.join(&hash), content).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(format!("../../blobs/{hash}"), snapshot.join(name)).unwrap();
        #[cfg(not(unix))]
        std::fs::write(snapshot.join(name), content).unwrap();
    }
    std::fs::write(computer.repo().join("refs/main"), COMMIT).unwrap();
}

#[test]
fn files_of_huggingface_hub_are_used() {
    let server = Server::start(demo());
    let computer = Computer::new(&server);
    cache_by_hand(&computer, &demo());
    let answer = computer.ok(&[&["-m", REPO], &ANSWER[..]].concat());
    assert_eq!(answer, text(&lfm2(&ANSWER).output().unwrap().stdout));
    assert!(server.seen().is_empty());
    // A pull requests the listing, and downloads nothing.
    let pull = computer.run(&["pull", REPO]);
    assert!(text(&pull.stderr).contains("0 B to download"), "{}", text(&pull.stderr));
    assert_eq!(server.seen().len(), 1);
    // HF_HUB_CACHE may name the cache's folder.
    let mut moved = computer.command(&["-q", "list"]);
    moved.env("HF_HUB_CACHE", computer.home.path().join("hub")).env("HF_HOME", "/nonexistent");
    assert!(text(&moved.output().unwrap().stdout).contains(&format!("\n{REPO} ")));
}

#[test]
fn names_from_the_server_stay_in_the_cache() {
    let (server, content, computer) = one_file();
    let outside = computer.home.path().join("evil-Q4_0.gguf");
    for name in [
        "../../../../evil-Q4_0.gguf",
        "/tmp/evil-Q4_0.gguf",
        "a/../../evil-Q4_0.gguf",
        "..\\evil-Q4_0.gguf",
        "C:evil-Q4_0.gguf",
        "evil\u{0}-Q4_0.gguf",
        "evil\n\u{1b}[2J-Q4_0.gguf",
    ] {
        let lfs = serde_json::json!({"sha256": sha256(&content), "size": content.len()});
        let sibling = serde_json::json!({"rfilename": name, "size": content.len(), "lfs": lfs});
        let listing = serde_json::json!({"sha": COMMIT, "siblings": [sibling]});
        server.lists(listing.to_string());
        computer.fails(&["pull", REPO], &["not the hub's", "a file is called"]);
        assert!(!outside.exists() && !computer.repo().exists(), "{name:?}");
    }
    for (listing, word) in [
        (serde_json::json!({"sha": "../../x", "siblings": []}).to_string(), "its commit is"),
        (serde_json::json!({"siblings": []}).to_string(), "sha"),
        ("<html>".to_owned(), "not the hub's"),
        (String::new(), "not the hub's"),
    ] {
        server.lists(listing);
        computer.fails(&["pull", REPO], &[word]);
    }
    server.lists(serde_json::json!({"sha": COMMIT, "siblings": []}).to_string());
    refused(&mut computer.command(&["pull", REPO]), &["neither .gguf"]);
    // A length that fits on no disk is reported before the download.
    let lfs = serde_json::json!({"sha256": sha256(&content), "size": u64::MAX});
    let sibling = serde_json::json!({"rfilename": GGUF, "lfs": lfs});
    server.lists(serde_json::json!({"sha": COMMIT, "siblings": [sibling]}).to_string());
    if cfg!(unix) {
        refused(&mut computer.command(&["pull", REPO]), &["18446744073709551615", "are free"]);
    }
}

#[test]
fn hashes_from_head_requests_are_used() {
    let server = Server::start(demo());
    server.tells_hashes_by_head_only();
    let computer = Computer::new(&server);
    computer.ok(&["pull", REPO]);
    let heads = server.seen().into_iter().filter(|s| s.method == "HEAD");
    assert!(heads.clone().count() == 6 && heads.clone().all(|s| !s.path.starts_with("/cdn/")));
    assert_eq!(computer.blobs().len(), 6);
}
