//! `lfm2 list`, `lfm2 rm`, and the question before a download.

use super::hub::{Computer, bytes};
use super::hub_server::{COMMIT, REPO, Server, sha256};
use super::{refused, text};

fn two_quants() -> (Server, Computer, [Vec<u8>; 2]) {
    let contents = [bytes(30_000), bytes(20_000)];
    let server = Server::start([
        ("LFM2-Q4_0.gguf".to_owned(), contents[0].clone()),
        ("LFM2-Q8_0.gguf".to_owned(), contents[1].clone()),
    ]);
    let computer = Computer::new(&server);
    computer.ok(&["-q", "pull", REPO]);
    computer.ok(&["-q", "pull", "owner/repo:q8_0"]);
    (server, computer, contents)
}

fn listed(computer: &Computer) -> Vec<serde_json::Value> {
    serde_json::from_str(&computer.ok(&["list", "--json"])).unwrap()
}

#[test]
fn list_prints_names_sizes_and_places() {
    let (server, computer, _) = two_quants();
    let rows = listed(&computer);
    let names: Vec<_> = rows.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["owner/repo:Q4_0", "owner/repo:Q8_0"]);
    assert_eq!((&rows[0]["bytes"], &rows[1]["bytes"]), (&30_000.into(), &20_000.into()));
    assert_eq!((&rows[0]["commit"], &rows[0]["state"]), (&COMMIT.into(), &"whole".into()));
    assert!(std::fs::metadata(rows[0]["path"].as_str().unwrap()).unwrap().len() == 30_000);
    let plain = computer.ok(&["list"]);
    assert_eq!(plain.lines().count(), 3);
    assert_eq!(plain.lines().next().unwrap().split_whitespace().count(), 4, "{plain}");
    assert!(
        plain.starts_with("NAME ") && plain.contains("owner/repo:Q8_0    20.00 kB  01234567  /"),
        "{plain}"
    );
    // Models for other programs are marked; data sets are not listed.
    let hub = computer.home.path().join("hub");
    let other = hub.join("models--x--y/snapshots").join(COMMIT);
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("pytorch_model.bin"), "x").unwrap();
    std::fs::create_dir_all(hub.join("datasets--x--z/snapshots")).unwrap();
    let plain = computer.ok(&["list"]);
    assert!(plain.lines().count() == 4 && plain.contains("(not for lfm2)"), "{plain}");
    let empty = Computer::new(&server).run(&["list"]);
    assert_eq!(text(&empty.stdout), "");
    assert!(text(&empty.stderr).starts_with("no models in "));
}

#[test]
fn rm_deletes_only_the_named_model() {
    let (_server, computer, [_, q8]) = two_quants();
    refused(&mut computer.command(&["rm", REPO]), &["--yes"]);
    refused(&mut computer.command(&["rm", "-y", "owner/none"]), &["owner/none", "not in the"]);
    refused(&mut computer.command(&["rm", "-y", "owner/repo:F16"]), &["F16", "owner/repo:Q4_0"]);
    refused(&mut computer.command(&["rm", "-y", "owner/repo@v9"]), &["v9"]);
    refused(&mut computer.command(&["rm", "-y", "../.."]), &["../.."]);
    assert_eq!(listed(&computer).len(), 2);
    let removed = computer.run(&["rm", "--yes", "owner/repo:Q4_0"]);
    assert!(text(&removed.stderr).contains("30.00 kB freed"), "{}", text(&removed.stderr));
    assert_eq!(computer.blobs(), [sha256(&q8)]);
    assert_eq!(listed(&computer)[0]["name"], "owner/repo:Q8_0");
    // Deleting the last quantisation deletes the repository.
    computer.ok(&["rm", "--yes", "owner/repo:Q8_0"]);
    assert!(!computer.repo().exists() && listed(&computer).is_empty());
}

