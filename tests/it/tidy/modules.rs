//! The modules of src/ depend on each other in one direction.
//!
//! The test reads paths, not meanings: `use` declarations and paths that begin with `crate`, `super`,
//! `self` or the name of a child module, outside tests. A name that a module re-exports is followed to
//! the file that defines it, so that a room's mod.rs may list the room's public names.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, product_lines, sources};

/// The rooms of src/, lowest first, with the reason for each one's place. A room uses lower rooms only.
/// ARCHITECTURE.md lists them in the same order.
const ROOMS: [(&str, &str); 17] = [
    ("formats", "reads files, and knows neither a GPU nor a model"),
    ("gpu", "runs any shader, and knows no model"),
    ("kernels", "records dispatches of gpu, on weights in element types of formats"),
    ("reference", "uses no other room: a twin that shared code would share its mistakes"),
    ("state", "makes tensors that kernels read and write"),
    ("text", "reads tokenizers and chat templates by formats"),
    ("grammar", "allows the tokens of answers that text reads back"),
    ("model", "loads formats into tensors and records kernels over state"),
    ("error", "unites the errors of formats, gpu, model, text and grammar"),
    ("hub", "fetches files of which model can read the beginnings"),
    ("demo", "is the files of a model"),
    ("selftest", "compares kernels with reference and runs model on state"),
    ("schedule", "plans the steps of many sequences, and uses no other room"),
    ("engine", "answers text by model, state and schedule"),
    ("api", "reads and writes OpenAI's formats for the engine"),
    ("server", "answers HTTP by api and engine"),
    ("cli", "calls all others"),
];

/// A module of src/: the names below the crate.
type Module = Vec<String>;

/// A path in a source file.
#[derive(Debug, PartialEq)]
struct Path {
    /// Names from the crate on; the last one is `*` for all names of a module.
    names: Vec<String>,
    /// The name under which a `pub use` lists it.
    listed_as: Option<String>,
    /// Whether that name also occurs elsewhere in the file.
    used_here: bool,
}

/// The modules of a crate, and the paths in each.
struct Crate {
    paths: BTreeMap<Module, Vec<Path>>,
}

impl Crate {
    fn new(files: &[Source]) -> Self {
        let product = |path: &str| !path.ends_with("/tests.rs") && !path.contains("/tests/");
        let files: BTreeMap<Module, &Source> = files
            .iter()
            .filter(|file| product(&file.path) && file.path != "src/main.rs")
            .map(|file| (module(&file.path), file))
            .collect();
        let paths = files.iter().map(|(module, file)| {
            let child = |name: &str| files.contains_key(&joined(module, name));
            (module.clone(), paths(module, &tokens(&file.text), child))
        });
        Self { paths: paths.collect() }
    }

    /// The module that defines what a path names; none for a name of another crate.
    fn definition(&self, names: &[String], depth: usize) -> Option<Module> {
        let end = (0..=names.len()).rev().find(|end| self.paths.contains_key(&names[..*end]))?;
        let module = names[..end].to_vec();
        let Some(name) = names.get(end).filter(|_| depth < 8) else { return Some(module) };
        let listed = |path: &&Path| path.listed_as.as_ref() == Some(name) && path.names != names;
        match self.paths[&module].iter().find(listed) {
            Some(path) => {
                let mut names_there = path.names.clone();
                names_there.extend_from_slice(&names[end + 1..]);
                self.definition(&names_there, depth + 1)
            }
            None => Some(module),
        }
    }

    /// The modules that a module uses. A list of a child's public names does not count.
    fn uses(&self, module: &Module) -> BTreeSet<Module> {
        let own = |path: &Path| {
            path.listed_as.is_some() && !path.used_here && path.names.starts_with(module)
        };
        let paths = self.paths[module].iter().filter(|path| !own(path));
        let mut all: BTreeSet<Module> =
            paths.filter_map(|path| self.definition(&path.names, 0)).collect();
        all.remove(module);
        // The crate's root only lists names.
        all.remove(&Vec::new());
        all
    }

    /// `from -> to` of each use of a room that is not below its user.
    fn upward(&self, rooms: &[&str]) -> Vec<String> {
        let level = |module: &Module| rooms.iter().position(|room| *room == module[0]);
        let mut found = Vec::new();
        for module in self.paths.keys().filter(|module| !module.is_empty()) {
            for used in self.uses(module) {
                if module[0] != used[0] && level(&used) >= level(module) {
                    found.push(format!("{} -> {}", module.join("::"), used.join("::")));
                }
            }
        }
        found
    }

