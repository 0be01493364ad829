//! Statements of the documents about the source tree are true.

use super::{read, root, sources};

const DOCS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];

/// Every document with its folder.
fn documents() -> Vec<(String, String)> {
    let mut all: Vec<_> = DOCS.iter().map(|d| ((*d).to_owned(), read(d))).collect();
    all.extend(
        sources(&["docs", "assets", "tests/fixtures"], &[".md"])
            .into_iter()
            .map(|s| (s.path, s.text)),
    );
    all
}

/// Targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// A broken link is worse than no link.
#[test]
fn every_relative_link_leads_somewhere() {
    let mut seen = 0;
    for (path, text) in documents() {
        let folder = root().join(&path).parent().unwrap().to_owned();
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            seen += 1;
            assert!(folder.join(target).exists(), "{path}: link to {target}, which does not exist");
        }
    }
    assert!(seen > 5, "only {seen} links");
}

/// The modules of src/ that ARCHITECTURE.md's map lists, in its order: `engine/`, `error.rs`.
pub fn rooms_of_the_map() -> Vec<String> {
    let map = read("ARCHITECTURE.md");
    let lines = map.lines().skip_while(|line| !line.starts_with("src/")).skip(1);
    let entries = lines.take_while(|line| line.starts_with("  "));
    let names = entries.filter(|line| !line.starts_with("   ")).filter_map(|line| {
        let name = line.split_whitespace().next()?;
        name.strip_suffix('/').or_else(|| name.strip_suffix(".rs"))
    });
    names.map(str::to_owned).collect()
}

/// The README's Rust program is an example that tests run (tests/cli/readme.rs).
#[test]
fn the_readmes_program_is_the_quickstart() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("```rust,no_run\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    assert_eq!(program, read("examples/quickstart.rs"));
}
