//! Invariants that the compiler does not check. The tests read the text of the sources.
//!
//! Each test gives its reason, and asserts that it has found something to check.

mod docs;
mod licences;
mod modules;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of this repository.
pub(crate) struct Source {
    /// Path from the root, with `/`.
    pub path: String,
    pub text: String,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every file under the folders `tops` whose name ends in one of `endings`.
pub(crate) fn sources(tops: &[&str], endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = tops.iter().map(|t| root().join(t)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if endings.iter().any(|e| path.to_string_lossy().ends_with(e)) {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: from_root(&path), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

/// The lines of a Rust or WGSL file that are compiled into the product, with their numbers: without
/// comments and without items under `#[cfg(test)]`. Relies on rustfmt's indentation.
fn product_lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut all = text.lines().enumerate();
    while let Some((i, line)) = all.next() {
        if line.trim() == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            let (close, end) = (format!("{indent}}}"), format!("{indent}}};"));
            for (_, line) in all.by_ref() {
                let one_line = line.ends_with(';') && line.starts_with(indent);
                if line == close
                    || line == end
                    || (one_line && !line[indent.len()..].starts_with(' '))
                {
                    break;
                }
            }
            continue;
        }
        let code = match line.find("//") {
            Some(0) => "",
            // The `//` of an address in a string is not a comment.
            Some(at) if line.as_bytes()[at - 1] != b':' => &line[..at],
            _ => line,
        };
        lines.push((i + 1, code));
    }
    lines
}

/// `path:line: text` of every product line for which `bad` holds.
fn offenders(files: &[Source], bad: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    // A module of tests may be a file or a folder of its own: `#[cfg(test)] mod tests;`.
    let tests = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    for file in files.iter().filter(|f| !tests(&f.path)) {
        for (number, line) in product_lines(&file.text) {
            if bad(&file.path, line) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    found
}

fn assert_none(found: &[String], why: &str) {
    assert!(found.is_empty(), "{why}\n  {}", found.join("\n  "));
}

#[test]
fn test_code_and_comments_are_not_product_lines() {
    let text = "\
a
// b
#[cfg(test)]
mod tests {
    fn f() {
        x.unwrap();
    }
}
c // d
#[cfg(test)]
use e;
#[cfg(test)]
fn g(
    h: u32,
) {
    i();
}
\"https://j\"
";
    assert_eq!(product_lines(text), [(1, "a"), (2, ""), (9, "c "), (18, "\"https://j\"")]);
}

/// Only one room uses wgpu, so that the rest can be read without knowing it, and a new release of
/// wgpu changes one folder. `lib.rs` re-exports the crate for host apps.
#[test]
fn only_the_gpu_room_names_wgpu() {
    let files = sources(&["src"], &[".rs"]);
    let named = |line: &str| {
        line.match_indices("wgpu::").any(|(at, _)| !line[..at].ends_with("lfm2_"))
            || (line.contains("use wgpu") && line != "pub use wgpu;")
    };
    let found = offenders(&files, |path, line| !path.starts_with("src/gpu/") && named(line));
    assert_none(&found, "wgpu is named outside src/gpu/");
    assert!(
        !offenders(&files, |path, line| path.starts_with("src/gpu/") && named(line)).is_empty()
    );
}

/// The wanted features are in one list, which every request for a device starts from: two lists
/// would soon differ.
#[test]
fn wanted_features_are_listed_once() {
    let files = sources(&["src"], &[".rs"]);
    let lists = offenders(&files, |_, line| line.contains("const WANTED_FEATURES"));
    assert_eq!(lists.len(), 1, "{lists:?}");
    assert!(lists[0].starts_with("src/gpu/caps.rs"), "{lists:?}");
    let unions = offenders(&files, |_, line| line.contains(".union(wgpu::Features"));
    let elsewhere: Vec<_> =
        unions.iter().filter(|f| !f.starts_with("src/gpu/caps.rs")).cloned().collect();
    assert_none(&elsewhere, "device features are listed outside src/gpu/caps.rs");
    assert!(!unions.is_empty());
    let asked = offenders(&files, |_, line| line.contains("required_features:"));
    assert!(!asked.is_empty());
}

/// naga rejects `enable subgroups;` and browsers demand it, so only the assembler writes
/// directives; a condition in a shader would be a second way to make variants.
#[test]
fn shaders_have_no_directive_but_import_and_part() {
    let files = sources(&["shaders"], &[".wgsl"]);
    let found = offenders(&files, |_, line| {
        let word = line.trim_start();
        let allowed = word.starts_with("#import ") || word.starts_with("#part ");
        word.starts_with("enable ")
            || word.starts_with("requires ")
            || word.starts_with("override ")
            || (word.starts_with('#') && !allowed)
    });
    assert_none(&found, "only #import and #part are allowed in shaders");
    assert!(!offenders(&files, |_, line| line.starts_with("#import ")).is_empty());
}

/// The header is the kernel's contract: its formula, its tensors, where it comes from, and the
/// plain CPU function that tests hold it against.
#[test]
fn every_kernel_has_its_contract_in_its_header() {
    let kernels = sources(&["shaders"], &[".wgsl"])
        .into_iter()
        .filter(|f| !f.path.starts_with("shaders/lib/"))
        .collect::<Vec<_>>();
    assert!(kernels.len() >= 10, "only {} kernels", kernels.len());
    for Source { path, text } in kernels {
        let name = path.trim_start_matches("shaders/").trim_end_matches(".wgsl");
        assert!(text.starts_with(&format!("// {name}: ")), "{path}: line 1 is not `// {name}: …`");
        let header: Vec<&str> = text.lines().take_while(|l| l.starts_with("//")).collect();
        assert!(
            header.iter().any(|l| l.starts_with("//   ") && l.contains('[') && l.contains(']')),
            "{path}: the header gives no tensor's shape"
        );
        let twin = header.iter().find_map(|l| l.split_once("Twin: ")).map(|(_, t)| t.trim());
        let twin =
            twin.unwrap_or_else(|| panic!("{path}: the header names no `Twin: reference/…`"));
        assert!(root().join("src").join(twin).is_file(), "{path}: there is no src/{twin}");
    }
}

/// A file can be read in one sitting: Rust, WGSL, C, TypeScript, JavaScript modules and shell scripts, tests
/// included. Documents, styles, data and the Python tools (which hold tables of cases) are exempt.
#[test]
fn no_source_file_is_longer_than_500_lines() {
    let files = sources(
        &[
            "src",
            "shaders",
            "tests",
            "benches",
            "capi",
            "examples",
            "tools",
            "xtask",
            "web/src",
            "web/tests",
            "web/structure",
            "web/wasm",
            "fuzz/src",
            "fuzz/fuzz_targets",
            "loom/src",
            "web/tools",
        ],
        &[".rs", ".wgsl", ".c", ".h", ".mjs", ".sh", ".ts"],
    );
    let long: Vec<String> = files
        .iter()
        .map(|f| (f.text.lines().count(), &f.path))
        .filter(|(n, _)| *n > 500)
        .map(|(n, path)| format!("{path}: {n} lines"))
        .collect();
    assert_none(&long, "files of more than 500 lines");
    assert!(files.len() > 80, "only {} files", files.len());
}

/// An invalid file or option and a lost device must end in an error that names the remedy.
#[test]
fn nothing_panics_outside_tests() {
    const PANICS: [&str; 7] = [
        ".unwrap()",
        ".expect(\"",
        "panic!(",
        "unreachable!(",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
    ];
    let files = sources(&["src", "capi/src"], &[".rs"]);
    let found = offenders(&files, |_, line| PANICS.iter().any(|p| line.contains(p)));
    assert_none(&found, "code that panics on purpose");
    assert!(files.iter().any(|f| f.text.contains(".unwrap()")), "tests unwrap; were they read?");
}

/// Standard output has the answer and nothing else, so only the command line prints.
#[test]
fn the_library_prints_nothing() {
    let files = sources(&["src", "capi/src"], &[".rs"]);
    let found = offenders(&files, |path, line| {
        !path.starts_with("src/cli/")
            && path != "src/main.rs"
            && ["println!(", "print!(", "eprint"].iter().any(|p| line.contains(p))
    });
    assert_none(&found, "printing outside src/cli/");
}