    /// Sets of modules in which each uses all others, directly or through others of the set.
    fn cycles(&self) -> Vec<Vec<String>> {
        let uses: BTreeMap<&Module, BTreeSet<Module>> =
            self.paths.keys().map(|module| (module, self.uses(module))).collect();
        let reached = |from: &Module| -> BTreeSet<Module> {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = open.pop() {
                open.extend(
                    uses[&module].iter().filter(|used| seen.insert((*used).clone())).cloned(),
                );
            }
            seen
        };
        let all: BTreeMap<&Module, BTreeSet<Module>> =
            self.paths.keys().map(|module| (module, reached(module))).collect();
        let cycle = |from: &Module| -> Vec<String> {
            let mutual = |to: &&Module| all[*to].contains(from);
            all[from].iter().filter(mutual).map(|module| module.join("::")).collect()
        };
        let found: BTreeSet<_> = self.paths.keys().map(cycle).filter(|c| !c.is_empty()).collect();
        found.into_iter().collect()
    }
}

/// `src/a/b.rs` is `a::b`, `src/a/mod.rs` is `a`, `src/lib.rs` is the crate.
fn module(path: &str) -> Module {
    let names = path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
    names.filter(|name| *name != "mod" && *name != "lib").map(str::to_owned).collect()
}

fn joined(module: &[String], name: &str) -> Module {
    let mut all = module.to_vec();
    all.push(name.to_owned());
    all
}

/// Words and signs of the product's code, without comments, strings and tests.
fn tokens(text: &str) -> Vec<String> {
    let lines: Vec<&str> = product_lines(text).into_iter().map(|(_, line)| line).collect();
    let code = lines.join("\n");
    let mut all: Vec<String> = Vec::new();
    let mut rest = code.as_str();
    while let Some(c) = rest.chars().next() {
        let len = if c == '_' || c.is_alphanumeric() {
            rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        let (token, after) = rest.split_at(len);
        rest = after;
        match token {
            "\"" => {
                let raw = matches!(all.last().map(String::as_str), Some("r" | "br"));
                rest = after_string(rest, if raw { "\"" } else { "" });
            }
            "#" if all.last().is_some_and(|word| word == "r" || word == "br") => {
                let hashes = rest.len() - rest.trim_start_matches('#').len() + 1;
                rest = rest.trim_start_matches(['#', '"']);
                rest = after_string(rest, &format!("\"{}", "#".repeat(hashes)));
            }
            // Characters, not lifetimes.
            "'" if rest.starts_with('\\') || rest.chars().nth(1) == Some('\'') => {
                let at = rest.char_indices().skip(if rest.starts_with('\\') { 2 } else { 1 });
                let end = at.into_iter().find(|(_, c)| *c == '\'').map_or(rest.len(), |(i, _)| i);
                rest = &rest[(end + 1).min(rest.len())..];
            }
            token if token.trim().is_empty() => {}
            token => all.push(token.to_owned()),
        }
    }
    all
}

/// The text after a string that ends in `end`, or in a quote without a backslash.
fn after_string<'a>(text: &'a str, end: &str) -> &'a str {
    if !end.is_empty() {
        return text.split_once(end).map_or("", |(_, after)| after);
    }
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            '"' if !escaped => return &text[i + 1..],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

/// The paths of a module's tokens that begin in this crate. `child` tells the names of its children.
fn paths(module: &[String], tokens: &[String], child: impl Fn(&str) -> bool) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    let (mut public, mut in_use) = (false, false);
    let mut words_outside = BTreeSet::new();
    while let Some(token) = tokens.get(at) {
        let before = at.checked_sub(1).map_or("", |i| tokens[i].as_str());
        match token.as_str() {
            "use" => {
                in_use = true;
                // `pub use`, `pub(crate) use`.
                public = before == "pub" || before == ")";
            }
            ";" => in_use = false,
            word if !in_use && before != "mod" => {
                words_outside.insert(word);
            }
            _ => {}
        }
        let path = tokens.get(at + 1).is_some_and(|next| next == "::");
        let begins = |token: &str| matches!(token, "crate" | "super" | "self") || child(token);
        // `pub(in crate::a)` is a visibility.
        let visibility = before == "in" && at > 1 && tokens[at - 2] == "(";
        if path && before != "::" && !visibility && begins(token) {
            let mut names = Vec::new();
            at = tree(tokens, at, &mut Vec::new(), &mut names);
            for (names, alias) in names {
                let listed_as = (in_use && public).then_some(alias);
                found.push(Path { names: absolute(module, &names), listed_as, used_here: false });
            }
        } else {
            at += 1;
        }
    }
    for path in &mut found {
        let listed_as = path.listed_as.as_deref();
        path.used_here = listed_as.is_some_and(|name| words_outside.contains(name));
    }
    found
}