/// `rm` resolves a name that is part of another file's name as `pull` does.
#[test]
fn rm_resolves_names_like_pull() {
    let names = ["LFM2-Q4_0.gguf", "LFM2-Q4_0-new.gguf", "LFM3-Q4_0-new.gguf"];
    let server = Server::start(names.map(|name| (name.to_owned(), bytes(name.len() * 1000))));
    let computer = Computer::new(&server);
    for name in ["owner/repo:LFM2-Q4_0", "owner/repo:LFM2-Q4_0-new", "owner/repo:LFM3-Q4_0-new"] {
        computer.ok(&["-q", "pull", name]);
    }
    let both = ["LFM2-Q4_0-new", "LFM3-Q4_0-new"];
    refused(&mut computer.command(&["rm", "--yes", "owner/repo:new"]), &both);
    assert_eq!(listed(&computer).len(), 3);
    computer.ok(&["-q", "rm", "--yes", "owner/repo:LFM3-Q4_0-new"]);
    computer.ok(&["-q", "rm", "--yes", "owner/repo:LFM2-Q4_0"]);
    assert_eq!(computer.blobs(), [sha256(&bytes(names[1].len() * 1000))]);
    // A file with exactly that name takes precedence in every revision.
    let cache = computer.repo().join("snapshots");
    let other = cache.join("f".repeat(40));
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join(names[0]), "x").unwrap();
    computer.ok(&["-q", "rm", "--yes", "owner/repo:LFM2-Q4_0"]);
    assert!(!other.exists() && cache.join(COMMIT).join(names[1]).exists());
}

#[cfg(unix)]
#[test]
fn content_of_another_revision_stays() {
    let (_server, computer, [q4, q8]) = two_quants();
    let other = "f".repeat(40);
    let folder = computer.repo().join("snapshots").join(&other);
    std::fs::create_dir_all(&folder).unwrap();
    let target = format!("../../blobs/{}", sha256(&q8));
    std::os::unix::fs::symlink(target, folder.join("LFM2-Q8_0.gguf")).unwrap();
    std::fs::create_dir_all(computer.repo().join("refs/refs/pr")).unwrap();
    std::fs::write(computer.repo().join("refs/refs/pr/1"), &other).unwrap();
    let names: Vec<_> = listed(&computer).iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["owner/repo:Q4_0", "owner/repo:Q8_0", "owner/repo:Q8_0@refs/pr/1"]);
    computer.ok(&["-q", "rm", "--yes", "owner/repo@main"]);
    assert_eq!(computer.blobs(), [sha256(&q8)]);
    assert!(!computer.repo().join("refs/main").exists());
    assert_eq!(listed(&computer)[0]["name"], "owner/repo:Q8_0@refs/pr/1");
    assert_ne!(sha256(&q4), sha256(&q8));
    // The target of a link outside the cache is not deleted.
    let precious = computer.home.path().join("precious");
    std::fs::write(&precious, "x").unwrap();
    std::os::unix::fs::symlink(&precious, folder.join("x-F16.gguf")).unwrap();
    computer.ok(&["-q", "rm", "--yes", "owner/repo:F16"]);
    computer.ok(&["-q", "rm", "--yes", REPO]);
    assert!(precious.exists() && !computer.repo().exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_download_needs_an_answer_at_a_terminal() {
    use super::hub::{ANSWER, demo};
    use super::terminal::Terminal;

    let server = Server::start(demo());
    let computer = Computer::new(&server);
    let answer = computer.command(&[&["-m", REPO], &ANSWER[..]].concat());
    let pulled = || computer.repo().join("refs/main").exists();
    let mut t = Terminal::of(&answer, "");
    t.wait("owner/repo (01234567): 6 files, 6.99 MB, 6.99 MB to download. Download? [Y/n]");
    t.press("n\r");
    t.wait("owner/repo: not downloaded");
    assert_eq!(t.exit_code(), Some(2));
    // Ctrl-C at the question.
    let mut t = Terminal::of(&answer, "");
    t.wait("[Y/n]");
    t.press("\x03");
    assert_eq!(t.exit_code(), Some(130));
    assert!(!pulled());
    let mut t = Terminal::of(&answer, "");
    t.wait("[Y/n]");
    t.press("\r");
    assert_eq!(t.exit_code(), Some(0));
    assert!(pulled());
    // No question if the model is in the cache.
    let mut t = Terminal::of(&computer.command(&["rm", REPO]), "");
    t.wait("Delete owner/repo (6.99 MB)? [y/N]");
    t.press("\r");
    t.wait("not deleted");
    assert_eq!(t.exit_code(), Some(2));
    let mut t = Terminal::of(&computer.command(&["pull", REPO, "--yes"]), "");
    t.wait("0 B to download");
    assert_eq!(t.exit_code(), Some(0));
    let mut t = Terminal::of(&computer.command(&["rm", REPO]), "");
    t.wait("[y/N]");
    t.press("y\r");
    t.wait("deleted");
    assert_eq!(t.exit_code(), Some(0));
    assert!(!computer.repo().exists());
}