/// Reads `a::b`, `a::{b, c::d as e}` or `a::*` at `at`; returns the index behind it.
fn tree(
    tokens: &[String],
    mut at: usize,
    before: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let depth = before.len();
    loop {
        let token = tokens.get(at).map_or("", String::as_str);
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token != "}") {
                at = tree(tokens, at, before, found);
                if tokens.get(at).is_some_and(|token| token == ",") {
                    at += 1;
                }
            }
            before.truncate(depth);
            return at + 1;
        }
        before.push(token.to_owned());
        at += 1;
        if tokens.get(at).is_some_and(|token| token == "::") {
            at += 1;
            continue;
        }
        let mut names = before.clone();
        if names.len() > 1 && names.last().is_some_and(|name| name == "self") {
            names.pop();
        }
        let mut alias = names.last().cloned().unwrap_or_default();
        if tokens.get(at).is_some_and(|token| token == "as") {
            alias = tokens.get(at + 1).cloned().unwrap_or_default();
            at += 2;
        }
        found.push((names, alias));
        before.truncate(depth);
        return at;
    }
}

/// A path's names from the crate on.
fn absolute(module: &[String], names: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = names;
    loop {
        match rest.first().map(String::as_str) {
            Some("crate") => base.clear(),
            Some("super") => {
                base.pop();
            }
            Some("self") => {}
            _ => break,
        }
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    base
}

fn names(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

#[test]
fn paths_are_read_from_the_text() {
    let text = "
//! use crate::comment;
pub use low::{self as l, Thing, deep::{A, B as C}};
use crate::{other::*, error::Error};
use std::fmt;
const TEXT: &str = \"use crate::text;\";
pub(in crate::a) fn f<'a>(x: &'a str) -> crate::gpu::Tensor { low::run('\"', super::up(x)) }
#[cfg(test)]
mod tests {
    use crate::engine::Engine;
}
";
    let found = paths(&names("a::b"), &tokens(text), |name| name == "low");
    let shown: Vec<(String, Option<&str>)> =
        found.iter().map(|p| (p.names.join("::"), p.listed_as.as_deref())).collect();
    let expected = [
        ("a::b::low", Some("l")),
        ("a::b::low::Thing", Some("Thing")),
        ("a::b::low::deep::A", Some("A")),
        ("a::b::low::deep::B", Some("C")),
        ("other::*", None),
        ("error::Error", None),
        ("gpu::Tensor", None),
        ("a::b::low::run", None),
        ("a::up", None),
    ];
    assert_eq!(shown, expected.map(|(path, listed)| (path.to_owned(), listed)));
}

#[test]
fn upward_uses_and_cycles_are_found() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let files = |low: &str, second: &str| {
        Crate::new(&[
            file("src/lib.rs", "mod low;\nmod high;\npub use high::Thing;\n"),
            file("src/low.rs", low),
            file("src/high/mod.rs", "mod first;\nmod second;\npub use first::Thing;\n"),
            file("src/high/first.rs", "use super::second::Other;\nuse crate::low::f;\n"),
            file("src/high/second.rs", second),
        ])
    };
    let good = files("", "use crate::low;\n");
    assert_eq!(good.upward(&["low", "high"]), Vec::<String>::new());
    assert_eq!(good.cycles(), Vec::<Vec<String>>::new());
    let upward = files("fn f() -> crate::Thing {}\n", "");
    assert_eq!(upward.upward(&["low", "high"]), ["low -> high::first"]);
    assert_eq!(upward.cycles(), [["high::first", "low"]]);
    // A name that mod.rs re-exports still counts as a use of the file that defines it.
    let cyclic = files("", "use super::Thing;\n");
    assert_eq!(cyclic.upward(&["low", "high"]), Vec::<String>::new());
    assert_eq!(cyclic.cycles(), [["high::first", "high::second"]]);
}

/// A room can be understood by a reader who knows the rooms below it.
#[test]
fn rooms_use_lower_rooms_only() {
    let modules = Crate::new(&sources(&["src"], &[".rs"]));
    let rooms = ROOMS.map(|(room, _)| room);
    let known: BTreeSet<&str> = rooms.into_iter().collect();
    let there: BTreeSet<&str> =
        modules.paths.keys().filter_map(|module| Some(module.first()?.as_str())).collect();
    assert_eq!(known, there, "left: ROOMS in this test, right: src/");
    assert_eq!(super::docs::rooms_of_the_map(), rooms, "left: ARCHITECTURE.md, right: ROOMS");
    super::assert_none(&modules.upward(&rooms), "a room uses one that is not below it (ROOMS)");
}

/// Two files that use each other can only be understood together.
#[test]
fn files_use_each_other_in_no_circle() {
    let modules = Crate::new(&sources(&["src"], &[".rs"]));
    let uses: usize = modules.paths.keys().map(|module| modules.uses(module).len()).sum();
    assert!(uses > 300, "only {uses} uses");
    let found: Vec<String> = modules.cycles().iter().map(|cycle| cycle.join(", ")).collect();
    super::assert_none(&found, "files that use each other");
}
